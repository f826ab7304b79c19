"""Layouts that lost parts of an image: a plan says so, and what can be brought again is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from imgmigrate.planning.adopting import sort_for_adoption
from tests.support.disks import Disks, blob_file, damage, drop, empty
from tests.support.images import image, index, layer, two_platforms
from tests.support.layouts import write_layout
from tests.support.world import rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.images import Image

APP = "oci:disk/app"
INCOMPLETE = ("update", "incomplete")
LOST = ("copy", "destination_lost")
BASE = layer("base")


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    """Two images on one base, not copied yet."""
    found = Disks(tmp_path)
    found.push(**{"1": on_base("a"), "2": on_base("b")})
    return found


def on_base(seed: str) -> Image:
    """Make an image that shares a layer with others."""
    return image(seed, layers=[BASE, layer(seed)])


def own_layer(of: Image) -> str:
    """The digest of the layer that no other image has."""
    return next(reversed(list(of.blobs)))


WAYS = {
    "asked": ({}, ""),
    "not refreshed": ({"refresh": False}, ""),
    "immutable": ({}, "defaults: {immutable_tags: ['*']}\n"),
}


class TestRecorded:
    """What is recorded and shown is only left alone if it is whole."""

    @pytest.mark.parametrize("how", ["gone", "cut", "empty", "longer"])
    @pytest.mark.parametrize("way", WAYS)
    async def test_a_lost_part_is_planned_and_brought(
        self, disks: Disks, how: str, way: str
    ) -> None:
        """Nothing is asked of the source's registry to find that out, however it is planned."""
        options, disks.extra = WAYS[way]
        await disks.migrate()
        damage(blob_file(disks.app, own_layer(disks.images["2"])), how)
        plan = await disks.plan(**options)
        assert rows(plan) == {f"{APP}:2": INCOMPLETE}
        (change,) = plan.changes
        # Its source is a layout as well: the part is linked.
        assert (change.transfer_bytes, change.spared_bytes) == (0, disks.images["2"].size)
        assert change.is_dangerous
        assert "the layout has lost" in (change.detail or "")
        assert (await disks.apply(plan)).counts == {Outcome.APPLIED: 1}
        await disks.assert_settled()

    @pytest.mark.parametrize("how", ["gone", "cut"])
    async def test_every_part_of_an_index_is_looked_at(self, tmp_path: Path, how: str) -> None:
        """Children, their configs and layers, and the manifest that the tag names."""
        disks = Disks(tmp_path)
        sample = index(two_platforms("a"), image("b"))
        disks.push(all=sample)
        await disks.migrate()
        for lost in (*sample.manifests, *sample.blobs):
            damage(blob_file(disks.app, lost), how)
            assert rows(await disks.plan()) == {f"{APP}:all": INCOMPLETE}, lost
            await disks.migrate(refresh=False)
            await disks.assert_settled()

    async def test_an_index_that_says_another_size_is_written_again(self, disks: Disks) -> None:
        """An entry that does not fit its manifest makes other tools fail."""
        await disks.migrate()
        path = disks.app / "index.json"
        document = json.loads(path.read_bytes())
        document["manifests"][0]["size"] += 1
        path.write_text(json.dumps(document))
        assert len(rows(await disks.plan())) == 1
        await disks.migrate()
        await disks.assert_settled()

    async def test_some_platforms_only_are_looked_at_as_they_are(self, tmp_path: Path) -> None:
        """An index that was cut lists fewer children, and only those are missed."""
        disks = Disks(tmp_path)
        disks.rules = "- {source: oci:src, destination: oci:disk/app, platforms: [linux/amd64]}"
        sample = two_platforms("a")
        write_layout(tmp_path / "src", "all", sample)
        await disks.migrate()
        assert (await disks.plan()).changes == ()
        shared = digest_of_shared(sample)
        damage(blob_file(disks.app, shared), "gone")
        assert rows(await disks.plan()) == {f"{APP}:all": INCOMPLETE}
        await disks.migrate()
        assert (await disks.plan()).changes == ()
        assert blob_file(disks.app, shared).exists()

    @pytest.mark.parametrize("options", [{}, {"refresh": False}])
    async def test_tags_and_parts_that_are_gone_are_told_apart(
        self, disks: Disks, options: dict[str, bool]
    ) -> None:
        """A lost tag is lost, also where its manifest is left; what is linked is not sent."""
        await disks.migrate()
        drop(disks.app, "1")
        damage(blob_file(disks.app, own_layer(disks.images["1"])), "gone")
        damage(blob_file(disks.app, own_layer(disks.images["2"])), "gone")
        plan = await disks.plan(**options)
        assert rows(plan) == {f"{APP}:1": LOST, f"{APP}:2": INCOMPLETE}
        sizes = sum(image.size for image in disks.images.values())
        assert (plan.summary.transfer_bytes, plan.summary.spared_bytes) == (0, sizes)
        await disks.apply(plan)
        await disks.assert_settled()

    async def test_a_layout_that_is_gone_costs_its_images(self, disks: Disks) -> None:
        """What an earlier run brought is not taken to be there still."""
        await disks.migrate()
        empty(disks.folder / "disk")
        plan = await disks.plan()
        assert rows(plan) == {f"{APP}:1": LOST, f"{APP}:2": LOST}
        sizes = sum(image.size for image in disks.images.values())
        assert (plan.summary.transfer_bytes, plan.summary.spared_bytes) == (0, sizes)

    async def test_a_refresh_tells_what_is_not_whole(self, disks: Disks) -> None:
        """It is drift, and nothing is recorded of it."""
        await disks.migrate()
        damage(blob_file(disks.app, own_layer(disks.images["2"])), "gone")
        assert rows(await disks.plan(refresh_only=True)) == {f"{APP}:2": ("drift", "incomplete")}


class TestNotRecorded:
    """What is there already is only adopted whole."""

    async def test_what_is_there_in_part_is_completed(self, disks: Disks) -> None:
        """The tag shows what is wanted; the bytes that it lacks are brought."""
        write_layout(disks.app, "1", disks.images["1"])
        write_layout(disks.app, "2", disks.images["2"])
        damage(blob_file(disks.app, own_layer(disks.images["2"])), "gone")
        plan = await disks.plan()
        assert rows(plan) == {f"{APP}:1": ("adopt", "already_there"), f"{APP}:2": INCOMPLETE}
        adoption = sort_for_adoption(plan, take_ownership=True)
        assert [str(row.address) for row in adoption.missing] == [f"{APP}:2"]
        await disks.apply(plan)
        await disks.assert_settled()

    async def test_what_loses_a_part_after_the_plan_is_not_adopted(self, disks: Disks) -> None:
        """Nothing is recorded that is not there."""
        write_layout(disks.app, "1", disks.images["1"])
        write_layout(disks.app, "2", disks.images["2"])
        plan = await disks.plan()
        damage(blob_file(disks.app, own_layer(disks.images["2"])), "cut")
        finished = await disks.apply(plan)
        assert finished.counts == {Outcome.APPLIED: 1, Outcome.FAILED: 1}
        assert rows(await disks.plan()) == {f"{APP}:2": INCOMPLETE}


class TestNowhereElse:
    """What no source has any more is an error, never silence."""

    async def test_a_kept_image_that_is_not_whole_is_an_error(self, disks: Disks) -> None:
        """Its source tag is gone, so nothing can mend it."""
        await disks.migrate()
        disks.drop("2")
        assert rows(await disks.plan()) == {f"{APP}:2": ("keep", "source_gone")}
        damage(blob_file(disks.app, own_layer(on_base("b"))), "gone")
        for options in ({}, {"refresh": False}):
            plan = await disks.plan(**options)
            assert rows(plan) == {f"{APP}:2": ("error", "incomplete")}
            assert "state rm" in (plan.changes[0].detail or "")

    async def test_a_tag_that_keeps_the_previous_image_is_looked_at(self, disks: Disks) -> None:
        """No rule asks for it, and it is the only way back."""
        disks.extra = 'keep_previous: "{tag}-before"\n'
        await disks.migrate()
        disks.push(**{"1": on_base("new")})
        await disks.migrate()
        damage(blob_file(disks.app, own_layer(on_base("a"))), "gone")
        assert rows(await disks.plan()) == {f"{APP}:1-before": ("error", "incomplete")}

    async def test_what_is_not_whole_cannot_be_kept(self, disks: Disks) -> None:
        """The row says so, and how to replace it all the same."""
        disks.extra = 'keep_previous: "{tag}-before"\n'
        await disks.migrate()
        damage(blob_file(disks.app, own_layer(disks.images["1"])), "gone")
        disks.push(**{"1": on_base("new")})
        plan = await disks.plan()
        assert rows(plan) == {f"{APP}:1": ("error", "not_kept")}
        assert "keep_previous: none" in (plan.changes[0].detail or "")

    async def test_what_is_not_whole_is_not_rolled_back_to(self, disks: Disks) -> None:
        """The former image has to be there with all its parts."""
        await disks.migrate()
        disks.push(**{"1": on_base("new")})
        plan = await disks.plan()
        await disks.apply(plan)
        damage(blob_file(disks.app, own_layer(on_base("a"))), "gone")
        (change,) = (await disks.rollback(plan)).changes
        assert change.action.value == "error"
        assert "the layout has lost" in (change.detail or "")

    async def test_what_is_not_whole_is_copied_and_not_moved(self, disks: Disks) -> None:
        """The source has what the old address has lost."""
        await disks.migrate()
        damage(blob_file(disks.app, own_layer(disks.images["2"])), "gone")
        disks.rules = "- {source: 'oci:src', destination: 'oci:disk/new'}"
        disks.extra = "moved: [{from: 'oci:disk/app', to: 'oci:disk/new'}]\n"
        plan = await disks.plan()
        assert {key: action for key, (action, _) in rows(plan).items() if "new" in key} == {
            "oci:disk/new:1": "move",
            "oci:disk/new:2": "copy",
        }
        await disks.apply(plan)
        disks.assert_whole("new")


def digest_of_shared(sample: Image) -> str:
    """The digest of the layer that both platforms of `two_platforms` have."""
    layers = [
        {entry["digest"] for entry in json.loads(raw)["layers"]}
        for media_type, raw in sample.manifests.values()
        if "index" not in media_type
    ]
    (shared,) = layers[0] & layers[1]
    return str(shared)
