"""Blobs in layouts: streamed in pieces, mounted by links, never outside the layout."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import IntegrityError, ProtocolError
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.layout import folder as layout_folder
from imgmigrate.stores.layout.store import LayoutStore
from tests.stores.layout_samples import EMPTY, put_blob, read_blob
from tests.support.blobs import described
from tests.support.images import image
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from pathlib import Path

LARGE = bytes(range(256)) * 8192  # 2 MiB: several pieces


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    """A store whose paths are relative to the test's folder."""
    return LayoutStore(tmp_path)


class TestBlobs:
    """Blobs stream in and out in pieces; half ones have no name."""

    @pytest.mark.parametrize("offset", [0, 1, 1 << 20, len(LARGE) - 1, len(LARGE)])
    async def test_a_blob_streams_from_any_offset(self, store: LayoutStore, offset: int) -> None:
        """What was cut off by a broken transfer can be read alone."""
        await put_blob(store, "app", LARGE)
        assert await read_blob(store, "app", described(LARGE), offset) == LARGE[offset:]

    @pytest.mark.parametrize(("offset", "length"), [(0, 1), (5, 700_000), (len(LARGE) - 3, 3)])
    async def test_a_part_of_a_blob_ends_where_asked(
        self, store: LayoutStore, offset: int, length: int
    ) -> None:
        """With a length no byte beyond it is read."""
        await put_blob(store, "app", LARGE)
        pieces = [piece async for piece in store.open_blob("app", described(LARGE), offset, length)]
        assert b"".join(pieces) == LARGE[offset : offset + length]

    async def test_pieces_are_bounded(self, store: LayoutStore) -> None:
        """Memory does not grow with a layer."""
        await put_blob(store, "app", LARGE)
        sizes = [len(piece) async for piece in store.open_blob("app", described(LARGE))]
        assert max(sizes) <= layout_folder.PIECE
        assert len(sizes) > 1

    async def test_a_blob_of_another_size_is_refused(self, store: LayoutStore) -> None:
        """Before a byte is sent, the file's size is known to be wrong."""
        await put_blob(store, "app", b"1234")
        wrong = described(b"12345")
        descriptor = type(wrong)(wrong.media_type, Digest.of(b"1234"), 5)
        with pytest.raises(IntegrityError, match="4 bytes, not 5"):
            await read_blob(store, "app", descriptor)

    async def test_an_unfinished_upload_has_no_name(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Until `commit` the blob does not exist; after `abort` nothing is left."""
        upload = await store.start_upload("app", described(b"1234"))
        assert not isinstance(upload, Mounted)
        await upload.write(b"12")
        assert not await store.blob_exists("app", Digest.of(b"1234"))
        await upload.abort()
        assert sorted(path.name for path in (tmp_path / "app").iterdir()) == EMPTY

    async def test_an_upload_of_another_size_is_not_committed(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """A caller that lost bytes is told, and `abort` still cleans up."""
        upload = await store.start_upload("app", described(b"1234"))
        assert not isinstance(upload, Mounted)
        await upload.write(b"12")
        with pytest.raises(IntegrityError, match="2 bytes came, not 4"):
            await upload.commit()
        await upload.abort()
        assert sorted(path.name for path in (tmp_path / "app").iterdir()) == EMPTY

    async def test_aborting_twice_or_after_a_commit_is_harmless(self, store: LayoutStore) -> None:
        """`abort` never raises and never takes a finished blob away."""
        upload = await store.start_upload("app", described(b"1234"))
        assert not isinstance(upload, Mounted)
        await upload.write(b"1234")
        await upload.commit()
        await upload.abort()
        await upload.abort()
        assert await store.blob_exists("app", Digest.of(b"1234"))

    async def test_two_uploads_of_one_blob_may_both_finish(self, store: LayoutStore) -> None:
        """Two runs that bring the same blob do not disturb each other."""
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(put_blob(store, "app", LARGE))
        assert await read_blob(store, "app", described(LARGE)) == LARGE

    async def test_leftovers_of_killed_runs_go_after_a_day(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Old temporary files are removed by the next writer, fresh ones may be in use."""
        await put_blob(store, "app", b"1")
        old, fresh = (tmp_path / "app" / f".imgmigrate-{name}" for name in ("old", "fresh"))
        for path in (old, fresh):
            path.write_bytes(b"half a blob")
        os.utime(old, (0, 0))
        await put_blob(LayoutStore(tmp_path), "app", b"2")
        assert (old.exists(), fresh.exists()) == (False, True)


class TestMounts:
    """Between layouts a mount is a hard link, or a copy where links are refused."""

    async def test_a_mount_is_a_hard_link(self, store: LayoutStore, tmp_path: Path) -> None:
        """No byte is written twice on one device."""
        await put_blob(store, "one", LARGE)
        mounted = await store.start_upload("two", described(LARGE), mount_from="one")
        assert isinstance(mounted, Mounted)
        paths = [tmp_path / name / "blobs/sha256" / Digest.of(LARGE).hex for name in ("one", "two")]
        assert paths[0].samefile(paths[1])
        again = await store.start_upload("two", described(LARGE), mount_from="one")
        assert isinstance(again, Mounted)

    async def test_where_links_are_refused_the_blob_is_copied(
        self, store: LayoutStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Across devices the result is the same."""

        def refuse(*_: object, **__: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        await put_blob(store, "one", LARGE)
        monkeypatch.setattr(os, "link", refuse)
        mounted = await store.start_upload("two", described(LARGE), mount_from="one")
        assert isinstance(mounted, Mounted)
        assert await read_blob(store, "two", described(LARGE)) == LARGE

    async def test_a_copy_of_damaged_bytes_is_refused(
        self, store: LayoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A copy is verified; what does not fit is uploaded from its true source instead."""

        def refuse(*_: object, **__: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        await put_blob(store, "one", b"1234")
        (tmp_path / "one/blobs/sha256" / Digest.of(b"1234").hex).write_bytes(b"1235")
        monkeypatch.setattr(os, "link", refuse)
        upload = await store.start_upload("two", described(b"1234"), mount_from="one")
        assert not isinstance(upload, Mounted)
        await upload.abort()
        left = [path.name for path in (tmp_path / "two").rglob("*") if path.is_file()]
        assert sorted(left) == EMPTY

    @pytest.mark.parametrize(
        "content", [None, b"12", b"4321"], ids=["missing", "of another size", "of another digest"]
    )
    async def test_a_mount_without_a_good_source_opens_an_upload(
        self, store: LayoutStore, tmp_path: Path, content: bytes | None
    ) -> None:
        """A refused mount is no error: the blob just travels."""
        await put_blob(store, "one", b"1234")
        path = tmp_path / "one/blobs/sha256" / Digest.of(b"1234").hex
        path.unlink() if content is None else path.write_bytes(content)
        store = LayoutStore(tmp_path)  # one that has not written the blob itself
        upload = await store.start_upload("two", described(b"1234"), mount_from="one")
        assert not isinstance(upload, Mounted)
        await upload.write(b"1234")
        await upload.commit()
        assert await read_blob(store, "two", described(b"1234")) == b"1234"


class TestAttacks:
    """A layout from elsewhere cannot make us read or write outside it."""

    @pytest.mark.parametrize("where", ["blob", "folder", "blobs"])
    async def test_links_inside_blobs_are_refused(
        self, store: LayoutStore, tmp_path: Path, where: str
    ) -> None:
        """Neither a blob nor a folder of blobs may point somewhere else."""
        write_layout(tmp_path / "app", "1.0", image("a"))
        digest = Digest.parse(image("a").top)
        path = {
            "blob": tmp_path / "app/blobs/sha256" / digest.hex,
            "folder": tmp_path / "app/blobs/sha256",
            "blobs": tmp_path / "app/blobs",
        }[where]
        outside = tmp_path / "outside"
        path.rename(outside)
        path.symlink_to(outside)
        for attempt in (store.head("app", "1.0"), store.blob_exists("app", digest)):
            with pytest.raises(ProtocolError, match="is not a") as caught:
                await attempt
            assert caught.value.hint
        if where != "blob":
            with pytest.raises(ProtocolError):
                await put_blob(store, "app", b"new")
            assert sum(path.is_file() for path in outside.rglob("*")) == 4

    async def test_a_pipe_is_no_blob(self, store: LayoutStore, tmp_path: Path) -> None:
        """Reading never hangs on a special file."""
        await put_blob(store, "app", b"1")
        path = tmp_path / "app/blobs/sha256" / Digest.of(b"1").hex
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ProtocolError, match="is not a regular file"):
            await read_blob(store, "app", described(b"1"))

    async def test_a_blob_that_is_a_link_is_replaced_not_followed(
        self, store: LayoutStore, tmp_path: Path
    ) -> None:
        """Writing a blob never writes through a link."""
        await put_blob(store, "app", b"1")
        outside = tmp_path / "outside"
        outside.write_bytes(b"untouched")
        path = tmp_path / "app/blobs/sha256" / Digest.of(b"2").hex
        path.symlink_to(outside)
        await put_blob(store, "app", b"2")
        assert outside.read_bytes() == b"untouched"
        assert await read_blob(store, "app", described(b"2")) == b"2"
