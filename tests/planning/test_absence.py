"""Absent is what reading says is absent: no HEAD's word, and no list's, lets an image go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from imgmigrate.planning.pin_sources import pin_sources
from imgmigrate.planning.planner import PlanOptions
from imgmigrate.state.record import Status
from tests.fakes.memory import image
from tests.planning.dated import seed
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest

API, REPO = f"{NEW}/team/api", "team/api"
ONLY_KEPT = f"- {{source: {OLD}/{REPO}, destination: {API}, tags: [keep]}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def foreign(world: World, tag: str) -> Digest:
    """Put somebody else's image on a tag of the destination."""
    manifest, blobs = image(b"somebody else's")
    return world.new.seed(REPO, tag, manifest, blobs)


@pytest.mark.parametrize("others", [0, 5], ids=["few tags", "enough for a list"])
async def test_foreign_tag_that_head_denies_is_a_conflict(world: World, others: int) -> None:
    """What a read shows at the destination is there, listed or not asked for."""
    world.seed("1")
    for number in range(others):
        world.seed(f"t{number}")
    theirs = foreign(world, "1")
    world.new.denies_heads = True
    plan = await world.plan()
    assert rows(plan)[f"{API}:1"] == ("conflict", "foreign")
    await world.apply(plan)
    assert world.new.tags[REPO, "1"] == theirs


async def test_metered_destination_that_denies_heads_is_read(world: World) -> None:
    """A pull is the price of not overwriting what is not ours."""
    world.seed("1")
    foreign(world, "1")
    world.new.denies_heads = world.new.is_metered = True
    assert rows(await world.plan()) == {f"{API}:1": ("conflict", "foreign")}


async def test_tag_that_the_list_hid_is_seen_when_it_is_applied(world: World) -> None:
    """A list read while planning confirms nothing at apply."""
    for number in range(5):
        world.seed(f"t{number}")
    theirs = foreign(world, "t0")
    world.new.unlisted.add((REPO, "t0"))
    world.new.denies_heads = True
    plan = await world.plan()
    assert rows(plan)[f"{API}:t0"] == ("copy", "new")
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 4, Outcome.CONFLICT: 1}
    assert world.new.tags[REPO, "t0"] == theirs


async def test_ours_stays_ours_where_heads_are_denied(world: World) -> None:
    """A destination whose HEAD lies has nothing lost, and nothing to do."""
    for number in range(5):
        world.seed(f"t{number}")
    world.new.denies_heads = world.old.denies_heads = True
    assert (await world.migrate()).counts == {Outcome.APPLIED: 5}
    plan = await world.plan()
    assert (plan.changes, plan.summary.unchanged) == ((), 5)
    drift = await world.plan(refresh_only=True)
    assert (drift.changes, drift.summary.unchanged) == ((), 5)


async def test_ours_that_a_list_hides_is_not_lost(world: World) -> None:
    """A list that is cut short lets go of no record and copies nothing again."""
    for number in range(5):
        world.seed(f"t{number}")
    await world.migrate()
    world.new.unlisted |= {(REPO, "t0"), (REPO, "t1")}
    assert (await world.plan()).changes == ()
    assert (await world.plan(refresh_only=True)).changes == ()
    del world.new.tags[REPO, "t1"]
    assert rows(await world.plan()) == {f"{API}:t1": ("copy", "destination_lost")}


@pytest.mark.parametrize("tags", ["['*']", "[v1]", "{newest: 1, by: created}"])
async def test_source_that_denies_heads_is_copied(world: World, tags: str) -> None:
    """A pattern, a name and a choice by date all find what a read finds."""
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {API}, tags: {tags}}}"
    world.seed("v1")
    world.old.denies_heads = True
    assert rows(await world.plan()) == {f"{API}:v1": ("copy", "new")}
    await world.migrate()
    assert (REPO, "v1") in world.new.tags


async def test_source_that_begins_to_deny_heads_has_not_lost_its_tags(world: World) -> None:
    """Recorded images whose source lies are unchanged, not gone, also where deletes are asked."""
    world.seed("1")
    world.seed("2")
    await world.migrate()
    world.old.denies_heads = True
    plan = await world.plan(allow_delete=True)
    assert (plan.changes, plan.summary.unchanged) == ((), 2)


async def test_planning_a_new_tag_costs_one_request_a_side(world: World) -> None:
    """The read that tells whether it is there is also its manifest.

    What refers to it is one question more where there is an API for that.
    Whether a repository holds anything that need not be sent is one question for all its tags.
    """
    for number in range(3):
        world.seed(f"t{number}")
    await world.plan(sizes="always")
    assert world.old.calls == {"list_tags": 1, "manifest": 3, "referrers": 3}
    assert world.new.calls == {"manifest": 3, "list_tags": 1}


async def test_what_was_read_while_planning_is_not_read_to_apply(world: World) -> None:
    """The manifest of a new tag is kept."""
    world.seed("1")
    plan = await world.plan()
    world.old.calls.clear()
    await world.apply(plan)
    assert world.old.calls["manifest"] == world.old.calls["head"] == 0


@pytest.mark.parametrize("by_tag", [True, False], ids=["by tag", "by digest"])
async def test_delete_is_done_where_heads_are_denied(world: World, by_tag: bool) -> None:
    """A tag that still answers is not recorded as gone: it goes first."""
    world.new.deletes_tags = by_tag
    world.seed("keep")
    world.seed("1")
    await world.migrate()
    world.rules = ONLY_KEPT
    plan = await world.plan(allow_delete=True)
    world.new.denies_heads = True
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert (REPO, "1") not in world.new.tags
    assert world.state.records[f"{API}:1"].status is Status.DELETED


async def test_delete_that_did_nothing_is_not_believed_by_head(world: World) -> None:
    """After the delete too only a read says that the tag is gone."""
    world.new.deletes_tags = True
    world.seed("keep")
    world.seed("1")
    await world.migrate()
    world.rules = ONLY_KEPT
    plan = await world.plan(allow_delete=True)
    world.new.denies_heads = True

    def deaf(repo: str, tag: str) -> None:
        # Accepted, and put back by a cache or a replica.
        digest = world.new.tags[repo, tag]
        world.new.hooks["manifest"] = lambda *_: world.new.tags.setdefault((repo, tag), digest)

    world.new.hooks["delete"] = deaf
    assert (await world.apply(plan)).counts == {Outcome.FAILED: 1}
    assert world.state.records[f"{API}:1"].is_live


def dangle(world: World, *tags: str) -> None:
    """List tags of the source that have no manifest."""
    for tag in tags:
        world.old.dangling.add((REPO, tag))


def ruled(world: World, tags: str) -> None:
    """Ask for the source's tags in this way."""
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {API}, tags: {tags}}}"


@pytest.mark.parametrize(
    "tags", ["['*']", "['v*', v3]", "{newest: 5}", "{newest: 9, by: created}", "{min: 1}"]
)
async def test_listed_tag_without_a_manifest_is_an_error_row(world: World, tags: str) -> None:
    """It is named, however it was selected, and the others are copied."""
    ruled(world, tags)
    world.seed("v1")
    world.seed("v2")
    dangle(world, "v3")
    plan = await world.plan()
    assert rows(plan) == {
        f"{API}:v1": ("copy", "new"),
        f"{API}:v2": ("copy", "new"),
        f"{API}:v3": ("error", "dangling"),
    }
    assert f"source {OLD}/{REPO}:v3" in (plan.changes[2].detail or "")
    assert not plan.header.complete


@pytest.mark.parametrize("tags", ["{newest: 1}", "{newest: 1, by: created}"])
async def test_newest_tag_that_dangles_is_said_and_displaces_nothing(
    world: World, tags: str
) -> None:
    """What a tag would displace that is not to be had stays wanted: nothing is let go."""
    ruled(world, tags)
    seed(world, v1="2026-05-01T00:00:00Z")
    await world.migrate()
    dangle(world, "v2")
    for options in ({}, {"allow_delete": True}):
        assert rows(await world.plan(**options)) == {f"{API}:v2": ("error", "dangling")}


async def test_choice_by_date_goes_on_without_what_dangles(world: World) -> None:
    """The newest of what is there is copied, beside the row that names what is not."""
    ruled(world, "{newest: 1, by: created}")
    seed(world, v1="2026-05-01T00:00:00Z", v2="2026-05-02T00:00:00Z")
    dangle(world, "v3", "v4")
    assert rows(await world.plan()) == {
        f"{API}:v2": ("copy", "new"),
        f"{API}:v3": ("error", "dangling"),
        f"{API}:v4": ("error", "dangling"),
    }


async def test_recorded_image_whose_source_dangles_is_an_error(world: World) -> None:
    """It is neither gone nor as it was; its record and its image stay."""
    world.seed("1")
    world.seed("2")
    await world.migrate()
    del world.old.tags[REPO, "1"]
    dangle(world, "1")
    for options in ({}, {"allow_delete": True}, {"refresh_only": True}):
        plan = await world.plan(**options)
        assert rows(plan) == {f"{API}:1": ("error", "dangling")}
    assert (await world.apply(await world.plan())).counts == {Outcome.FAILED: 1}
    assert world.state.records[f"{API}:1"].is_live


async def test_tag_that_went_since_it_was_listed_is_no_row(world: World) -> None:
    """Listed once more, its repository does not name it: nothing is wrong."""
    world.seed("1")
    world.seed("2")

    def vanish(repo: str, _: str) -> None:
        world.old.tags.pop((repo, "2"), None)

    world.old.hooks["manifest"] = vanish
    assert rows(await world.plan()) == {f"{API}:1": ("copy", "new")}
    assert world.old.calls["list_tags"] == 2


async def test_repository_that_went_since_it_was_listed_is_an_error(world: World) -> None:
    """What a list named and nobody can list any more is not nothing to do."""
    world.seed("1")

    def vanish(*_: str) -> None:
        world.old.tags.clear()
        world.old.manifests.clear()

    world.old.hooks["manifest"] = vanish
    assert rows(await world.plan()) == {f"{API}:1": ("error", "unreadable")}


async def test_named_tag_without_a_list_is_missing(world: World) -> None:
    """Nothing is listed to tell how a tag that only the config names is missing."""
    ruled(world, "[v1, v9]")
    world.rules = world.rules.replace("}", ", referrers: none}")
    world.seed("v1")
    dangle(world, "v9")
    assert rows(await world.plan())[f"{API}:v9"] == ("error", "source_missing")
    assert world.old.calls["list_tags"] == 0


async def test_new_image_costs_a_metered_destination_one_read(world: World) -> None:
    """What only spares bytes is asked by HEAD; the look before the tag is the one that counts."""
    world.seed("1", b"x" * (2 * 1024 * 1024))
    plan = await world.plan()
    world.new.is_metered = True
    world.new.calls.clear()
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert (world.new.calls["head"], world.new.calls["manifest"]) == (2, 1)


async def test_pins_of_what_dangles_stay(world: World) -> None:
    """A tag that is listed and not to be had is a problem, and its pin does not go."""
    world.seed("1")
    made = await pin_sources(world.workspace, {}, PlanOptions())
    del world.old.tags[REPO, "1"]
    world.old.dangling.add((REPO, "1"))
    again = await pin_sources(world.workspace, made.pins, PlanOptions())
    assert again.pins == made.pins
    assert [row.reason for row in again.problems] == ["dangling"]
