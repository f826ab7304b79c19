"""Two writers on one layout: no tag is lost, or the loser is told."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import Rejected, TransientError
from imgmigrate.events import Warned
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.manifest import Manifest
from imgmigrate.oci.reference import LAYOUTS, Repository
from imgmigrate.stores.layout import indexfile as layout_indexfile
from imgmigrate.stores.layout.indexfile import LOCK, IndexFile
from imgmigrate.stores.layout.store import LayoutStore
from imgmigrate.stores.pool import open_stores
from tests.stores.layout_samples import put_blob, put_image
from tests.support.images import image
from tests.support.layouts import layout_tags, write_layout
from tests.support.tools import run, skopeo_copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.events import Event

# It has no parts that would have to be there.
MANIFEST = Manifest.parse(
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
)

WRITE = """
import asyncio, errno, fcntl, os, stat, sys
from pathlib import Path
from imgmigrate.oci.manifest import Manifest
from imgmigrate.stores.layout.store import LayoutStore

real = fcntl.flock

def flock(descriptor, operation):
    # As on NFS: a folder, or a file that is not open for writing, cannot be locked.
    if stat.S_ISDIR(os.fstat(descriptor).st_mode) or (
        fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    ):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    real(descriptor, operation)

fcntl.flock = flock

async def write():
    store = LayoutStore(Path(sys.argv[1]))
    manifest = Manifest.parse(sys.stdin.buffer.read())
    for number in range(40):
        await store.put_manifest("app", f"{sys.argv[2]}{number}", manifest)

asyncio.run(write())
"""


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    """A store whose paths are relative to the test's folder."""
    return LayoutStore(tmp_path)


def overwrite(path: Path, *, at: str, times: int, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Be a tool without a lock, which writes back what it read before, `at` some moment of ours."""
    stale = (path / "index.json").read_bytes()
    written: list[bytes] = []
    real = os.replace

    def put_stale() -> None:
        if len(written) < times:
            written.append(stale)
            (path / "theirs").write_bytes(stale)
            real(path / "theirs", path / "index.json")

    def replace(source: Any, target: Any) -> None:
        if str(target).endswith("index.json"):
            real(source, target)
            if at == "just after":
                put_stale()
        else:
            real(source, target)

    def write_all(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data)
        if at == "while it is prepared":
            put_stale()

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(layout_indexfile, "write_all", write_all)
    monkeypatch.setattr(layout_indexfile, "LOCK_POLL", 0)
    return written


async def test_processes_on_a_file_system_that_locks_only_files(tmp_path: Path) -> None:
    """Two processes that write one layout on NFS keep each other out: all tags are there."""
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITE, str(tmp_path), side, stdin=pipe
        )
        for side in "ab"
    ]
    await asyncio.gather(*(one.communicate(MANIFEST.raw) for one in processes))
    assert [one.returncode for one in processes] == [0, 0]
    assert sorted(layout_tags(tmp_path / "app")) == sorted(
        f"{side}{number}" for side in "ab" for number in range(40)
    )


@pytest.mark.parametrize("at", ["while it is prepared", "just after"])
async def test_a_tool_without_a_lock_does_not_make_us_lose_a_tag(
    store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Ours is written again until it is there, on top of what the other has written."""
    write_layout(tmp_path / "app", "theirs", image("b"))
    written = overwrite(tmp_path / "app", at=at, times=3, monkeypatch=monkeypatch)
    await store.put_manifest("app", "1.0", MANIFEST)
    assert len(written) == 3
    assert sorted(layout_tags(tmp_path / "app")) == ["1.0", "theirs"]


async def test_whoever_loses_every_time_is_told(
    store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with an error that says what to do, never with success."""
    write_layout(tmp_path / "app", "theirs", image("b"))
    overwrite(tmp_path / "app", at="just after", times=1000, monkeypatch=monkeypatch)
    with pytest.raises(TransientError, match="by somebody else") as caught:
        await store.put_manifest("app", "1.0", MANIFEST)
    assert caught.value.hint == "let one tool at a time write to this layout"


async def test_what_a_slow_tool_took_back_is_put_in_with_the_next_tag(
    store: LayoutStore, tmp_path: Path
) -> None:
    """Some read the index when they begin and write it when they end, minutes later."""
    write_layout(tmp_path / "app", "theirs", image("b"))
    path = tmp_path / "app/index.json"
    stale = path.read_bytes()
    await put_image(store, "app", "1.0", image("a"))
    await put_image(store, "app", "2.0", image("a"))
    path.write_bytes(stale)
    await put_image(store, "app", "3.0", image("a"))
    assert sorted(layout_tags(tmp_path / "app")) == ["1.0", "2.0", "3.0", "theirs"]


@pytest.mark.parametrize("how", ["replaced", "in place"])
async def test_what_a_slow_tool_took_back_is_put_in_at_the_end(
    store: LayoutStore, tmp_path: Path, how: str
) -> None:
    """Also the last tag of a run is there when the run has ended."""
    write_layout(tmp_path / "app", "theirs", image("b"))
    path = tmp_path / "app/index.json"
    stale = path.read_bytes()
    await put_image(store, "app", "1.0", image("a"))
    if how == "replaced":
        path.unlink()
    path.write_bytes(stale)
    await store.aclose()
    assert sorted(layout_tags(tmp_path / "app")) == ["1.0", "theirs"]


async def test_nothing_is_put_back_that_somebody_took_away(
    store: LayoutStore, tmp_path: Path
) -> None:
    """Deleted by us, moved by others, gone with its manifest or with the layout: it stays so."""
    for tag in ("deleted", "moved", "collected", "kept"):
        await put_image(store, "app", tag, image(tag))
    await store.delete("app", "deleted")
    for tag in ("moved", "collected"):
        run("umoci", "rm", "--image", f"{tmp_path}/app:{tag}")
    run("umoci", "gc", "--layout", tmp_path / "app")
    write_layout(tmp_path / "app", "moved", image("theirs"))
    await put_image(store, "app", "last", image("last"))
    await store.aclose()
    found = layout_tags(tmp_path / "app")
    assert sorted(found) == ["kept", "last", "moved"]
    assert found["moved"] == image("theirs").top
    (tmp_path / "app/index.json").unlink()
    await put_image(store, "app", "new", image("new"))
    assert sorted(layout_tags(tmp_path / "app")) == ["new"]


async def test_no_name_is_put_back_for_an_image_that_is_not_whole(
    store: LayoutStore, tmp_path: Path
) -> None:
    """Whoever took the tag away took parts of it too: it is no image any more."""
    write_layout(tmp_path / "app", "theirs", image("b"))
    stale = (tmp_path / "app/index.json").read_bytes()
    for tag in ("1.0", "2.0"):
        await put_image(store, "app", tag, image(tag))
    lost = next(iter(image("1.0").blobs)).removeprefix("sha256:")
    (tmp_path / "app/blobs/sha256" / lost).unlink()
    (tmp_path / "app/index.json").write_bytes(stale)
    await store.aclose()
    assert sorted(layout_tags(tmp_path / "app")) == ["2.0", "theirs"]


class TestLock:
    """The lock is a file of its own, which other tools leave alone."""

    @pytest.mark.parametrize(
        "number", [errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL]
    )
    async def test_what_cannot_be_locked_is_refused_before_a_byte_is_brought(
        self,
        store: LayoutStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
    ) -> None:
        """The reason is the system's, the way out is named, and it is not tried again."""

        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refuse)
        for attempt in (
            put_blob(store, "app", b"1"),
            store.put_manifest("app", "1.0", MANIFEST),
        ):
            with pytest.raises(Rejected, match="cannot lock") as caught:
                await attempt
            assert os.strerror(number) in caught.value.message
            assert "NFS" in str(caught.value.hint)
        assert not (tmp_path / "app/blobs").exists()
        write_layout(tmp_path / "read", "1.0", image("a"))
        assert await store.list_tags("read") == ["1.0"]  # reading needs no lock

    async def test_locks_that_are_granted_to_all_are_none(
        self, store: LayoutStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where everybody gets the lock nobody is kept out."""
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
        with pytest.raises(Rejected, match="to several at once"):
            await store.put_manifest("app", "1.0", MANIFEST)

    async def test_who_keeps_it_locked_is_waited_for_and_named_a_cause(
        self, store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that hangs with the lock does not make all others hang."""
        await put_blob(store, "app", b"1")
        held = os.open(tmp_path / "app" / LOCK, os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(layout_indexfile, "LOCK_TIMEOUT", 0)
        with pytest.raises(TransientError, match=r"keeps index\.json locked"):
            await store.put_manifest("app", "1.0", MANIFEST)
        os.close(held)
        await store.put_manifest("app", "1.0", MANIFEST)

    @pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
    async def test_what_somebody_put_in_its_place_is_refused(
        self, store: LayoutStore, tmp_path: Path, kind: str
    ) -> None:
        """A hostile destination neither makes us hang nor touches files elsewhere."""
        write_layout(tmp_path / "app", "theirs", image("b"))
        make: dict[str, Callable[[Path], None]] = {
            "pipe": os.mkfifo,
            "link": lambda path: path.symlink_to(tmp_path / "outside"),
            "folder": os.mkdir,
        }
        make[kind](tmp_path / "app" / LOCK)
        with pytest.raises((Rejected, TransientError), match=LOCK):
            await store.put_manifest("app", "1.0", MANIFEST)
        assert not (tmp_path / "outside").exists()

    @pytest.mark.parametrize(
        ("folder", "lock"), [(0o755, 0o600), (0o775, 0o660), (0o1777, 0o666), (0o700, 0o600)]
    )
    async def test_whoever_may_write_in_the_folder_may_lock(
        self, store: LayoutStore, tmp_path: Path, folder: int, lock: int
    ) -> None:
        """A team that shares a folder shares its lock; readers cannot hold it up."""
        (tmp_path / "app").mkdir()
        (tmp_path / "app").chmod(folder)
        await put_blob(store, "app", b"1")
        assert stat.S_IMODE((tmp_path / "app" / LOCK).stat().st_mode) == lock

    @pytest.mark.integration
    async def test_other_tools_leave_it_alone(self, store: LayoutStore, tmp_path: Path) -> None:
        """Umoci and skopeo read, write and collect garbage beside it; a day later it is there."""
        await put_image(store, "app", "1.0", image("a"))
        lock = tmp_path / "app" / LOCK
        before = lock.stat().st_ino
        run("umoci", "tag", "--image", f"{tmp_path}/app:1.0", "2.0")
        run("umoci", "rm", "--image", f"{tmp_path}/app:1.0")
        run("umoci", "gc", "--layout", tmp_path / "app")
        skopeo_copy(f"oci:{tmp_path}/app:2.0", f"oci:{tmp_path}/app:3.0")
        skopeo_copy(f"oci:{tmp_path}/app:3.0", f"oci:{tmp_path}/other:1")
        os.utime(lock, (0, 0))
        await put_image(LayoutStore(tmp_path), "app", "4.0", image("b"))
        assert lock.stat().st_ino == before
        assert run("umoci", "ls", "--layout", tmp_path / "app").split() == ["2.0", "3.0", "4.0"]
        skopeo_copy(f"oci:{tmp_path}/app:4.0", f"oci:{tmp_path}/other:2")


class TestRights:
    """Whoever may read a layout's index may read what it names, and nobody else."""

    @pytest.mark.parametrize(("umask", "file"), [(0o022, 0o644), (0o077, 0o600), (0o027, 0o640)])
    @pytest.mark.parametrize("make", [False, True], ids=["new", "in a folder"])
    async def test_a_new_layout_has_what_the_umask_leaves(
        self, store: LayoutStore, tmp_path: Path, umask: int, file: int, make: bool
    ) -> None:
        """Index, blobs and the first file are alike, in a folder that was there or not."""
        if make:
            (tmp_path / "app").mkdir(mode=0o755)
        before = os.umask(umask)
        try:
            await put_image(store, "app", "1.0", image("a"))
        finally:
            os.umask(before)
        files = [path for path in (tmp_path / "app").rglob("*") if path.is_file()]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in files if path.name != LOCK}
        assert modes == {file}
        made = (tmp_path / "app/blobs", tmp_path / "app/blobs/sha256")
        folders = {stat.S_IMODE(path.stat().st_mode) for path in made}
        assert folders == {0o777 & ~umask & 0o755}

    @pytest.mark.parametrize(("index", "umask"), [(0o644, 0o077), (0o600, 0o022), (0o664, 0o022)])
    async def test_what_is_added_to_a_layout_has_the_rights_of_its_index(
        self, store: LayoutStore, tmp_path: Path, index: int, umask: int
    ) -> None:
        """A public layout stays readable as a whole, a private one private, also by a mount."""
        write_layout(tmp_path / "app", "1.0", image("a"))
        (tmp_path / "app/index.json").chmod(index)
        old = set((tmp_path / "app").rglob("*"))
        before = os.umask(umask)
        try:
            await put_image(store, "other", "1.0", image("b"))
            for descriptor in Manifest.parse(image("b").raw).blobs:
                await store.start_upload("app", descriptor, mount_from="other")
            await put_image(store, "app", "2.0", image("c"))
            await store.put_manifest("app", "3.0", Manifest.parse(image("b").raw))
        finally:
            os.umask(before)
        new = {path for path in (tmp_path / "app").rglob("*") if path.is_file()} - old
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in new}
        assert all(mode & index == index for name, mode in modes.items() if name != LOCK)
        assert stat.S_IMODE((tmp_path / "app/index.json").stat().st_mode) == index


def test_an_index_is_read_anew_when_it_was_changed_in_place(tmp_path: Path) -> None:
    """The same inode with another time or size is another index."""
    write_layout(tmp_path / "app", "1.0", image("a"))
    path = tmp_path / "app/index.json"
    os.utime(path, ns=(0, 1))
    index = IndexFile(tmp_path / "app", "oci:app", lambda _: True)
    assert index.read().tags == ["1.0"]
    assert index.read() is index.read()
    path.write_text(json.dumps({"manifests": []}))
    assert index.read().tags == []


class Heard:
    """A sink that keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


@pytest.mark.parametrize("spoiled", [False, True])
async def test_the_end_of_a_run_sees_to_its_tags(tmp_path: Path, spoiled: bool) -> None:
    """What another tool took back is there again, or whoever ran it is warned."""
    config = tmp_path / "imgmigrate.yaml"
    config.write_text('version: 1\nimages: [{source: "oci:a", destination: "oci:app"}]\n')
    write_layout(tmp_path / "app", "theirs", image("b"))
    path, sink = tmp_path / "app/index.json", Heard()
    stale = path.read_bytes()
    async with open_stores(load_config(config), sink=sink) as stores:
        await stores.of(Repository(LAYOUTS, "app")).put_manifest("app", "1.0", MANIFEST)
        path.unlink()
        if spoiled:
            os.mkfifo(path)
        else:
            path.write_bytes(stale)
    if spoiled:
        [event] = sink.events
        assert isinstance(event, Warned)
        assert (event.code, "plan again" in event.message) == ("layout_overwritten", True)
    else:
        assert sorted(layout_tags(tmp_path / "app")) == ["1.0", "theirs"]
        assert sink.events == []
