"""Layouts from elsewhere: whatever stands in them costs an error, never time, memory or us."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
import tracemalloc
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ProtocolError, StoreError
from imgmigrate.oci.manifest import Manifest
from imgmigrate.stores.layout import index as layout_index
from imgmigrate.stores.layout import walk as layout_walk
from imgmigrate.stores.layout.store import LayoutStore
from tests.stores.layout_samples import put_blob, put_image
from tests.support.images import image
from tests.support.layouts import assert_layout_holds, layout_tags, write_layout
from tests.support.tools import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    """A store whose paths are relative to the test's folder."""
    return LayoutStore(tmp_path)


def bind(path: Path) -> None:
    """Put a socket at a path, which may be longer than a socket's name."""
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": bind,
    "folder": os.mkdir,
    "zeros": lambda path: path.symlink_to("/dev/zero"),
    "memory": lambda path: path.symlink_to("/proc/self/mem"),
    "link": lambda path: path.symlink_to(path.parent / "moved"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "circle": lambda path: path.symlink_to(path.name),
    "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 5)),
}


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
@pytest.mark.parametrize("kind", KINDS)
async def test_only_regular_files_are_read(
    store: LayoutStore, tmp_path: Path, kind: str, name: str
) -> None:
    """Nothing is waited for and no link is followed, by who reads and by who writes."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    path = tmp_path / "app" / name
    path.rename(tmp_path / "app" / "moved")
    try:
        KINDS[kind](path)
    except PermissionError:
        path.symlink_to("/dev/zero")  # devices are made by root alone
    manifest = Manifest.parse(image("a").raw)
    for attempt in (
        store.list_tags("app"),
        store.head("app", "1.0"),
        store.put_manifest("app", "2.0", manifest),
        store.delete("app", "1.0"),
    ):
        with pytest.raises(ProtocolError, match="is not a regular file") as caught:
            await attempt
        assert caught.value.hint
        assert name in caught.value.message
    assert not stat.S_ISREG(path.lstat().st_mode)


@pytest.mark.parametrize(
    "raw",
    [b"[" * 60_000, b'{"a":' * 10_000, b"[" * 2_000_000, b"{}" + b" " * 70_000],
    ids=["deep", "deep object", "long", "padded"],
)
async def test_a_version_that_is_no_json_of_its_size_is_refused(
    store: LayoutStore, tmp_path: Path, raw: bytes
) -> None:
    """The first file of a layout has 31 bytes, and not a stack's depth."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    (tmp_path / "app/oci-layout").write_bytes(raw)
    for attempt in (store.list_tags("app"), put_blob(store, "app", b"1")):
        with pytest.raises(ProtocolError, match=r"version None|the limit is"):
            await attempt


@pytest.mark.parametrize(
    "raw",
    [
        b'{"manifests":[' + b"[]," * 2_000_000 + b"[]]}",
        b'{"manifests":[' + b"{}," * 2_000_000 + b"{}]}",
        b'{"manifests":[],"x":[' + b'"",' * 3_000_000 + b'""]}',
    ],
    ids=["lists", "objects", "texts"],
)
async def test_a_bomb_is_refused_before_it_is_read(
    store: LayoutStore, tmp_path: Path, raw: bytes
) -> None:
    """A few megabytes of empty elements would take gigabytes."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    (tmp_path / "app/index.json").write_bytes(raw)
    tracemalloc.start()
    try:
        for attempt in (store.list_tags("app"), store.delete("app", "1.0")):
            with pytest.raises(ProtocolError, match="more than 2000000 elements"):
                await attempt
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * len(raw) + MIB


async def test_an_index_of_holes_is_not_read(store: LayoutStore, tmp_path: Path) -> None:
    """A file may say that it has a terabyte, without a block on the disk."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    os.truncate(tmp_path / "app/index.json", 1 << 40)
    with pytest.raises(ProtocolError, match="1099511627776 bytes; the limit is 67108864"):
        await store.list_tags("app")


async def test_a_file_that_says_nothing_of_its_size_is_read_to_the_limit(
    store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What grows while it is read, or has no size as files of /proc, ends at the limit too."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    real = os.fstat

    def no_size(descriptor: int) -> object:
        found = real(descriptor)
        known = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return SimpleNamespace(**known | {"st_size": 0})

    monkeypatch.setattr(os, "fstat", no_size)
    assert await store.list_tags("app") == ["1.0"]
    monkeypatch.setattr("imgmigrate.stores.layout.indexfile.LARGEST_INDEX", 100)
    with pytest.raises(ProtocolError, match="more than 100 bytes"):
        await LayoutStore(tmp_path).list_tags("app")


async def test_a_large_index_of_real_entries_is_read(store: LayoutStore, tmp_path: Path) -> None:
    """The bounds leave room for what a disk of images has."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    path = tmp_path / "app/index.json"
    document = json.loads(path.read_bytes())
    [entry] = document["manifests"]
    entry["platform"] = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    entry["annotations"] |= {f"org.example.{n}": "x" for n in range(5)}
    document["manifests"] = [
        entry | {"annotations": entry["annotations"] | {layout_index.REF_NAME: f"v{n}"}}
        for n in range(50_000)
    ]
    path.write_text(json.dumps(document))
    assert len(await store.list_tags("app")) == 50_000


@pytest.mark.parametrize(
    ("extra", "cause"),
    [
        # Deeper than any Python reads, whatever each of them counts.
        ('{"x":' * 100_000 + "1" + "}" * 100_000, "nested too deeply|is not an image index"),
        ("1e999", "numbers that JSON cannot say"),
        ("NaN", "numbers that JSON cannot say"),
    ],
    ids=["deep", "huge", "not a number"],
)
async def test_an_index_that_cannot_be_written_again_is_left_alone(
    store: LayoutStore, tmp_path: Path, extra: str, cause: str
) -> None:
    """A destination's index that others made is not made worse, nor is the run ended by it."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    path = tmp_path / "app/index.json"
    path.write_text(path.read_text()[:-1] + f', "extra": {extra}}}')
    before = path.read_bytes()
    with pytest.raises(ProtocolError, match=cause):
        await put_image(store, "app", "2.0", image("b"))
    assert path.read_bytes() == before


async def test_text_that_utf_8_cannot_say_is_kept(store: LayoutStore, tmp_path: Path) -> None:
    """Half a surrogate pair in somebody's annotation does not keep us from writing a tag."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    path = tmp_path / "app/index.json"
    path.write_text(path.read_text()[:-1] + ', "extra": ["\\ud800", "ü"]}')
    before = json.loads(path.read_bytes())
    await put_image(store, "app", "2.0", image("b"))
    found = json.loads(path.read_bytes())
    assert found["extra"] == before["extra"]
    assert_layout_holds(tmp_path / "app", "2.0", image("b"))


async def test_an_index_is_not_written_larger_than_it_may_be_read(
    store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we write we can read again."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    before = (tmp_path / "app/index.json").read_bytes()
    monkeypatch.setattr(layout_index, "LARGEST_INDEX", len(before) + 10)
    with pytest.raises(ProtocolError, match="the limit is"):
        await put_image(store, "app", "2.0", image("b"))
    assert (tmp_path / "app/index.json").read_bytes() == before


class TestWalk:
    """Folders below a glob: named as anybody likes, linked and nested as anybody likes."""

    async def test_deep_folders_end_no_stack(self, store: LayoutStore, tmp_path: Path) -> None:
        """A tree as deep as a path may be long is walked, and its end is found."""
        here = os.getcwd()
        (tmp_path / "in").mkdir()
        write_layout(tmp_path / "in/good", "1", image("a"))
        try:
            os.chdir(tmp_path / "in")
            for _ in range(1500):
                os.mkdir("d")
                os.chdir("d")
        finally:
            os.chdir(here)
        try:
            found = await store.list_repositories("in/**")
            assert [path for path in found if not path.startswith("in/d/")] == ["in/good"]
            assert await store.list_repositories("in/*") == ["in/good"]
        finally:
            # Python's own removal of folders would end its stack.
            run("rm", "-rf", str(tmp_path / "in"))

    async def test_links_lead_nowhere(self, store: LayoutStore, tmp_path: Path) -> None:
        """Neither round in circles nor out of the folder."""
        write_layout(tmp_path / "in/good", "1", image("a"))
        write_layout(tmp_path / "secret", "1", image("a"))
        (tmp_path / "in/circle").symlink_to(tmp_path / "in")
        (tmp_path / "in/out").symlink_to(tmp_path / "secret")
        (tmp_path / "in/self").symlink_to("self")
        assert await store.list_repositories("in/**") == ["in/good"]

    async def test_a_folder_of_layouts_may_be_called_blobs(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Only within a layout that name has a meaning."""
        write_layout(tmp_path / "in/blobs/app", "1", image("a"))
        write_layout(tmp_path / "in/app", "1", image("a"))
        write_layout(tmp_path / "in/app/sub", "1", image("a"))
        assert await store.list_repositories("in/**") == ["in/app", "in/app/sub", "in/blobs/app"]

    @pytest.mark.parametrize("kind", ["pipe", "dangling", "folder", "missing"])
    async def test_a_damaged_layout_is_listed(
        self, store: LayoutStore, tmp_path: Path, kind: str
    ) -> None:
        """Whoever reads it is told what is wrong: left out, it would be missing in silence."""
        write_layout(tmp_path / "in/bad", "1", image("a"))
        (tmp_path / "in/bad/oci-layout").unlink()
        if kind in KINDS:
            KINDS[kind](tmp_path / "in/bad/oci-layout")
        assert await store.list_repositories("in/**") == ["in/bad"]
        with pytest.raises(ProtocolError):
            await store.list_tags("in/bad")

    @pytest.mark.parametrize("glob", ["in/**", "in/*"])
    async def test_a_folder_that_cannot_be_read_is_listed(
        self, store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glob: str
    ) -> None:
        """The others go on, and reading it says why it cannot be."""
        write_layout(tmp_path / "in/good", "1", image("a"))
        (tmp_path / "in/locked").mkdir()
        self.refuse(monkeypatch, "locked")
        found = await store.list_repositories(glob)
        assert found == ["in/good", "in/locked"]

    async def test_what_may_be_in_a_folder_that_cannot_be_read_fails_the_list(
        self, store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A list without what the glob might match there is not whole."""
        write_layout(tmp_path / "in/good/x", "1", image("a"))
        (tmp_path / "in/locked").mkdir()
        self.refuse(monkeypatch, "locked")
        with pytest.raises(StoreError, match="locked"):
            await store.list_repositories("in/*/x")

    async def test_the_number_of_folders_is_bounded(
        self, store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk of a million folders is an error that names the way out."""
        monkeypatch.setattr(layout_walk, "MOST_FOLDERS", 10)
        for number in range(10):
            (tmp_path / f"in/{number}").mkdir(parents=True)
        with pytest.raises(ProtocolError, match="more than 10 folders") as caught:
            await store.list_repositories("in/**")
        assert caught.value.hint == "name a narrower glob"

    @staticmethod
    def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Refuse to read one folder, also to root."""
        real = os.scandir

        def scandir(path: str) -> object:
            if path.endswith(name):
                raise PermissionError(13, "Permission denied", path)
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)


async def test_reading_a_hostile_layout_leaves_no_descriptor_open(
    store: LayoutStore, tmp_path: Path
) -> None:
    """Thousands of bad layouts do not use up what a process may open."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    (tmp_path / "app/index.json").unlink()
    os.mkfifo(tmp_path / "app/index.json")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        for _ in range(200):
            with pytest.raises(ProtocolError, match="is not a regular file"):
                await store.list_tags("app")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (tmp_path / "app/index.json").unlink()
    await put_image(store, "app", "1.0", image("a"))
    assert list(layout_tags(tmp_path / "app")) == ["1.0"]
