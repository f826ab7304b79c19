"""Pinning: from sources to pins, and plans that follow them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import TransientError, UsageError
from imgmigrate.oci.manifest import Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.planning.desired.pins import lock_config, pins_path
from imgmigrate.planning.pin_sources import Pinning, pin_sources
from imgmigrate.planning.planner import PlanOptions, make_plan
from tests.fakes.memory import image
from tests.support import images
from tests.support.machine import clear_cache
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Plan
    from imgmigrate.planning.desired.pins import Pins

API = f"{NEW}/team/api"
TWO_RULES = "\n".join(
    f"- {{source: {OLD}/{repo}, destination: [{NEW}/{repo}, {NEW}/copy/{repo}], tags: ['*']}}"
    for repo in ("a", "b")
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def pinned(world: World, old: Pins | None = None, *upgrade: str) -> Pinning:
    return await pin_sources(world.workspace, old or {}, PlanOptions(), upgrade=upgrade)


async def plan_locked(world: World, pins: Pins, **options: Any) -> Plan:
    config = world.config
    locked = lock_config(config, pins, pins_path(config))
    return await make_plan(world.over(locked), PlanOptions(**options))


def said(pinning: Pinning) -> dict[str, str]:
    return {str(each.address): each.kind.value for each in pinning.differences}


async def test_every_address_is_pinned_to_what_its_source_shows(world: World) -> None:
    """All that the rules select is pinned; only the source is asked."""
    one, two = world.seed("1"), world.seed("2")
    made = await pinned(world)
    assert {str(a): p.digest for a, p in made.pins.items()} == {f"{API}:1": one, f"{API}:2": two}
    assert said(made) == {f"{API}:1": "added", f"{API}:2": "added"}
    assert not world.new.calls


async def test_moved_new_and_vanished_tags_are_told(world: World) -> None:
    """Against the pins that are there, each difference has its kind; the rest is unchanged."""
    for tag in ("same", "moved", "gone"):
        world.seed(tag)
    old = (await pinned(world)).pins
    world.seed("moved", b"again")
    world.seed("new")
    del world.old.tags["team/api", "gone"]
    made = await pinned(world, old)
    assert said(made) == {f"{API}:moved": "moved", f"{API}:new": "added", f"{API}:gone": "removed"}
    assert made.unchanged == 1


async def test_upgrade_moves_only_what_its_globs_match(world: World) -> None:
    """Addresses outside of the globs keep their pins, are not added and not removed."""
    world.rules = TWO_RULES
    for repo in ("a", "b"):
        world.seed("1", repo=repo)
        world.seed("old", repo=repo)
    old = (await pinned(world)).pins
    for repo in ("a", "b"):
        world.seed("1", b"moved " + repo.encode(), repo=repo)
        world.seed("new", repo=repo)
        del world.old.tags[repo, "old"]
    made = await pinned(world, old, f"{NEW}/a")
    assert said(made) == {
        f"{NEW}/a:1": "moved",
        f"{NEW}/a:new": "added",
        f"{NEW}/a:old": "removed",
    }


async def test_upgrade_asks_only_the_sources_of_what_may_move(world: World) -> None:
    """No other repository is listed, and no other tag of a listed one is looked at."""
    world.rules = f"{TWO_RULES}\n- {{source: '{OLD}/c:1,2', destination: '{NEW}/c'}}"
    for repo in ("a", "b", "c"):
        world.seed("1", repo=repo)
        world.seed("2", repo=repo)
    old = (await pinned(world)).pins
    for glob, asked in {
        f"{NEW}/copy/a:1": {("list_tags", "a", ""), ("manifest", "a", "1")},
        f"{NEW}/c:2": {("manifest", "c", "2")},
        f"{NEW}/*:2": {
            ("list_tags", "a", ""), ("list_tags", "b", ""),
            ("manifest", "a", "2"), ("manifest", "b", "2"), ("manifest", "c", "2"),
        },
    }.items():  # fmt: skip
        world.old.log.clear()
        assert (await pinned(world, old, glob)).pins == old
        assert set(world.old.log) == asked


async def test_upgrade_within_a_glob_lists_the_catalog_and_what_matches(world: World) -> None:
    """Of many repositories only those are asked whose addresses match; no other registry is."""
    world.rules = f"- {{source: '{OLD}/team/**', destination: '{NEW}/{{match}}', tags: ['*']}}"
    for repo in ("team/a", "team/b"):
        world.seed("1", repo=repo)
    old = (await pinned(world)).pins
    moved = world.seed("1", b"moved", repo="team/b")
    world.old.log.clear()
    made = await pinned(world, old, f"{NEW}/b")
    assert [each.digest for each in made.pins.values() if each.digest == moved]
    assert said(made) == {f"{NEW}/b:1": "moved"}
    assert world.old.log == [
        ("list_repositories", "team/**", ""),
        ("list_tags", "team/b", ""),
        ("manifest", "team/b", "1"),
    ]
    world.old.log.clear()
    with pytest.raises(UsageError):
        await pinned(world, old, "elsewhere.example/**")
    assert world.old.log == []


async def test_a_named_repository_beats_a_glob_in_an_upgrade_too(world: World) -> None:
    """A tag that the rule for the repository leaves out is not pinned by the glob's."""
    world.rules = (
        f"- {{source: '{OLD}/team/a:1', destination: '{NEW}/a'}}\n"
        f"- {{source: '{OLD}/team/**', destination: '{NEW}/{{match}}', tags: ['*']}}"
    )
    for tag in ("1", "2"):
        world.seed(tag, repo="team/a")
    old = (await pinned(world)).pins
    assert [str(address) for address in old] == [f"{NEW}/a:1"]
    with pytest.raises(UsageError, match="matches no address"):
        await pinned(world, old, f"{NEW}/a:2")


async def test_a_glob_that_matches_nothing_is_refused(world: World) -> None:
    """A typing error in --upgrade is never "nothing to do"."""
    world.seed("1")
    with pytest.raises(UsageError, match=r"`upgrade` new.example/x: matches no address"):
        await pinned(world, {}, f"{NEW}/x")


@pytest.mark.parametrize("verb", ["list_tags", "manifest"])
async def test_what_cannot_be_read_keeps_its_pins(world: World, verb: str) -> None:
    """A source that fails is a problem, and none of its pins moves or goes away."""
    world.rules = TWO_RULES
    for repo in ("a", "b"):
        world.seed("1", repo=repo)
    old = (await pinned(world)).pins
    world.seed("1", b"moved", repo="b")

    def fail(repo: str, _: str) -> None:
        if repo == "a":
            raise TransientError("a", "connection reset")

    world.old.hooks[verb] = fail
    made = await pinned(world, old)
    assert said(made) == {f"{NEW}/b:1": "moved", f"{NEW}/copy/b:1": "moved"}
    assert {row.reason for row in made.problems} == {"unreadable"}
    assert made.pins.keys() == old.keys()
    assert (await pinned(world, old, f"{NEW}/b")).problems == ()
    assert (await pinned(world, old, f"{NEW}/a")).problems


async def test_a_named_tag_that_is_missing_is_a_problem(world: World) -> None:
    """An exact tag that its source does not have is told, and does not end the others."""
    world.rules = f"- {{source: '{OLD}/team/api:1,2', destination: {API}}}"
    world.seed("1")
    made = await pinned(world)
    assert said(made) == {f"{API}:1": "added"}
    assert [(str(row.address), row.reason) for row in made.problems] == [
        (f"{API}:2", "source_missing")
    ]


async def test_a_locked_plan_is_the_pinned_digest_after_the_source_moved(world: World) -> None:
    """The pins alone say what is copied: no tag of the source is asked for.

    Its list of tags only tells what signatures there are.
    """
    old = world.seed("1")
    pins = (await pinned(world)).pins
    world.seed("1", b"moved")
    world.seed("2")
    world.old.log.clear()
    plan = await plan_locked(world, pins)
    (change,) = plan.changes
    assert rows(plan) == {f"{API}:1": ("copy", "new")}
    assert change.source is not None
    assert (str(change.source.reference), change.source.digest) == (f"{OLD}/team/api:1", old)
    assert {what for _, _, what in world.old.log} == {old, ""}
    assert {verb for verb, _, _ in world.old.log} <= {"head", "manifest", "referrers", "list_tags"}


async def test_locked_and_unlocked_plans_agree(world: World) -> None:
    """What a locked plan applied is unchanged for either kind of plan, until the source moves."""
    world.seed("1")
    pins = (await pinned(world)).pins
    await world.apply(await plan_locked(world, pins))
    assert (await plan_locked(world, pins)).changes == ()
    assert (await world.plan()).changes == ()
    world.seed("1", b"moved")
    assert (await plan_locked(world, pins)).changes == ()
    assert rows(await world.plan()) == {f"{API}:1": ("update", "source_moved")}
    await world.migrate()
    assert rows(await plan_locked(world, pins)) == {f"{API}:1": ("update", "source_moved")}


@pytest.mark.parametrize("setting", ["", ", immutable_tags: '*'"])
async def test_recorded_images_are_asked_for_only_where_pins_moved(
    world: World, setting: str
) -> None:
    """Without a refresh, or where tags are immutable, a moved pin is still seen."""
    world.rules = f"- {{source: {OLD}/team/api, destination: {API}{setting}}}"
    world.seed("1")
    pins = (await pinned(world)).pins
    await world.apply(await plan_locked(world, pins))
    options = {} if setting else {"refresh": False}
    world.old.log.clear()
    assert (await plan_locked(world, pins, **options)).changes == ()
    assert world.old.log == []
    world.seed("1", b"moved")
    moved = (await pinned(world, pins)).pins
    plan = await plan_locked(world, moved, **options)
    assert rows(plan) == {f"{API}:1": ("update", "source_moved")}


async def test_two_addresses_of_one_tag_may_be_pinned_apart(world: World) -> None:
    """After an upgrade of one destination each gets its own digest of the same source tag."""
    world.rules = TWO_RULES
    for repo in ("a", "b"):
        world.seed("1", repo=repo)
    old = (await pinned(world)).pins
    moved = world.seed("1", b"moved", repo="a")
    pins = (await pinned(world, old, f"{NEW}/copy/a:*")).pins
    plan = await plan_locked(world, pins)
    digests = {str(c.address): c.after for c in plan.changes}
    assert digests[f"{NEW}/copy/a:1"] == moved
    assert digests[f"{NEW}/a:1"] == next(iter(old.values())).digest != moved


async def test_a_pinned_image_that_is_gone_is_an_error_row(world: World) -> None:
    """The digest that is missing is named, not the tag, which shows something else now."""
    digest = world.seed("1")
    pins = (await pinned(world)).pins
    del world.old.manifests["team/api", digest]
    other, blobs = image(b"other")
    world.old.seed("team/api", "1", other, blobs)
    plan = await plan_locked(world, pins)
    assert rows(plan) == {f"{API}:1": ("error", "source_missing")}
    assert str(digest) in str(plan.changes[0].detail)


async def test_a_choice_of_platforms_holds_for_pins(world: World) -> None:
    """A pin is the source's whole index; what the rule leaves of it is copied, once."""
    both = seed_both(world)
    pins = (await pinned(world)).pins
    assert [each.digest for each in pins.values()] == [both.top]
    plan = await plan_locked(world, pins)
    assert plan.changes[0].after not in (None, both.top)
    await world.apply(plan)
    assert (await plan_locked(world, pins)).changes == ()
    assert (await world.plan()).changes == ()


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_a_pinned_image_that_is_there_needs_no_source(
    world: World, is_recorded: bool
) -> None:
    """Where the destination holds the pinned digest, a source that is away is no error."""
    world.seed("1")
    pins = (await pinned(world)).pins
    await world.apply(await plan_locked(world, pins))
    if not is_recorded:
        shutil.rmtree(world.config.state)
    away(world)
    expected = {} if is_recorded else {f"{API}:1": ("adopt", "already_there")}
    assert rows(await plan_locked(world, pins)) == expected
    # Of what is taken over is asked only what refers to it, and no answer does no harm.
    assert [verb for verb, *_ in world.old.log] == ([] if is_recorded else ["list_tags"])


async def test_a_pinned_image_of_some_platforms_needs_no_source_when_recorded(
    world: World,
) -> None:
    """Only a record tells what an index was cut from; without one the source is asked."""
    seed_both(world)
    pins = (await pinned(world)).pins
    await world.apply(await plan_locked(world, pins))
    away(world)
    assert (await plan_locked(world, pins)).changes == ()
    assert not world.old.log
    shutil.rmtree(world.config.state)
    clear_cache()
    assert rows(await plan_locked(world, pins)) == {f"{API}:1": ("error", "unreadable")}


async def test_a_pinned_image_that_is_not_there_needs_its_source(world: World) -> None:
    """What must be copied is asked for, and so is what `--replace` writes again."""
    world.seed("1")
    world.seed("2")
    pins = (await pinned(world)).pins
    await world.apply(await plan_locked(world, pins))
    del world.new.tags["team/api", "2"]
    away(world)
    assert rows(await plan_locked(world, pins)) == {f"{API}:2": ("error", "unreadable")}
    assert rows(await plan_locked(world, pins, replace=(f"{API}:1",))) == {
        f"{API}:1": ("error", "unreadable"),
        f"{API}:2": ("error", "unreadable"),
    }


def away(world: World) -> None:
    """Let the source fail from now on."""

    def fail(repo: str, what: str) -> None:
        raise TransientError(f"{OLD}/{repo}", "connection refused")

    world.old.hooks |= dict.fromkeys(("manifest", "list_tags", "manifest"), fail)
    world.old.log.clear()


def seed_both(world: World) -> images.Image:
    """Put an index of two platforms there, and a rule that wants one of them."""
    world.rules = f"- {{source: {OLD}/team/api, destination: {API}, platforms: [linux/amd64]}}"
    both = images.index(
        images.image("a", platform="linux/amd64"), images.image("b", platform="linux/arm64")
    )
    manifests = {
        digest: Manifest.parse(raw, kind) for digest, (kind, raw) in both.manifests.items()
    }
    blobs = {Digest(digest): data for digest, data in both.blobs.items()}
    world.old.seed("team/api", "1", manifests[both.top], blobs, *manifests.values())
    return both
