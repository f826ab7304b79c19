"""Layouts at apply: whatever happened to the disk, what a run calls done is there, whole."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from tests.support.disks import RULE, Disks, blob_file, damage, drop, empty
from tests.support.images import image, layer, two_platforms
from tests.support.layouts import layout_tags, write_layout
from tests.support.world import rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.images import Image

BASE = layer("base")
TWO = "- {source: 'oci:src', destination: ['oci:disk/app', 'oci:disk/web']}"


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    """Two images on one base and an index, copied to a disk."""
    found = Disks(tmp_path)
    found.push(**{"1": on_base("a"), "2": on_base("b"), "all": two_platforms("c")})
    return found


def on_base(seed: str) -> Image:
    """Make an image that shares a layer with others."""
    return image(seed, layers=[BASE, layer(seed)])


def shared(of: Image) -> str:
    """The digest of the layer that the images on one base share."""
    return list(of.blobs)[1]


class TestSwaps:
    """A disk that was emptied, changed or taken away gets every image whole."""

    @pytest.mark.parametrize("options", [{}, {"refresh": False}])
    async def test_another_disk_gets_all_bases_too(
        self, disks: Disks, options: dict[str, bool]
    ) -> None:
        """Two layouts on it share them, and neither is believed to have them."""
        disks.rules = TWO
        await disks.migrate()
        (disks.folder / "disk").rename(disks.folder / "first")
        (disks.folder / "disk").mkdir()
        assert (await disks.migrate(**options)).counts == {Outcome.APPLIED: 6}
        disks.assert_whole("app", "web")

    async def test_one_of_two_layouts_is_not_taken_for_both(self, disks: Disks) -> None:
        """What the other one has is linked or copied, byte for byte."""
        disks.rules = TWO
        await disks.migrate()
        empty(disks.folder / "disk" / "web")
        assert (await disks.migrate(refresh=False)).counts == {Outcome.APPLIED: 3}
        disks.assert_whole("app", "web")

    async def test_a_disk_that_comes_back_is_as_it_was(self, disks: Disks) -> None:
        """Nothing is lost, and what came meanwhile is added."""
        await disks.migrate()
        (disks.folder / "disk").rename(disks.folder / "first")
        await disks.migrate()
        empty(disks.folder / "disk")
        (disks.folder / "disk").rmdir()
        (disks.folder / "first").rename(disks.folder / "disk")
        disks.push(new=on_base("new"))
        assert (await disks.migrate(refresh=False)).counts == {Outcome.APPLIED: 1}
        await disks.assert_settled()

    @pytest.mark.parametrize("how", ["gone", "cut", "empty"])
    async def test_a_base_is_not_believed_for_a_new_tag(self, disks: Disks, how: str) -> None:
        """A row of its own looks at what other images brought, whatever the plan says of them."""
        await disks.migrate()
        damage(blob_file(disks.app, shared(disks.images["1"])), how)
        disks.push(**{"3": on_base("d")})
        plan = await disks.plan()
        new = [change for change in plan.changes if change.address.tag == "3"]
        await disks.apply(plan.only(new, target=("3",), exclude=()))
        disks.assert_whole()

    async def test_what_goes_after_the_plan_is_brought(self, disks: Disks) -> None:
        """Only what is there at the moment of the tag counts."""
        await disks.migrate()
        disks.push(**{"3": on_base("d")})
        plan = await disks.plan()
        damage(blob_file(disks.app, shared(disks.images["1"])), "gone")
        await disks.apply(plan)
        disks.assert_whole()

    async def test_wrong_bytes_of_somebody_elses_are_replaced(self, disks: Disks) -> None:
        """A file of the right name and size is read before it is relied on."""
        write_layout(disks.app, "theirs", on_base("theirs"))
        path = blob_file(disks.app, shared(disks.images["1"]))
        path.write_bytes(path.read_bytes()[::-1])
        await disks.migrate()
        disks.assert_whole()

    @pytest.mark.parametrize("how", ["gone", "cut"])
    async def test_children_that_are_there_are_looked_into(self, disks: Disks, how: str) -> None:
        """A manifest of an index may be there without its layers."""
        await disks.migrate()
        drop(disks.app, "all")
        for lost in disks.images["all"].blobs:
            damage(blob_file(disks.app, lost), how)
        assert (await disks.migrate()).counts == {Outcome.APPLIED: 1}
        await disks.assert_settled()

    @pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV])
    async def test_no_disk_needs_hard_links(
        self, disks: Disks, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """On exFAT everything is copied, and all of it is there."""

        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", refuse)
        disks.rules = TWO
        assert (await disks.migrate()).counts == {Outcome.APPLIED: 6}
        disks.assert_whole("app", "web")
        assert all(path.stat().st_nlink == 1 for path in disks.app.rglob("*") if path.is_file())


class TestTags:
    """A tag that shows the right digest is not yet an image."""

    async def test_a_tag_without_its_parts_is_not_done(self, disks: Disks) -> None:
        """Somebody restored `index.json` and the manifests between plan and apply."""
        plan = await disks.plan()
        for tag, sample in disks.images.items():
            write_layout(disks.app, tag, sample)
        for sample in disks.images.values():
            for digest in sample.blobs:
                blob_file(disks.app, digest).unlink(missing_ok=True)
        finished = await disks.apply(plan)
        assert set(finished.counts) <= {Outcome.APPLIED, Outcome.ALREADY}
        await disks.assert_settled()

    async def test_a_tag_with_all_its_parts_is_done(self, disks: Disks) -> None:
        """Nothing moves, and it is recorded."""
        plan = await disks.plan()
        for tag, sample in disks.images.items():
            write_layout(disks.app, tag, sample)
        finished = await disks.apply(plan)
        assert (finished.counts, finished.moved) == ({Outcome.ALREADY: 3}, 0)
        await disks.assert_settled()

    async def test_the_same_plan_fills_a_disk_that_was_emptied_since(self, disks: Disks) -> None:
        """That it recorded its rows does not mean that the disk has them."""
        plan = await disks.plan()
        await disks.apply(plan)
        assert (await disks.apply(plan)).counts == {Outcome.ALREADY: 3}
        empty(disks.folder / "disk")
        assert (await disks.apply(plan)).counts == {Outcome.APPLIED: 3}
        await disks.assert_settled()

    async def test_the_same_plan_mends_what_was_damaged_since(self, disks: Disks) -> None:
        """What is recorded is looked at, part by part."""
        plan = await disks.plan()
        await disks.apply(plan)
        damage(blob_file(disks.app, list(disks.images["2"].blobs)[2]), "cut")
        await disks.apply(plan)
        await disks.assert_settled()

    async def test_a_foreign_tag_on_another_disk_is_a_conflict(self, disks: Disks) -> None:
        """A plan that is applied again never overwrites what came there since."""
        plan = await disks.plan()
        await disks.apply(plan)
        empty(disks.folder / "disk")
        write_layout(disks.app, "1", image("somebody else's"))
        finished = await disks.apply(plan)
        assert finished.counts == {Outcome.APPLIED: 2, Outcome.CONFLICT: 1}
        assert layout_tags(disks.app)["1"] == image("somebody else's").top


class TestReplace:
    """`--replace` reads every byte."""

    async def test_bytes_that_look_right_are_read(self, disks: Disks) -> None:
        """A file with the size, inode and time of the right one is told from it."""
        await disks.migrate()
        path = blob_file(disks.app, shared(disks.images["1"]))
        write_apart(path, path.read_bytes())
        disks.push(**{"3": on_base("d")})
        await disks.migrate(replace=("**",))  # which knows the file now
        found = path.stat()
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        assert (await disks.plan()).changes == ()
        assert (await disks.migrate(replace=("**",))).counts == {Outcome.APPLIED: 4}
        disks.assert_whole()

    async def test_what_is_shared_is_read_once(
        self, disks: Disks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many images are replaced."""
        from imgmigrate.stores.layout import parts as layout_parts

        await disks.migrate()
        for each in disks.app.rglob("blobs/*/*"):
            os.utime(each, (0, 0))  # what is younger than the clock's grain is not remembered
        seen: list[str] = []
        is_right = layout_parts._is_right

        async def watched(file: int, digest: str) -> bool:
            seen.append(digest)
            return await is_right(file, digest)  # type: ignore[arg-type]

        monkeypatch.setattr(layout_parts, "_is_right", watched)
        await disks.migrate(replace=("**",))
        blobs = {digest for each in disks.images.values() for digest in each.blobs}
        assert sorted(each for each in seen if each in blobs) == sorted(blobs)


async def test_a_delete_of_a_damaged_image_is_done(tmp_path: Path) -> None:
    """What the index names is what the record says, whatever became of its bytes."""
    disks = Disks(tmp_path, rules=RULE)
    disks.push(**{"1": image("a"), "2": image("b")})
    await disks.migrate()
    disks.drop("1")
    damage(blob_file(disks.app, image("a").top), "cut")
    plan = await disks.plan(allow_delete_gone=True)
    assert rows(plan)["oci:disk/app:1"][0] == "delete"
    await disks.apply(plan)
    assert list(layout_tags(disks.app)) == ["2"]


@pytest.mark.parametrize("how", ["gone", "cut"])
async def test_nothing_goes_while_its_heir_is_not_whole(tmp_path: Path, how: str) -> None:
    """What was moved is looked at before the old tag is taken away, part by part."""
    disks = Disks(tmp_path, rules=RULE)
    disks.push(**{"1": image("a")})
    await disks.migrate()
    disks.rules = "- {source: 'oci:src', destination: 'oci:disk/new'}"
    disks.extra = "moved: [{from: 'oci:disk/app', to: 'oci:disk/new'}]\n"
    plan = await disks.plan(allow_delete=True)
    moves = [change for change in plan.changes if change.action.writes]
    await disks.apply(plan.only(moves, target=("oci:disk/new",), exclude=()))
    damage(blob_file(tmp_path / "disk/new", list(image("a").blobs)[1]), how)
    deletes = [change for change in plan.changes if not change.action.writes]
    finished = await disks.apply(plan.only(deletes, target=("oci:disk/app",), exclude=()))
    assert finished.counts == {Outcome.FAILED: 1}
    assert list(layout_tags(disks.app)) == ["1"]


def write_apart(path: Path, data: bytes) -> None:
    """Write a file anew, so that what is done to it happens to no link of it."""
    path.unlink()
    path.write_bytes(data)
    os.utime(path, ns=(0, 1))  # out of the clock's grain
