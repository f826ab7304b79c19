"""What is to stand in an image's stead is looked at when the image goes, whoever recorded it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from tests.fakes.memory import image
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest
    from imgmigrate.plan import Plan

REPO = "team/api"
API = f"{NEW}/{REPO}"
KEEP = 'keep_previous: "{tag}-kept"\n'
ONLY = f"- {{source: {OLD}/{REPO}, destination: {API}, tags: [keep]}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def kept_before(world: World) -> tuple[Plan, Digest]:
    """An earlier run kept what an update is about to replace once more, so it has no row."""
    world.extra = KEEP
    world.rules = f"- {{source: '{OLD}/{REPO}:1', destination: {API}}}"
    first = world.seed("1", b"first")
    await world.migrate()
    world.seed("1", b"second")
    await world.migrate()
    world.seed("1", b"first")
    world.extra = ""
    await world.migrate()
    world.extra = KEEP
    world.seed("1", b"third")
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1": ("update", "source_moved")}
    assert str(plan.changes[0].kept_as) == f"{API}:1-kept"
    return plan, first


@pytest.mark.parametrize("theirs", [False, True], ids=["gone", "overwritten"])
async def test_what_no_tag_keeps_is_not_replaced(world: World, theirs: bool) -> None:
    """The kept tag is recorded, and somebody took it away since: the row fails."""
    plan, first = await kept_before(world)
    if theirs:
        manifest, blobs = image(b"theirs")
        world.new.seed(REPO, "1-kept", manifest, blobs)
    else:
        del world.new.tags[REPO, "1-kept"]
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.FAILED: 1}
    assert "which is to hold it, shows" in str(finished.unfinished[0].error)
    assert world.new.tags[REPO, "1"] == first


async def test_what_is_kept_is_replaced(world: World) -> None:
    """The look costs one request and stops nothing that is as recorded."""
    plan, first = await kept_before(world)
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert world.new.tags[REPO, "1-kept"] == first != world.new.tags[REPO, "1"]


async def test_a_kept_tag_that_goes_during_the_run_counts_too(world: World) -> None:
    """This run kept it, and somebody deleted it while the new image was on its way."""
    world.extra = KEEP
    world.rules = f"- {{source: '{OLD}/{REPO}:1', destination: {API}}}"
    first = world.seed("1", b"first")
    await world.migrate()
    world.seed("1", b"second")
    plan = await world.plan()
    world.new.hooks["commit"] = lambda *_: world.new.tags.pop((REPO, "1-kept"), None)
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.FAILED: 1}
    assert world.new.tags[REPO, "1"] == first


async def test_a_deleted_image_has_its_kept_tag(world: World) -> None:
    """A delete looks for it, too: a recorded one that is gone keeps the image where it is."""
    world.extra = KEEP
    digest = world.seed("1", b"one")
    world.seed("keep")
    await world.migrate()
    world.rules = ONLY
    plan = await world.plan(allow_delete=True)
    target = await world.plan(allow_delete=True, target=(f"{API}:1",))
    assert rows(target)[f"{API}:1"] == ("delete", "deselected")

    def lose(_: str, ref: str) -> None:
        if ref == "1-kept":
            world.new.hooks["head"] = lambda *_: world.new.tags.pop((REPO, "1-kept"), None)

    world.new.hooks["put_manifest"] = lose
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.FAILED: 1}
    assert world.new.tags[REPO, "1"] == digest


async def test_a_moved_image_is_at_its_new_place_before_the_old_one_goes(world: World) -> None:
    """Moved by an earlier plan, deleted there by somebody, and then planned to go here."""
    digest = world.seed("1")
    await world.migrate()
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {NEW}/crew/api}}"
    world.extra = f"moved: [{{from: '{NEW}/team/*', to: '{NEW}/crew/*'}}]\n"
    await world.migrate()
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {f"{API}:1": ("delete", "moved")}
    del world.new.tags["crew/api", "1"]
    assert (await world.apply(plan)).counts == {Outcome.FAILED: 1}
    assert world.new.tags == {(REPO, "1"): digest}
