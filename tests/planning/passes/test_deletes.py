"""What goes that nobody asks for any more: the rows, and the guards that stop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.values.shares import read_share
from imgmigrate.errors import AccessDenied, NotFound, TransientError
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import Action, Change
from imgmigrate.planning.passes.deletes import decide_delete, limit_deletes
from imgmigrate.render.changes.text import plan_text
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import Source, State
from tests.fakes.memory import image
from tests.support.records import make_record
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.errors import StoreError

ADDRESS = Reference.parse("new.example/team/api:1")
SOURCE = Reference.parse("old.example/team/api:1")
OURS, CLAIMED, ALIEN = (Digest.of(text) for text in (b"ours", b"claimed", b"alien"))
API = f"{NEW}/team/api"
ONLY_KEPT = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, tags: [keep]}}"
OTHER_RULE = f"- {{source: {OLD}/team/web, destination: {NEW}/team/web}}"


def state(*, protected: bool = False) -> State:
    record = make_record(ADDRESS, SOURCE, OURS, protected=protected)
    claims = {str(ADDRESS): frozenset({CLAIMED})}
    return StateInMemory(lineage="l", sequence=7, records={str(ADDRESS): record}, claims=claims)


def row(action: Action = Action.FORGET, reason: str = "rule_removed", number: int = 1) -> Change:
    return Change(
        address=Reference.parse(f"new.example/team/api:{number}"),
        action=action,
        reason=reason,
        source=Source(reference=SOURCE, digest=OURS),
        recorded=OURS,
    )


@pytest.mark.parametrize("reason", ["rule_removed", "deselected", "source_gone"])
@pytest.mark.parametrize(
    ("destination", "in_config", "in_state", "action", "why"),
    [
        (OURS, False, False, Action.DELETE, None),
        (CLAIMED, False, False, Action.DELETE, None),
        (ALIEN, False, False, None, None),
        (None, False, False, None, None),
        (OURS, True, False, Action.BLOCKED, "protected"),
        (OURS, False, True, Action.BLOCKED, "protected"),
        (ALIEN, True, True, None, None),
    ],
)
def test_only_what_is_ours_and_unprotected_goes(
    reason: str,
    destination: Digest | None,
    in_config: bool,
    in_state: bool,
    action: Action | None,
    why: str | None,
) -> None:
    """Ours is deleted or blocked; what somebody else put there, or took, is let go as before."""
    before = Action.KEEP if reason == "source_gone" else Action.FORGET
    change = decide_delete(
        row(before, reason), destination, state(protected=in_state), is_protected=in_config
    )
    assert change.action is (action or before)
    assert change.reason == (why or reason)
    assert (change.before, change.after, change.recorded) == (destination, None, OURS)


@pytest.mark.parametrize(
    ("most", "images", "is_blocked"),
    [("3", 100, False), ("2", 100, True), ("0", 100, True), ("3%", 100, False), ("2%", 100, True)],
)
def test_too_many_deletes_are_all_blocked(most: str, images: int, is_blocked: bool) -> None:
    """`max_delete` is all or nothing, and a share is one of all recorded images."""
    deletes = [row(Action.DELETE, number=number) for number in range(3)]
    changes = limit_deletes([*deletes, row(Action.COPY, "new", 9)], read_share(most), images)
    expected = (Action.BLOCKED, "max_delete") if is_blocked else (Action.DELETE, "rule_removed")
    assert [(change.action, change.reason) for change in changes[:3]] == [expected] * 3
    assert changes[3].action is Action.COPY
    assert all(change.is_over_limit is is_blocked for change in changes[:3])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def migrated(world: World, *tags: str) -> None:
    """Seed tags and bring them over."""
    for tag in tags:
        world.seed(tag)
    await world.migrate()


async def test_a_removed_rule_deletes_only_where_that_is_allowed(world: World) -> None:
    """Without the option it is only counted, and not looked at; with it the tag goes."""
    await migrated(world, "1")
    world.seed("1", repo="team/web")
    world.rules = OTHER_RULE
    world.new.log.clear()
    plan = await world.plan()
    assert f"{API}:1" not in rows(plan)
    assert plan.summary.unwanted == 1
    assert not [entry for entry in world.new.log if entry[1] == "team/api"]
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{API}:1"] == ("delete", "rule_removed")
    change = next(each for each in plan.changes if each.action is Action.DELETE)
    assert change.before == change.recorded == world.new.tags["team/api", "1"]
    assert (plan.summary.delete, plan.summary.writes, plan.summary.alters) == (1, 1, 2)


async def test_the_limit_its_place_and_what_it_allows_are_named(world: World) -> None:
    """Whoever reads that nothing is deleted learns which number to change, and where it stands."""
    await migrated(world, "1", "2", "3", "4")
    world.rules = f"- {{source: '{OLD}/team/api:1', destination: {API}}}"
    world.extra = "protect: []\nmax_delete: 50%\n"
    line = world.config.path.read_text().splitlines().index("max_delete: 50%") + 1
    plan = await world.plan(allow_delete=True)
    limit = f"max_delete: 50% (imgmigrate.yaml:{line})"
    said = f"3 deletes of 4 images, and {limit} allows 2: none is done"
    assert plan.header.notes == (said,)
    plan = await world.plan(allow_delete=True, max_delete=read_share("1"))
    assert plan.header.notes == (
        "3 deletes of 4 images, and `max_delete` 1 allows 1: none is done",
    )
    assert "note: 3 deletes of 4 images, and --max-delete 1 allows 1" in plan_text(plan)
    assert (await world.plan(allow_delete=True, max_delete=read_share("3"))).header.notes == ()


async def test_a_deselected_tag_is_deleted(world: World) -> None:
    """A rule that no longer selects a tag deletes it where that is allowed."""
    await migrated(world, "1", "keep")
    world.rules = ONLY_KEPT
    assert rows(await world.plan(allow_delete=True)) == {f"{API}:1": ("delete", "deselected")}


async def test_a_tag_that_left_the_source_is_deleted(world: World) -> None:
    """What the source has no more goes, because its listing is well and lacks it."""
    await migrated(world, "1", "keep")
    del world.old.tags["team/api", "1"]
    assert rows(await world.plan(allow_delete=True)) == {f"{API}:1": ("keep", "source_gone")}
    assert rows(await world.plan(allow_delete_gone=True)) == {f"{API}:1": ("delete", "source_gone")}


async def test_a_named_tag_that_left_the_source_is_deleted(world: World) -> None:
    """An explicit tag goes in the same way as one that a pattern selected."""
    world.rules = f"- {{source: '{OLD}/team/api', destination: {NEW}/team/api, tags: ['1', keep]}}"
    await migrated(world, "1", "keep")
    del world.old.tags["team/api", "1"]
    assert rows(await world.plan(allow_delete=True)) == {f"{API}:1": ("keep", "source_gone")}
    assert rows(await world.plan(allow_delete_gone=True)) == {f"{API}:1": ("delete", "source_gone")}


async def test_an_empty_source_proves_nothing(world: World) -> None:
    """A source that lists no tag at all deletes none: that is more likely an accident."""
    await migrated(world, "1", "2")
    for tag in ("1", "2"):
        del world.old.tags["team/api", tag]
    manifest, _ = image(b"untagged")
    world.old.manifests["team/api", manifest.digest] = manifest
    plan = await world.plan(allow_delete=True, allow_delete_gone=True)
    error, *kept = plan.changes
    assert (error.address, error.reason) == (Reference.parse(f"{NEW}/team/api"), "unreadable")
    assert {change.action for change in kept} == {Action.KEEP}
    detail = f"not deleted: not all rules that write to {NEW}/team/api could be read"
    assert {change.detail for change in kept} == {detail}


async def test_a_source_that_contradicts_itself_proves_nothing(world: World) -> None:
    """A tag that is listed and has no manifest is not gone for sure: it is an error."""
    await migrated(world, "1", "keep")
    digest = world.old.tags["team/api", "1"]
    del world.old.manifests["team/api", digest]
    (change,) = (await world.plan(allow_delete_gone=True)).changes
    assert (change.action, change.reason) == (Action.ERROR, "dangling")
    assert f"source {OLD}/team/api:1: its repository lists the tag" in (change.detail or "")


async def test_a_source_that_may_not_be_listed_is_said(world: World) -> None:
    """Where only single tags may be read, what is deselected stays ours, with the cause."""
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, tags: ['1', keep]}}"
    await migrated(world, "1", "keep")
    world.rules = ONLY_KEPT

    def fail(*_: str) -> None:
        raise AccessDenied(f"{OLD}/team/api", "denied (403)", status=403)

    world.old.hooks["list_tags"] = fail
    (change,) = (await world.plan(allow_delete=True, forget=True)).changes
    assert (change.action, change.reason) == (Action.KEEP, "deselected")
    assert change.detail == f"not deleted: source {OLD}/team/api: denied (403)"


@pytest.mark.parametrize(
    "error",
    [
        lambda: NotFound(f"{OLD}/team/api", "not found (404)"),
        lambda: TransientError(f"{OLD}/team/api", "connection reset"),
    ],
    ids=["gone", "broken"],
)
async def test_an_unreadable_source_deletes_nothing(
    world: World, error: Callable[[], StoreError]
) -> None:
    """A listing that fails is an error row, whatever is allowed."""
    await migrated(world, "1")

    def fail(*_: str) -> None:
        raise error()

    world.old.hooks["list_tags"] = fail
    planned = rows(await world.plan(allow_delete=True, allow_delete_gone=True))
    assert "delete" not in {action for action, _ in planned.values()}


async def test_what_somebody_else_put_there_stays(world: World) -> None:
    """A tag that was overwritten since is never deleted, and the plan says so."""
    await migrated(world, "1", "keep")
    manifest, blobs = image(b"theirs")
    world.new.seed("team/api", "1", manifest, blobs)
    world.rules = ONLY_KEPT
    (change,) = (await world.plan(allow_delete=True)).changes
    assert (change.action, change.reason) == (Action.KEEP, "deselected")
    assert change.detail == f"not deleted: it shows {manifest.digest.short}, which is not ours"
    both = await world.plan(allow_delete=True, forget=True)
    assert rows(both) == {f"{API}:1": ("forget", "deselected")}


async def test_a_destination_that_cannot_be_read_is_an_error(world: World) -> None:
    """Not knowing what is there is no reason to delete it, nor to let it go."""
    await migrated(world, "1", "keep")
    world.rules = ONLY_KEPT

    def fail(repo: str, what: str) -> None:
        if what == "1":
            raise TransientError(f"{API}:1", "connection reset")

    world.new.hooks["head"] = fail
    assert rows(await world.plan(allow_delete=True)) == {f"{API}:1": ("error", "unreadable")}


async def test_targets_limit_what_is_deleted(world: World) -> None:
    """A row that `--target` leaves out is not there, deletes among them."""
    await migrated(world, "1", "2", "keep")
    world.rules = ONLY_KEPT
    plan = await world.plan(allow_delete=True, target=(f"{API}:1",))
    assert rows(plan) == {f"{API}:1": ("delete", "deselected")}


async def test_an_image_at_a_digest_is_forgotten(world: World) -> None:
    """A destination without a tag is never deleted: every tag of that digest would go."""
    digest = world.seed("1")
    world.rules = f"- {{source: '{OLD}/team/api@{digest}', destination: {NEW}/team/api}}"
    await world.migrate()
    world.seed("1", repo="team/web")
    world.rules = OTHER_RULE
    plan = await world.plan(allow_delete=True)
    assert f"{API}@{digest}" not in rows(plan)
    assert plan.summary.unwanted == 1
    planned = rows(await world.plan(allow_delete=True, forget=True))
    assert planned[f"{API}@{digest}"] == ("forget", "rule_removed")
