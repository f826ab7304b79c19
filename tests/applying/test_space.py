"""A disk that is too small is found out before the first byte, and no run is refused that fits."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ImgmigrateError
from imgmigrate.events import Outcome, RunStarted
from imgmigrate.state.local.store import LocalState
from tests.support.disks import Disks, blob_file, damage
from tests.support.images import image, index, layer

if TYPE_CHECKING:
    from pathlib import Path

BASE = layer("base", 40_000)
ONE = image("a", layers=[BASE, layer("a")])
OTHER = image("b", layers=[BASE, layer("b")])
TWO = "- {source: 'oci:src', destination: ['oci:disk/app', 'oci:disk/web']}"
MANIFESTS = 4_000  # bytes, more than the manifests of these tests


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    """Two images on one base, in a source that is no neighbour of the destination."""
    found = Disks(tmp_path)
    found.push(**{"1": ONE, "2": OTHER})
    return found


def leave(monkeypatch: pytest.MonkeyPatch, free: int, *, blocks: int = 1 << 30) -> None:
    """Let every disk have so many bytes left."""
    monkeypatch.setattr(
        os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1, f_blocks=blocks)
    )


def tell_apart(monkeypatch: pytest.MonkeyPatch, disks: Disks) -> None:
    """Put the source on a disk of its own, so that no blob of it can be linked."""
    from imgmigrate.stores.layout import disk as layout_disk

    look = layout_disk.look_at_disk

    def looked(path: Path) -> object:
        room = look(path)
        assert room
        return SimpleNamespace(path=room.path, free=room.free, disk="src" in path.parts)

    monkeypatch.setattr("imgmigrate.stores.layout.store.look_at_disk", looked)


def unlinked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take hard links away, as on exFAT."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


async def test_a_disk_that_is_too_small_is_refused_before_anything(
    disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names place, need and room; neither disk nor state has changed."""
    plan = await disks.plan()
    tell_apart(monkeypatch, disks)
    leave(monkeypatch, 30_000)
    with pytest.raises(ImgmigrateError, match="are to be written to layouts there") as caught:
        await disks.apply(plan)
    assert (caught.value.exit_code, "`target`" in (caught.value.hint or "")) == (1, True)
    assert str(disks.folder) in caught.value.message
    assert not disks.app.exists()
    assert not any(isinstance(event, RunStarted) for event in disks.sink.events)
    assert not LocalState(disks.config.state).read().runs


async def test_the_same_plan_goes_on_once_there_is_room(
    disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the refusal is left behind."""
    plan = await disks.plan()
    with monkeypatch.context() as patched:
        tell_apart(patched, disks)
        leave(patched, 30_000)
        with pytest.raises(ImgmigrateError):
            await disks.apply(plan)
    assert (await disks.apply(plan)).counts == {Outcome.APPLIED: 2}
    disks.assert_whole()


@pytest.mark.parametrize("has_links", [True, False])
async def test_what_layouts_share_is_counted_once_where_it_can_be_linked(
    disks: Disks, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Two layouts on one disk need the base once; without links twice."""
    disks.rules = TWO
    plan = await disks.plan()
    tell_apart(monkeypatch, disks)
    leave(monkeypatch, len(BASE) + 2 * 3_000 + MANIFESTS)
    if has_links:
        assert (await disks.apply(plan)).counts == {Outcome.APPLIED: 4}
        return
    unlinked(monkeypatch)
    with pytest.raises(ImgmigrateError):
        await disks.apply(plan)


async def test_what_is_there_already_needs_no_room(
    disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what a layout lacks is counted, also where it was damaged."""
    await disks.migrate()
    disks.push(**{"3": image("c", layers=[BASE, layer("c")])})
    damage(blob_file(disks.app, list(ONE.blobs)[2]), "cut")
    plan = await disks.plan()
    tell_apart(monkeypatch, disks)
    leave(monkeypatch, len(layer("a")) + len(layer("c")) + MANIFESTS)
    assert (await disks.apply(plan)).counts == {Outcome.APPLIED: 2}
    damage(blob_file(disks.app, list(ONE.blobs)[1]), "gone")
    plan = await disks.plan()
    with pytest.raises(ImgmigrateError):
        await disks.apply(plan)


async def test_blobs_of_a_source_on_the_same_disk_need_no_room(
    disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are linked."""
    plan = await disks.plan()
    leave(monkeypatch, MANIFESTS)
    assert (await disks.apply(plan)).counts == {Outcome.APPLIED: 2}


async def test_children_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an index as many as are copied."""
    disks = Disks(tmp_path)
    disks.push(all=index(image("a", platform="linux/arm64"), image("b", size=50_000)))
    plan = await disks.plan()
    tell_apart(monkeypatch, disks)
    leave(monkeypatch, 50_000)
    with pytest.raises(ImgmigrateError):
        await disks.apply(plan)
    disks.rules = "- {source: oci:src, destination: oci:disk/app, platforms: [linux/arm64]}"
    assert (await disks.apply(await disks.plan())).counts[Outcome.APPLIED] == 1


async def test_a_file_system_that_tells_nothing_refuses_nothing(
    disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems know no sizes."""
    plan = await disks.plan()
    leave(monkeypatch, 0, blocks=0)
    assert (await disks.apply(plan)).counts == {Outcome.APPLIED: 2}
