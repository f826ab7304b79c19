"""An image that is wanted under another name of its place is not deleted under this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import TransientError
from imgmigrate.events import Outcome
from tests.fakes.memory import MemoryStore, image
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

ALIAS = "alias.example"
API, OTHER = f"{NEW}/team/api", f"{ALIAS}/team/api"
REPO = "team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def alias(world: World, *, is_same: bool = True) -> MemoryStore:
    """Give the new registry another name, or another registry the same paths."""
    store = world.new if is_same else MemoryStore(ALIAS)
    world.stores.stores[ALIAS] = store
    return store


async def renamed(world: World, *, is_same: bool = True) -> MemoryStore:
    """The rule wrote to one name, and writes to the other now, where the same is shown."""
    world.seed("1")
    await world.migrate()
    store = alias(world, is_same=is_same)
    if not is_same:
        manifest, blobs = image(b"1")
        store.seed(REPO, "1", manifest, blobs)
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {OTHER}}}"
    return store


async def test_one_registry_under_two_names_keeps_what_is_wanted(world: World) -> None:
    """The placeholder shows under the other name: the image is put back, the row a conflict."""
    await renamed(world)
    digest = world.new.tags[REPO, "1"]
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {
        f"{OTHER}:1": ("adopt", "already_there"),
        f"{API}:1": ("delete", "rule_removed"),
    }
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1}
    assert "is the same tag" in str(finished.unfinished[0].error)
    assert world.new.tags == {(REPO, "1"): digest}
    assert world.state.records[f"{API}:1"].is_live
    again = await world.plan()
    assert (rows(again), again.summary.unwanted) == ({}, 1)


async def test_two_registries_with_the_same_paths_are_told_apart(world: World) -> None:
    """What stands at the other one is not the placeholder, so the tag goes, and only here."""
    other = await renamed(world, is_same=False)
    finished = await world.apply(await world.plan(allow_delete=True))
    assert finished.counts == {Outcome.APPLIED: 2}
    assert (REPO, "1") not in world.new.tags
    assert (REPO, "1") in other.tags


async def test_a_name_that_cannot_be_read_proves_nothing(world: World) -> None:
    """The image is put back, and the row fails."""
    other = await renamed(world, is_same=False)
    plan = await world.plan(allow_delete=True)
    digest = world.new.tags[REPO, "1"]

    def fail(*_: str) -> None:
        raise TransientError(f"{OTHER}:1", "connection reset")

    other.hooks["manifest"] = fail
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.FAILED: 1}
    assert world.new.tags[REPO, "1"] == digest


@pytest.mark.parametrize("is_same", [True, False])
async def test_where_tags_go_by_name_only_the_config_tells(world: World, is_same: bool) -> None:
    """Nothing is written that could prove it, so it is blocked; `distinct` lifts that."""
    world.new.deletes_tags = True
    await renamed(world, is_same=is_same)
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{API}:1"] == ("blocked", "may_be_same")
    blocked = next(change for change in plan.changes if change.reason == "may_be_same")
    assert f"distinct: [{NEW}, {ALIAS}]" in (blocked.detail or "")
    world.extra = f"distinct: [[a.example, b.example], [{ALIAS}, {NEW}]]\n"
    assert rows(await world.plan(allow_delete=True))[f"{API}:1"] == ("delete", "rule_removed")


async def test_by_name_it_is_looked_at_again(world: World) -> None:
    """What showed something else when planned, and shows this image now, may be the same tag."""
    world.new.deletes_tags = True
    other = await renamed(world, is_same=False)
    manifest, blobs = image(b"else")
    other.seed(REPO, "1", manifest, blobs)
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{API}:1"] == ("delete", "rule_removed")
    other.tags[REPO, "1"] = world.new.tags[REPO, "1"]
    other.manifests.update(world.new.manifests)
    finished = await world.apply(plan)
    assert finished.counts[Outcome.CONFLICT] == 2
    assert (REPO, "1") in world.new.tags


@pytest.mark.parametrize("option", ["target", "exclude"])
async def test_a_part_of_a_plan_knows_the_other_names_too(world: World, option: str) -> None:
    """The rule of the other name is not planned, and its image is wanted all the same."""
    await renamed(world)
    digest = world.new.tags[REPO, "1"]
    globs = {"target": (f"{NEW}/**",), "exclude": (f"{ALIAS}/**",)}
    plan = await world.plan(allow_delete=True, **{option: globs[option]})
    assert rows(plan) == {f"{API}:1": ("delete", "rule_removed")}
    await world.apply(plan)
    assert world.new.tags == {(REPO, "1"): digest}


async def test_a_part_of_a_plan_knows_what_globs_may_write(world: World) -> None:
    """A rule of many repositories is not expanded there; its template tells."""
    await renamed(world)
    world.rules = f"- {{source: '{OLD}/team/*', destination: '{ALIAS}/{{repository}}'}}"
    await world.apply(await world.plan(allow_delete=True, target=(f"{NEW}/**",)))
    assert (REPO, "1") in world.new.tags


async def test_what_is_kept_under_another_name_stays(world: World) -> None:
    """Its source is gone, it is kept and ours: it is wanted, too."""
    await renamed(world)
    await world.migrate()
    world.seed("2")
    del world.old.tags[REPO, "1"]
    await world.apply(await world.plan(allow_delete=True))
    assert (REPO, "1") in world.new.tags


async def test_what_its_source_lost_before_the_name_changed_stays(world: World) -> None:
    """No rule asks for the old name, and under the new one there is nothing left to copy."""
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {API}}}"
    for tag in ("1", "2"):
        world.seed(tag)
    await world.migrate()
    del world.old.tags[REPO, "1"]
    alias(world)
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {OTHER}}}"
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{API}:1"] == ("keep", "rule_removed")
    await world.apply(plan)
    assert (REPO, "1") in world.new.tags
    again = await world.plan(allow_delete=True, allow_delete_gone=True)
    assert rows(again)[f"{API}:1"] == ("delete", "rule_removed")


async def test_a_repository_that_is_gone_is_missed_under_the_new_name(world: World) -> None:
    """A glob that no longer lists a repository says so, whatever its destination is called now."""
    world.rules = f"- {{source: '{OLD}/team/*', destination: '{NEW}/{{repository}}'}}"
    for repo in ("team/api", "team/web"):
        world.seed("1", repo=repo)
    await world.migrate()
    alias(world)
    del world.old.tags["team/web", "1"]
    for key in [each for each in world.old.manifests if each[0] == "team/web"]:
        del world.old.manifests[key]
    world.rules = f"- {{source: '{OLD}/team/*', destination: '{ALIAS}/{{repository}}'}}"
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{ALIAS}/team/web"] == ("error", "unreadable")
    await world.apply(plan)
    assert ("team/web", "1") in world.new.tags


async def test_what_is_unwanted_under_both_names_goes_once(world: World) -> None:
    """Neither record is a reason to keep the other."""
    world.rules = f"- {{source: {OLD}/{REPO}, destination: [{API}, {OTHER}]}}"
    alias(world)
    world.seed("1")
    world.seed("2")
    await world.migrate()
    world.rules = f"- {{source: {OLD}/{REPO}, destination: [{API}, {OTHER}], tags: ['2']}}"
    finished = await world.apply(await world.plan(allow_delete=True))
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.ALREADY: 1}
    assert set(world.new.tags) == {(REPO, "2")}


async def test_after_a_crash_it_is_proven_before_it_goes(world: World) -> None:
    """The placeholder is on the tag already when the same plan goes on."""
    await renamed(world)
    digest = world.new.tags[REPO, "1"]
    plan = await world.plan(allow_delete=True, target=(f"{NEW}/**",))

    def die(*_: str) -> None:
        message = "killed"
        raise RuntimeError(message)

    world.new.hooks["manifest"] = lambda _, what: die() if what == "1" else None
    await world.apply(plan)
    assert world.new.tags[REPO, "1"] != digest
    world.new.hooks.clear()
    assert (await world.apply(plan)).counts == {Outcome.CONFLICT: 1}
    assert world.new.tags[REPO, "1"] == digest


async def test_what_a_rule_reads_is_not_deleted(world: World) -> None:
    """The destination of then is the source of now: it is wanted there."""
    world.seed("1")
    await world.migrate()
    world.rules = f"- {{source: {API}, destination: {ALIAS}/third}}"
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{API}:1"] == ("blocked", "is_source")


async def test_a_source_under_another_name_is_not_deleted(world: World) -> None:
    """It is read as `alias.example`, and it is the very tag that was written once."""
    world.seed("1")
    await world.migrate()
    alias(world)
    world.rules = f"- {{source: {OTHER}, destination: third.example/x}}"
    await world.apply(await world.plan(allow_delete=True))
    assert (REPO, "1") in world.new.tags


async def test_a_rollback_keeps_what_is_wanted_under_another_name(world: World) -> None:
    """What was new then is the image that the other name was adopted for."""
    world.seed("1")
    plan = await world.plan()
    await world.apply(plan)
    alias(world)
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {OTHER}}}"
    await world.migrate()
    await world.apply(await world.rollback(plan, allow_delete=True))
    assert (REPO, "1") in world.new.tags


async def test_two_rules_and_two_names_never_overwrite_each_other(world: World) -> None:
    """One of the two is written, the other sees it and is a conflict."""
    alias(world)
    world.rules = "\n".join(
        f"- {{source: {OLD}/{team}, destination: {host}/x}}"
        for team, host in (("a", NEW), ("b", ALIAS))
    )
    for number in range(6):
        for team in ("a", "b"):
            world.seed(str(number), f"{team}{number}".encode(), repo=team)
    finished = await world.apply(await world.plan())
    assert finished.counts == {Outcome.APPLIED: 6, Outcome.CONFLICT: 6}
    again = await world.plan()
    assert set(rows(again).values()) == {("conflict", "foreign")}


async def test_what_is_adopted_under_one_name_is_not_overwritten_under_the_other(
    world: World,
) -> None:
    """The row that only records looks after the one that writes."""
    alias(world)
    world.seed("1", b"first", repo="a")
    world.rules = f"- {{source: {OLD}/a, destination: {NEW}/x}}"
    await world.migrate()
    world.seed("1", b"second", repo="a")
    world.seed("1", b"first", repo="b")
    world.rules += f"\n- {{source: {OLD}/b, destination: {ALIAS}/x}}"
    plan = await world.plan()
    assert rows(plan)[f"{ALIAS}/x:1"] == ("adopt", "already_there")
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1}
