"""Layouts as a store: what is put is found, byte for byte, and nothing else is."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import (
    IntegrityError,
    NotFound,
    ProtocolError,
    Rejected,
    StoreError,
    TransientError,
)
from imgmigrate.oci.manifest import OCI_MANIFEST, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Damaged
from imgmigrate.stores.layout import folder as layout_folder
from imgmigrate.stores.layout.store import LayoutStore
from tests.stores.layout_samples import put_blob, put_blobs, put_image, read_blob
from tests.support.blobs import described
from tests.support.images import KINDS, digest_of, image, two_platforms
from tests.support.layouts import assert_layout_holds, layout_tags, write_layout

if TYPE_CHECKING:
    from pathlib import Path

ABSENT = Digest.of(b"absent")


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    """A store whose paths are relative to the test's folder."""
    return LayoutStore(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_image_lands_byte_for_byte(
    store: LayoutStore, tmp_path: Path, kind: str
) -> None:
    """Blobs, children and tops are on disk as they came, under standard names."""
    sample = KINDS[kind]("a")
    await put_image(store, "bundle/app", "1.0", sample)
    assert_layout_holds(tmp_path / "bundle/app", "1.0", sample)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_image_is_read_as_it_was_written(
    store: LayoutStore, tmp_path: Path, kind: str
) -> None:
    """A layout that others wrote gives the same bytes, types and sizes by tag and by digest."""
    sample = KINDS[kind]("a")
    write_layout(tmp_path / "app", "1.0", sample)
    for ref in ("1.0", sample.top):
        head, found = await store.head("app", ref), await store.manifest("app", ref)
        assert found.raw == sample.raw
        assert head == found.descriptor
        assert head
        assert (head.digest, head.media_type) == (sample.top, sample.media_type)
    for digest, (media_type, raw) in sample.manifests.items():
        child = await store.manifest("app", digest)
        assert (child.raw, child.media_type) == (raw, media_type)
        for blob in child.blobs:
            assert await store.blob_exists("app", blob.digest)
            assert await read_blob(store, "app", blob) == sample.blobs[blob.digest]


class TestAbsence:
    """What is not there is absent; what is something else is an error."""

    @pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
    async def test_a_missing_or_empty_folder_holds_nothing(
        self, store: LayoutStore, tmp_path: Path, make: bool
    ) -> None:
        """A destination that does not exist yet is no error; a listing of it is NotFound."""
        if make:
            (tmp_path / "app").mkdir()
        assert await store.head("app", "1.0") is None
        assert await store.head("app", ABSENT) is None
        assert not await store.blob_exists("app", ABSENT)
        with pytest.raises(NotFound, match="oci:app: there is no layout at"):
            await store.list_tags("app")
        with pytest.raises(NotFound, match=r"oci:app:1\.0"):
            await store.manifest("app", "1.0")
        with pytest.raises(NotFound):
            await read_blob(store, "app", described(b"absent"))

    async def test_an_unknown_tag_of_a_layout_is_absent(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Neither another tag nor another digest is taken for it."""
        write_layout(tmp_path / "app", "1.0", image("a"))
        assert await store.head("app", "1") is None
        assert await store.head("app", ABSENT) is None

    async def test_a_layout_without_an_index_has_no_tags(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """A run that was killed before its first tag leaves such a layout."""
        await put_blob(store, "app", b"blob")
        assert not (tmp_path / "app" / "index.json").exists()
        assert await store.list_tags("app") == []
        assert await store.head("app", "1.0") is None

    @pytest.mark.parametrize(
        ("files", "cause"),
        [
            ({"photo.jpg": b""}, "it has no oci-layout file"),
            ({"oci-layout": b"{}"}, "version None"),
            ({"oci-layout": b"nonsense"}, "version None"),
            ({"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}, r"version '2\.0\.0'"),
        ],
    )
    async def test_a_folder_that_is_no_layout_is_neither_read_nor_written(
        self, store: LayoutStore, tmp_path: Path, files: dict[str, bytes], cause: str
    ) -> None:
        """A wrong path in a config must not scatter blobs among somebody's files."""
        folder = tmp_path / "app"
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        for attempt in (
            store.list_tags("app"),
            store.head("app", "1.0"),
            put_blob(store, "app", b"blob"),
            store.put_manifest("app", "1.0", Manifest.parse(image("a").raw)),
        ):
            with pytest.raises(ProtocolError, match=cause) as caught:
                await attempt
            assert caught.value.hint
        assert {path.name for path in folder.iterdir()} == set(files)

    async def test_a_file_is_no_layout(self, store: LayoutStore, tmp_path: Path) -> None:
        """The error says that the path is not a folder."""
        (tmp_path / "app").write_bytes(b"")
        for attempt in (store.head("app", "1.0"), put_blob(store, "app", b"blob")):
            with pytest.raises(ProtocolError, match="is not a folder"):
                await attempt


class TestTags:
    """`index.json` is shared with other tools, and kept as they left it."""

    async def test_tags_are_listed_and_other_names_ignored(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Names that no registry would take as a tag are not offered."""
        for name in ("1.0", "latest", "docker.io/library/app:1", "-x", ""):
            write_layout(tmp_path / "app", name, image("a"))
        assert await store.list_tags("app") == ["1.0", "latest"]

    async def test_a_moved_tag_replaces_its_entry_alone(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Other entries keep their place, their order and what others wrote into them."""
        for tag in ("1.0", "2.0"):
            write_layout(tmp_path / "app", tag, image(tag))
        path = tmp_path / "app" / "index.json"
        document = json.loads(path.read_bytes())
        document["manifests"][1]["annotations"]["org.example.note"] = "kept"
        document["manifests"].append({"mediaType": "text/plain", "digest": "x", "size": 1})
        document["manifests"].append("nonsense")
        document |= {"annotations": {"a": "ü"}, "unknown": [1]}
        path.write_text(json.dumps(document))
        await put_image(store, "app", "1.0", image("moved"))
        found = json.loads(path.read_bytes())
        assert found["manifests"][0]["digest"] == image("moved").top
        assert found["manifests"][1:] == document["manifests"][1:]
        assert {key: found[key] for key in found if key != "manifests"} == {
            key: document[key] for key in document if key != "manifests"
        }

    async def test_an_equal_tag_leaves_the_index_alone(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Writing what is there already does not touch others' annotations."""
        write_layout(tmp_path / "app", "1.0", image("a"))
        before = (tmp_path / "app" / "index.json").read_bytes()
        await put_image(store, "app", "1.0", image("a"))
        assert (tmp_path / "app" / "index.json").read_bytes() == before

    async def test_a_name_with_two_digests_is_ambiguous(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Which of two images is meant is not ours to guess; both are named."""
        for tag in ("1.0", "2.0"):
            write_layout(tmp_path / "app", tag, image(tag))
        path = tmp_path / "app" / "index.json"
        path.write_text(path.read_text().replace('"2.0"', '"1.0"'))
        with pytest.raises(ProtocolError) as caught:
            await store.head("app", "1.0")
        assert image("1.0").top in caught.value.message
        assert image("2.0").top in caught.value.message

    async def test_a_name_listed_twice_with_one_digest_is_clear(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Repeating an entry changes nothing."""
        write_layout(tmp_path / "app", "1.0", image("a"))
        path = tmp_path / "app" / "index.json"
        document = json.loads(path.read_bytes())
        document["manifests"] *= 2
        path.write_text(json.dumps(document))
        assert await store.list_tags("app") == ["1.0"]
        head = await store.head("app", "1.0")
        assert head
        assert head.digest == image("a").top

    async def test_tags_written_at_the_same_time_are_all_there(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Neither tasks nor other processes, here a second store, lose each other's tags."""
        names = [f"v{number}" for number in range(20)]
        others = LayoutStore(tmp_path.parent)
        await put_image(store, "app", names[0], image("a"))
        manifest = Manifest.parse(image("a").raw)
        async with asyncio.TaskGroup() as group:
            for number, name in enumerate(names):
                one, repo = (store, "app") if number % 2 else (others, f"{tmp_path.name}/app")
                group.create_task(one.put_manifest(repo, name, manifest))
        assert sorted(layout_tags(tmp_path / "app")) == sorted(names)

    async def test_a_change_by_others_is_seen(self, store: LayoutStore, tmp_path: Path) -> None:
        """What is remembered of an index never outlives the file."""
        for content in ("a", "b"):
            write_layout(tmp_path / "app", "1.0", image(content))
            os.utime(tmp_path / "app" / "index.json", ns=(0, ord(content)))
            head = await store.head("app", "1.0")
            assert head
            assert head.digest == image(content).top

    @pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"manifests":{}}', b"[" * 100_000])
    async def test_an_index_that_is_none_is_refused(
        self, store: LayoutStore, tmp_path: Path, raw: bytes
    ) -> None:
        """A damaged index.json is an error, and is not replaced by ours."""
        write_layout(tmp_path / "app", "1.0", image("a"))
        (tmp_path / "app" / "index.json").write_bytes(raw)
        manifest = Manifest.parse(image("a").raw)
        for attempt in (store.list_tags("app"), store.put_manifest("app", "2.0", manifest)):
            with pytest.raises(ProtocolError, match=r"index\.json is not an image index"):
                await attempt
        assert (tmp_path / "app" / "index.json").read_bytes() == raw

    async def test_the_rights_of_an_index_are_kept(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """An index that others made private stays private; a new one may be read by others."""
        write_layout(tmp_path / "private", "1.0", image("a"))
        (tmp_path / "private" / "index.json").chmod(0o600)
        await put_image(store, "private", "2.0", image("b"))
        await put_image(store, "public", "2.0", image("b"))
        modes = [(tmp_path / name / "index.json").stat().st_mode for name in ("private", "public")]
        assert [mode & 0o777 for mode in modes] == [0o600, 0o644]


class TestManifests:
    """A manifest is what its digest says, on the way in and on the way out."""

    async def test_a_blob_with_other_bytes_is_refused(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Damage on disk is found, by tag and by digest."""
        sample = image("a")
        write_layout(tmp_path / "app", "1.0", sample)
        path = tmp_path / "app/blobs/sha256" / sample.top.removeprefix("sha256:")
        path.write_bytes(sample.raw.replace(b" ", b"\t", 1))
        for ref in ("1.0", sample.top):
            with pytest.raises(IntegrityError, match="do not have the digest"):
                await store.head("app", ref)

    @pytest.mark.parametrize("change", ["missing", "longer"])
    async def test_an_entry_that_does_not_fit_its_blob_is_refused(
        self, store: LayoutStore, tmp_path: Path, change: str
    ) -> None:
        """A layout that was copied in part is incomplete, not empty."""
        sample = image("a")
        write_layout(tmp_path / "app", "1.0", sample)
        path = tmp_path / "app/blobs/sha256" / sample.top.removeprefix("sha256:")
        path.unlink() if change == "missing" else path.write_bytes(sample.raw + b" ")
        with pytest.raises(Damaged, match="the layout is incomplete") as caught:
            await store.head("app", "1.0")
        assert caught.value.names.digest == sample.top

    async def test_an_entry_of_another_type_is_refused(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """A document is not an image to one reader and an index to another."""
        write_layout(tmp_path / "app", "1.0", two_platforms("a"))
        path = tmp_path / "app" / "index.json"
        document = json.loads(path.read_bytes())
        document["manifests"][0]["mediaType"] = OCI_MANIFEST
        path.write_text(json.dumps(document))
        with pytest.raises(ProtocolError, match="but calls itself"):
            await store.head("app", "1.0")

    async def test_a_manifest_with_another_digest_is_not_written(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Bytes never get the name of other bytes."""
        manifest = Manifest.parse(image("a").raw)
        with pytest.raises(IntegrityError):
            await store.put_manifest("app", ABSENT, manifest)
        assert not (tmp_path / "app").exists()

    async def test_a_manifest_by_digest_is_only_a_blob(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Children do not appear in the index."""
        sample = image("a")
        await put_blobs(store, "app", sample)
        await store.put_manifest("app", sample.top, Manifest.parse(sample.raw))
        assert await store.list_tags("app") == []
        head = await store.head("app", sample.top)
        assert head
        assert head.digest == sample.top

    async def test_a_manifest_too_large_is_refused_before_it_is_read(
        self, store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A layer is not read into memory because a digest points to it."""
        monkeypatch.setattr(layout_folder, "LARGEST_MANIFEST", 100)
        await put_blob(store, "app", bytes(101))
        with pytest.raises(ProtocolError, match="101 bytes; the limit is 100"):
            await store.head("app", Digest.of(bytes(101)))


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (28, Rejected, "free some space"),
        (13, Rejected, "give this user the right"),
        (30, Rejected, "give this user the right"),
        (5, TransientError, None),
    ],
)
async def test_what_the_system_refuses_is_worded(
    store: LayoutStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[StoreError],
    hint: str | None,
) -> None:
    """A full disk or a missing right names the path, and is not tried again."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    await put_blobs(store, "app", image("a"))
    monkeypatch.setattr(layout_folder, "write_all", refuse)
    manifest = Manifest.parse(image("a").raw)
    with pytest.raises(StoreError) as caught:
        await store.put_manifest("app", "1.0", manifest)
    assert type(caught.value) is kind
    assert "oci:app:1.0" in caught.value.message
    assert str(tmp_path / "app") in caught.value.message
    assert os.strerror(number) in caught.value.message
    assert (caught.value.hint or "").startswith(hint or "")
    made = {path.name for path in (tmp_path / "app").iterdir()}
    assert made == {"blobs", "oci-layout", ".imgmigrate.lock"}


async def test_a_folder_that_vanishes_is_made_again(store: LayoutStore, tmp_path: Path) -> None:
    """A retry after a failed write starts from the beginning."""
    await put_blob(store, "app", b"1")
    (tmp_path / "app").rename(tmp_path / "elsewhere")
    with pytest.raises(TransientError):
        await put_blob(store, "app", b"2")
    await put_blob(store, "app", b"2")
    assert await store.blob_exists("app", Digest.of(b"2"))


async def test_an_absolute_path_needs_no_base(store: LayoutStore, tmp_path: Path) -> None:
    """`oci:/somewhere` is meant as it stands."""
    other = LayoutStore(tmp_path / "elsewhere")
    await put_image(store, "app", "1.0", image("a"))
    head = await other.head(str(tmp_path / "app"), "1.0")
    assert head
    assert head.digest == digest_of(image("a").raw)


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("in/**", ["in/a", "in/b/c"]),
        ("in/*", ["in/a"]),
        ("in/b/*", ["in/b/c"]),
        ("**/c", ["in/b/c"]),
        ("in/none*", []),
    ],
)
async def test_layouts_below_a_folder_are_listed(
    tmp_path: Path, glob: str, expected: list[str]
) -> None:
    """Every folder that is a layout is a repository; what a glob matches is kept."""
    for name in ("in/a", "in/b/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (tmp_path / "in/empty").mkdir()
    assert await LayoutStore(tmp_path).list_repositories(glob) == expected


async def test_a_folder_of_layouts_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """A missing disk is not an empty one."""
    with pytest.raises(NotFound, match="there is no folder"):
        await LayoutStore(tmp_path).list_repositories("none/**")
