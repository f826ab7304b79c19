"""Layouts believe no file that they have not read, and name no image that is not whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import Rejected
from imgmigrate.oci.manifest import Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.layout import parts as layout_parts
from imgmigrate.stores.layout.proofs import Proofs
from imgmigrate.stores.layout.store import LayoutStore
from tests.stores.layout_samples import EMPTY, put_blob, put_blobs, put_image, read_blob
from tests.support.blobs import described
from tests.support.images import image, index, two_platforms
from tests.support.layouts import assert_layout_holds, layout_tags, write_layout

if TYPE_CHECKING:
    from pathlib import Path

BLOB = b"the bytes of a layer"
DAMAGES = {"cut": BLOB[:5], "empty": b"", "longer": BLOB + b"!", "other bytes": b"?" * len(BLOB)}


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    """A store whose paths are relative to the test's folder."""
    return LayoutStore(tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests of all files that are read as a whole."""
    found: list[str] = []
    is_right = layout_parts._is_right

    async def watched(file: int, digest: Digest) -> bool:
        found.append(digest)
        return await is_right(file, digest)

    monkeypatch.setattr(layout_parts, "_is_right", watched)
    return found


def blob_file(layout: Path, data: bytes | str) -> Path:
    """Where a layout keeps a blob, given by its bytes or its digest."""
    digest = Digest.of(data) if isinstance(data, bytes) else Digest.parse(data)
    return layout / "blobs" / digest.algorithm / digest.hex


class TestBytes:
    """A file is the blob if it has its size and its bytes, whoever wrote it."""

    @pytest.mark.parametrize("damage", DAMAGES)
    async def test_a_file_that_is_not_the_blob_is_not_believed(
        self, store: LayoutStore, tmp_path: Path, damage: str
    ) -> None:
        """Power cuts and other tools leave such files; one that we wrote may become one."""
        await put_blob(store, "app", BLOB)
        blob_file(tmp_path / "app", BLOB).write_bytes(DAMAGES[damage])
        for each in (store, LayoutStore(tmp_path)):
            assert not await each.blob_exists("app", Digest.of(BLOB), len(BLOB))

    @pytest.mark.parametrize("damage", DAMAGES)
    async def test_such_a_file_is_replaced_whole(
        self, store: LayoutStore, tmp_path: Path, damage: str
    ) -> None:
        """A reader sees the old file or the right one, never a half."""
        write_layout(tmp_path / "app", "1", image("a"))
        path = blob_file(tmp_path / "app", BLOB)
        path.write_bytes(DAMAGES[damage])
        with path.open("rb") as old:
            await put_blob(store, "app", BLOB)
            assert old.read() == DAMAGES[damage]
        assert path.read_bytes() == BLOB
        assert await store.blob_exists("app", Digest.of(BLOB), len(BLOB))

    async def test_what_we_wrote_is_not_read_again(
        self, store: LayoutStore, read: list[str]
    ) -> None:
        """Its bytes were hashed on their way in."""
        await put_blob(store, "app", BLOB)
        assert await store.blob_exists("app", Digest.of(BLOB), len(BLOB))
        assert read == []

    async def test_what_others_wrote_is_read_once(
        self, store: LayoutStore, tmp_path: Path, read: list[str]
    ) -> None:
        """Only that tells, and it holds until the file changes."""
        sample = image("a")
        write_layout(tmp_path / "app", "1", sample)
        for digest in sample.blobs:
            os.utime(blob_file(tmp_path / "app", digest), ns=(0, 1))
            for _ in range(2):
                assert await store.blob_exists("app", Digest.parse(digest))
        assert sorted(read) == sorted(sample.blobs)

    async def test_what_is_to_be_read_anew_is(self, store: LayoutStore, read: list[str]) -> None:
        """Whatever is remembered of it."""
        await put_blob(store, "app", BLOB)
        for _ in range(2):
            assert await store.blob_exists("app", Digest.of(BLOB), anew=True)
        assert len(read) == 2

    async def test_a_change_that_kept_the_time_is_found_anew(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """A file that looks as it did is only told from it by its bytes."""
        await put_blob(store, "app", BLOB)
        path = blob_file(tmp_path / "app", BLOB)
        found = path.stat()
        path.write_bytes(DAMAGES["other bytes"])
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        assert await store.blob_exists("app", Digest.of(BLOB), len(BLOB))
        assert not await store.blob_exists("app", Digest.of(BLOB), len(BLOB), anew=True)

    async def test_large_files_are_read_in_turns(
        self, store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither memory nor the time until a run may end grows with a layer."""
        monkeypatch.setattr(layout_parts, "TURN", 8)
        monkeypatch.setattr(layout_parts, "PIECE", 3)
        await put_blob(store, "app", BLOB)
        assert await store.blob_exists("app", Digest.of(BLOB), anew=True)


class TestMemory:
    """What was read is known in later runs, by how the file looks and nothing else."""

    async def test_a_later_run_knows_what_was_read(self, tmp_path: Path, read: list[str]) -> None:
        """The list is kept beside the state, and nothing of it in the layout."""
        kept = tmp_path / "cache" / "layouts"
        await put_image(LayoutStore(tmp_path, Proofs(kept)), "app", "1", image("a"))
        later = LayoutStore(tmp_path, Proofs(kept))
        for digest in image("a").blobs:
            assert await later.blob_exists("app", Digest.parse(digest))
        assert read == []
        names = {path.name for path in (tmp_path / "app").iterdir()}
        assert names == {"blobs", "index.json", *EMPTY}

    async def test_a_copied_layout_is_read_once(self, tmp_path: Path, read: list[str]) -> None:
        """A copy may be damaged, also one that kept the times."""
        kept = tmp_path / "cache" / "layouts"
        await put_image(LayoutStore(tmp_path, Proofs(kept)), "app", "1", image("a"))
        for path in (tmp_path / "app").rglob("*"):
            os.utime(path, ns=(0, 1))  # out of the clock's grain
        shutil.copytree(tmp_path / "app", tmp_path / "copy")
        top = Manifest.parse(image("a").raw)
        for _ in range(2):
            store = LayoutStore(tmp_path, Proofs(kept))
            await store.put_manifest("copy", "2", top)
        assert sorted(read) == sorted([*image("a").blobs, image("a").top])

    async def test_a_renamed_layout_is_known(self, tmp_path: Path, read: list[str]) -> None:
        """The name of a folder says nothing about its files."""
        kept = tmp_path / "cache" / "layouts"
        await put_image(LayoutStore(tmp_path, Proofs(kept)), "app", "1", image("a"))
        (tmp_path / "app").rename(tmp_path / "moved")
        store = LayoutStore(tmp_path, Proofs(kept))
        await store.put_manifest("moved", "2", Manifest.parse(image("a").raw))
        assert read == []


class TestImages:
    """No image is named before all that it is made of is there."""

    @pytest.mark.parametrize("damage", ["missing", *DAMAGES])
    @pytest.mark.parametrize("ref", ["1", "digest"])
    async def test_a_manifest_without_its_blobs_is_refused_as_registries_do(
        self, store: LayoutStore, tmp_path: Path, damage: str, ref: str
    ) -> None:
        """The code is the one that makes whoever copies bring the parts again."""
        sample = image("a")
        write_layout(tmp_path / "app", "other", image("b"))
        await put_blobs(store, "app", sample)
        lost = next(iter(sample.blobs))
        path = blob_file(tmp_path / "app", lost)
        data = path.read_bytes()
        damages = {"cut": data[:5], "empty": b"", "longer": data + b"!", "other bytes": data[::-1]}
        path.unlink() if damage == "missing" else path.write_bytes(damages[damage])
        target = sample.top if ref == "digest" else ref
        with pytest.raises(Rejected, match=f"does not hold {lost}") as caught:
            await store.put_manifest("app", target, Manifest.parse(sample.raw))
        assert caught.value.code == "MANIFEST_BLOB_UNKNOWN"
        assert list(layout_tags(tmp_path / "app")) == ["other"]
        assert not blob_file(tmp_path / "app", sample.top).exists()

    @pytest.mark.parametrize("what", ["child", "its layer", "a nested child's layer", "all"])
    async def test_an_index_is_refused_without_all_that_it_reaches(
        self, store: LayoutStore, tmp_path: Path, what: str
    ) -> None:
        """Children and their blobs count, however deep."""
        inner = two_platforms("a")
        sample = index(inner, image("b")) if "nested" in what else inner
        await put_image(store, "app", "whole", sample)
        child, *_ = inner.manifests
        lost = {"child": child}.get(what, next(iter(inner.blobs)))
        if what == "all":
            shutil.rmtree(tmp_path / "app")
        else:
            blob_file(tmp_path / "app", lost).unlink()
        later = LayoutStore(tmp_path)
        with pytest.raises(Rejected) as caught:
            await later.put_manifest("app", "again", Manifest.parse(sample.raw))
        assert caught.value.code == "MANIFEST_BLOB_UNKNOWN"

    async def test_layers_that_are_not_distributed_are_not_missed(self, store: LayoutStore) -> None:
        """They stay where their URLs say."""
        document = image("a").document
        foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        document["layers"][0]["mediaType"] = foreign
        raw = json.dumps(document).encode()
        left = {
            digest: data
            for digest, data in image("a").blobs.items()
            if digest != document["layers"][0]["digest"]
        }
        for data in left.values():
            await put_blob(store, "app", data)
        await store.put_manifest("app", "1", Manifest.parse(raw))
        assert await store.missing_parts("app", "1") == ()

    async def test_a_whole_image_lacks_nothing(self, store: LayoutStore, read: list[str]) -> None:
        """A look at sizes reads no blob."""
        await put_image(store, "app", "1", two_platforms("a"))
        assert await store.missing_parts("app", "1") == ()
        assert read == []

    @pytest.mark.parametrize("damage", ["missing", "cut"])
    async def test_every_part_that_is_gone_is_named(
        self, store: LayoutStore, tmp_path: Path, damage: str
    ) -> None:
        """Blobs, manifests of an index, and the manifest that the tag names."""
        sample = two_platforms("a")
        for lost in (*sample.blobs, *sample.manifests):
            shutil.rmtree(tmp_path / "app", ignore_errors=True)
            write_layout(tmp_path / "app", "1", sample)
            path = blob_file(tmp_path / "app", lost)
            path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:-1])
            assert lost in await store.missing_parts("app", "1")


class TestMounts:
    """A mount brings what was proved, and replaces what is wrong."""

    async def test_a_wrong_file_is_replaced_by_a_mount(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """A name that is there is not the blob that it names."""
        await put_blob(store, "one", BLOB)
        await put_blob(store, "two", BLOB)
        blob_file(tmp_path / "two", BLOB).write_bytes(DAMAGES["other bytes"])
        mounted = await store.start_upload("two", described(BLOB), mount_from="one")
        assert isinstance(mounted, Mounted)
        assert await read_blob(store, "two", described(BLOB)) == BLOB
        assert not list((tmp_path / "two").glob(".imgmigrate-*"))

    @pytest.mark.parametrize(
        "number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.EINVAL]
    )
    async def test_no_file_system_has_to_have_links(
        self, store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """ExFAT has none, and each kind of mount refuses them in its own words."""

        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        await put_image(store, "one", "1", image("a"))
        monkeypatch.setattr(os, "link", refuse)
        for data in image("a").blobs.values():
            mounted = await store.start_upload("two", described(data), mount_from="one")
            assert isinstance(mounted, Mounted)
        await store.put_manifest("two", "1", Manifest.parse(image("a").raw))
        assert_layout_holds(tmp_path / "two", "1", image("a"))
        assert not list((tmp_path / "two").glob(".imgmigrate-*"))
