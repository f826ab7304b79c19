"""What goes along by a plan's file alone: about the row's own image, and as its rule requires."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import PlanRefused
from imgmigrate.events import Outcome
from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.manifest import OCI_INDEX
from tests.applying.signed import API, REPO, cosign, errors, sign
from tests.fakes.memory import image, index
from tests.support.world import OLD, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Plan

REQUIRING = f"- {{source: {OLD}/{REPO}, destination: {API}, referrers: {{required: [signature]}}}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The old registry has the API, the new one has not."""
    world = World(tmp_path)
    world.old.has_referrers = True
    return world


def edited(plan: Plan, **fields: Any) -> Plan:
    """Edit the one row of a plan, and seal it anew."""
    [change] = plan.changes
    return type(plan).of(plan.header, [change.model_copy(update=fields)])


@pytest.mark.parametrize(
    "fields",
    [
        {"referrers": None, "needs_referrers": None, "needed_kinds": None},
        {"referrers": ()},
        {"needs_referrers": None},
        {"needed_kinds": ()},
        {"needed_kinds": ("sbom",)},
    ],
    ids=["nothing at all", "no referrers", "not needed", "no kinds", "other kinds"],
)
async def test_a_rule_that_requires_a_signature_is_not_edited_away(
    world: World, fields: dict[str, Any]
) -> None:
    """What is required is the config's to say: without it the plan is refused as a whole."""
    sign(world, world.seed("1"))
    world.rules = REQUIRING
    plan = await world.plan()
    with pytest.raises(PlanRefused, match="it would go without what its rule requires"):
        await world.apply(edited(plan, **fields))
    assert (REPO, "1") not in world.new.tags
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}


async def test_a_row_that_holds_its_image_for_all_is_warranted(world: World) -> None:
    """Plans of earlier versions named no kinds: then nothing of it may lack."""
    sign(world, world.seed("1"))
    world.rules = REQUIRING
    finished = await world.apply(edited(await world.plan(), needed_kinds=None))
    assert finished.counts == {Outcome.APPLIED: 1}


class TestAnotherImage:
    """A row about one image says nothing of another one's signatures."""

    @pytest.fixture
    async def plan(self, world: World) -> Plan:
        """Two images are there with their signatures; the row is about a third."""
        for tag in ("1", "2"):
            cosign(world, world.seed(tag), f"signature of {tag}".encode())
        await world.migrate()
        cosign(world, world.seed("3"))
        plan = await world.plan()
        first, second = (world.old.tags[REPO, tag] for tag in ("1", "2"))
        signature = world.old.manifests[REPO, world.old.tags[REPO, f"{fallback_tag(first)}.sig"]]
        [each] = plan.changes[0].referrers or ()
        forged = replace(
            each,
            refers_to=second,
            digest=signature.digest,
            size=len(signature.raw),
            tag=f"{fallback_tag(second)}.sig",
        )
        return edited(plan, referrers=(forged,))

    async def test_the_plan_is_refused(self, world: World, plan: Plan) -> None:
        """As far as the row tells by itself."""
        before = dict(world.new.tags)
        with pytest.raises(PlanRefused, match="not about its image"):
            await world.apply(plan)
        assert world.new.tags == before

    async def test_what_is_no_part_of_an_index_is_left_out(self, world: World, plan: Plan) -> None:
        """Of an index that is known when it is read: nothing under another's tag is replaced."""
        before = dict(world.new.tags)
        finished = await world.apply(edited(plan, media_type=OCI_INDEX))
        assert finished.counts == {Outcome.PARTLY: 1}
        assert "no part of the image" in errors(finished)
        assert {**world.new.tags, **before} == world.new.tags


async def test_what_is_about_a_child_or_another_referrer_goes_along(world: World) -> None:
    """All that is below the image, and what is about what goes along."""
    child, blobs = image(b"a platform")
    world.old.seed(REPO, "1", index(index(child)), blobs, index(child), child)
    of_child = sign(world, child.digest)
    of_that = sign(world, of_child.digest)
    assert (await world.migrate()).counts == {Outcome.APPLIED: 1}
    assert (REPO, of_child.digest) in world.new.manifests
    assert (REPO, of_that.digest) in world.new.manifests
