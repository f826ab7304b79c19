"""Whoever edits a plan's file can seal it anew: a row needs more than the file to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.values.shares import read_share
from imgmigrate.errors import GuardError, PlanRefused
from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import Action, Plan, Summary
from imgmigrate.planning.adopting import sort_for_adoption
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.record import Filter
from tests.fakes.memory import image
from tests.support.forging import forged, row
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.plan import Change

API, WEB = f"{NEW}/team/api", f"{NEW}/prod/web"
OF_API = f"{OLD}/team/api"
EVIL = Digest.of(b"evil")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def alien(world: World, repo: str, tag: str, content: bytes = b"alien") -> Digest:
    """Somebody else's image at the destination, and the same at the source."""
    manifest, blobs = image(content)
    world.old.seed(repo, tag, manifest, blobs)
    return world.new.seed(repo, tag, manifest, blobs)


async def refused(world: World, plan: Plan, *words: str, **options: Any) -> None:
    """Check that a plan is refused as a whole: no tag moves, and no line is written."""
    tags, sequence = dict(world.new.tags), world.state.sequence
    with pytest.raises(PlanRefused) as caught:
        await world.apply(plan, **options)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert "plan again: imgmigrate plan `out` plan.out" in str(caught.value)
    assert (world.new.tags, world.state.sequence) == (tags, sequence)


UNJOINED: dict[str, tuple[str, str]] = {
    "another source": (f"{OLD}/evil/api:1", f"{API}:9"),
    "another destination": (f"{OF_API}:1", f"{WEB}:9"),
    "another host": (f"{OF_API}:1", "elsewhere.example/team/api:9"),
    "a layout": (f"{OF_API}:1", "oci:../outside:9"),
    "the two ends turned round": (f"{API}:1", f"{OF_API}:9"),
    "from its own repository": (f"{API}:1", f"{API}:9"),
}


@pytest.mark.parametrize("action", ["copy", "update", "adopt"])
@pytest.mark.parametrize("case", UNJOINED)
async def test_rows_between_repositories_that_no_rule_joins_are_refused(
    world: World, case: str, action: str
) -> None:
    """Beside a good row, which is not done either; the row and its source are named."""
    digest = world.seed("1")
    source, address = UNJOINED[case]
    good = await world.plan()
    before = None if action == "copy" else digest
    bad = row(address, action, "new", source, after=digest, before=before)
    await refused(world, forged(good, [*good.changes, bad]), address, "no rule brings images of")


async def test_a_rule_that_is_gone_since_the_plan_refuses_its_rows(world: World) -> None:
    """The config of today decides what may be done; one that only grew changes nothing."""
    world.seed("1")
    plan = await world.plan()
    world.rules = f"- {{source: {OLD}/team/other, destination: {NEW}/team/other}}"
    await refused(world, plan, f"{API}:1", f"no rule brings images of {OF_API}")
    world.rules += f"\n- {{source: {OF_API}, destination: {API}, tags: ['2*']}}"
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}


NAMED = f"{{source: {OF_API}, destination: {NEW}/named}}"
JOINED: dict[str, tuple[str, str]] = {
    "glob and placeholder": (
        f"- {{source: '{OLD}/team/**', destination: '{NEW}/mirror/{{match}}'}}",
        f"{NEW}/mirror/api:1",
    ),
    "flattened": (
        f"- {{source: '{OLD}/**', destination: '{NEW}/x/{{repository}}', flatten: '-'}}",
        f"{NEW}/x/team-api:1",
    ),
    "renamed": (
        f"- {{source: '{OF_API}:1', destination: '{NEW}/a/b', rename: {{'1': one}}}}",
        f"{NEW}/a/b:one",
    ),
    "by position": (f"- {{source: '{OF_API}:1', destination: '{NEW}/a:uno'}}", f"{NEW}/a:uno"),
    "second destination": (
        f"- {{source: {OF_API}, destination: ['{NEW}/a', '{NEW}/b']}}",
        f"{NEW}/b:1",
    ),
    "named before a glob": (
        f"- {{source: '{OLD}/**', destination: '{NEW}/{{repository}}'}}\n- " + NAMED,
        f"{NEW}/named:1",
    ),
}


@pytest.mark.parametrize("case", JOINED)
async def test_whatever_a_rule_makes_of_names_is_joined_by_it(world: World, case: str) -> None:
    """Globs, placeholders, other tags and several destinations are applied from a file."""
    world.rules, address = JOINED[case]
    world.seed("1")
    await world.apply(await world.plan())
    assert address in world.state.records


async def test_a_digest_and_its_destination_are_joined(world: World) -> None:
    """A rule of a digest has no tags, and its rows name the digest."""
    digest = world.seed("1")
    world.rules = f"- {{source: '{OF_API}@{digest}', destination: '{API}:pinned'}}"
    assert (await world.migrate()).counts == {Outcome.APPLIED: 1}


async def test_what_is_not_ours_is_not_replaced_by_a_row_that_says_so(world: World) -> None:
    """A forged `before` is of no use: neither as an update, nor as a copy or a move."""
    digest, there = world.seed("1"), alien(world, "team/api", "9")
    plan = await world.plan(target=(f"{API}:1",))
    for action, reason in (
        ("update", "source_moved"),
        ("update", "replace"),
        ("update", "of_a_later_version"),
        ("copy", "new"),
    ):
        bad = row(f"{API}:9", action, reason, f"{OF_API}:1", after=digest, before=there)
        await refused(world, forged(plan, [bad]), f"{API}:9", f"replace {there.short}")


@pytest.mark.parametrize("reason", ["overwrite_always", "overwrite_equivalent"])
async def test_a_policy_that_the_rule_does_not_have_allows_nothing(
    world: World, reason: str
) -> None:
    """The reason is only as good as the config: with the policy in the rule it is done."""
    digest, there = world.seed("1"), alien(world, "team/api", "1", b"theirs")
    world.old.tags["team/api", "1"] = digest
    plan = await world.plan()
    assert [change.action for change in plan.changes] == [Action.CONFLICT]
    bad = row(f"{API}:1", "update", reason, f"{OF_API}:1", after=digest, before=there)
    await refused(world, forged(plan, [bad]), "its rule forbids it")
    world.rules = f"- {{source: {OF_API}, destination: {API}, overwrite: always}}"
    assert (await world.apply(forged(plan, [bad]))).counts == {Outcome.APPLIED: 1}


async def test_what_the_command_line_allowed_to_overwrite_is_overwritten(world: World) -> None:
    """`--allow-overwrite` is in the row, for whoever reviews it."""
    digest, _ = world.seed("1"), alien(world, "team/api", "1", b"theirs")
    world.old.tags["team/api", "1"] = digest
    plan = await world.plan(allow_overwrite=("**",))
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert world.new.tags["team/api", "1"] == digest


async def test_deletes_need_a_record_and_what_is_ours(world: World) -> None:
    """Whether the state has moved since the plan or not, and whatever the row says of it."""
    world.seed("1")
    first = await world.plan()
    there = alien(world, "prod/web", "9")
    bad = row(f"{WEB}:9", "delete", "rule_removed", before=there)
    await refused(world, forged(first, [bad]), f"{WEB}:9", "there is no record of it")
    await world.apply(first)
    await refused(world, forged(await world.plan(), [bad]), "there is no record of it")
    world.seed("2")
    later = await world.plan()
    world.seed("3")
    await world.migrate()
    await refused(world, forged(later, [bad]), "there is no live record of it")
    recorded = world.state.records[f"{API}:1"]
    theirs = alien(world, "team/api", "1", b"theirs")
    bad = row(f"{API}:1", "delete", "rule_removed", before=theirs, recorded=recorded.digest)
    await refused(world, forged(later, [bad]), f"delete {theirs.short}, which is not ours")


async def test_a_row_that_tells_of_another_record_is_refused_where_none_has_moved(
    world: World,
) -> None:
    """The state is the plan's own: what it says of a record is what the record was."""
    digest = world.seed("1")
    await world.migrate()
    world.seed("2")
    plan = await world.plan()
    for action, reason in (
        ("delete", "rule_removed"),
        ("forget", "rule_removed"),
        ("keep", "source_gone"),
        ("drift", "changed_here"),
    ):
        bad = row(f"{API}:1", action, reason, before=digest, recorded=EVIL)
        await refused(world, forged(plan, [*plan.changes, bad]), f"{API}:1", EVIL.short)
        bad = row(f"{API}:9", action, reason, before=digest)
        await refused(world, forged(plan, [*plan.changes, bad]), f"{API}:9", "no record of it")


async def test_a_row_whose_record_is_gone_since_is_a_conflict_of_its_own(world: World) -> None:
    """Where the state has moved on, others are not disturbed by what moved."""
    world.seed("1")
    await world.migrate()
    world.seed("1", b"newer")
    world.seed("2")
    plan = await world.plan()
    async with LocalState(world.config.state).writer(command="test") as writer:
        await writer.remove([Reference.parse(f"{API}:1")])
    counts = (await world.apply(plan)).counts
    assert counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1}


async def test_moves_need_the_record_of_their_origin(world: World) -> None:
    """Of the same store, and of an image that a rule brings to the new address."""
    digest = world.seed("1")
    await world.migrate()
    plan = await world.plan()
    for source, address, cause in (
        (f"{API}:9", f"{API}:new", "no record tells"),
        (f"{OF_API}:1", f"{API}:new", "no record tells"),
        (f"{API}:1", f"{WEB}:new", f"no rule brings images of {OF_API}"),
        (f"{API}:1", "elsewhere.example/team/api:new", "is in another registry"),
    ):
        bad = row(address, "move", "moved", source, after=digest)
        await refused(world, forged(plan, [bad]), address, cause)
    bad = row(f"{API}:new", "move", "moved", f"{API}:1", after=EVIL)
    await refused(world, forged(plan, [bad]), "no record tells")
    world.seed("2")
    await world.migrate()
    bad = row(f"{API}:new", "move", "moved", f"{API}:9", after=digest)
    assert (await world.apply(forged(plan, [bad]))).counts == {Outcome.CONFLICT: 1}


async def test_an_image_that_its_source_does_not_show_is_refused(world: World) -> None:
    """Without platforms a destination gets what the source has, and no other digest."""
    digest = world.seed("1")
    plan = await world.plan()
    bad = row(f"{API}:1", "adopt", "already_there", f"{OF_API}:1", after=EVIL, shows=digest)
    await refused(world, forged(plan, [bad]), f"shows {digest.short}, not {EVIL.short}")
    bad = row(f"{API}:1", "copy", "new", f"{OF_API}@{EVIL}", after=digest)
    await refused(world, forged(plan, [bad]), EVIL.short)
    cut = Filter(platforms=("linux/amd64",), version=1)
    bad = row(f"{API}:1", "copy", "new", f"{OF_API}:1", after=EVIL, shows=digest, filter=cut)
    assert (await world.apply(forged(plan, [bad]))).counts == {Outcome.FAILED: 1}


async def test_ownership_is_taken_by_the_command_alone(world: World) -> None:
    """A file that makes a foreign tag ours would let the next plan overwrite it."""
    digest, there = world.seed("1"), alien(world, "team/api", "1", b"theirs")
    world.old.tags["team/api", "1"] = digest
    taken = sort_for_adoption(await world.plan(), take_ownership=True).plan
    await refused(world, taken, "only imgmigrate adopt `take_ownership`")
    assert (await world.apply(taken, takes_ownership=True)).counts == {Outcome.APPLIED: 1}
    assert world.state.records[f"{API}:1"].digest == there


LIES: dict[str, Callable[[Summary], dict[str, int]]] = {
    "fewer": lambda _: {"copy_": 0},
    "others": lambda summary: {"copy_": 0, "adopt": summary.copy_},
    "a conflict": lambda _: {"conflict": 1},
    "bytes": lambda summary: {"transfer_bytes": summary.transfer_bytes + 1},
    "unknown sizes": lambda summary: {"unknown_sizes": summary.unknown_sizes + 1},
}


@pytest.mark.parametrize("case", LIES)
@pytest.mark.parametrize("part", [False, True], ids=["whole", "part"])
async def test_a_summary_that_is_not_of_the_rows_is_refused(
    world: World, case: str, part: bool
) -> None:
    """Also where only some rows of the plan are to be done."""
    world.seed("1")
    world.seed("2")
    plan = await world.plan()
    summary = plan.summary.model_copy(update=LIES[case](plan.summary))
    lying = Plan.of(plan.header.model_copy(update={"summary": summary}), plan.changes)
    if part:
        lying = lying.only(lying.changes[:1], target=("x",), exclude=())
    await refused(world, lying, "does not sum up its rows")


async def test_a_refresh_writes_nothing(world: World) -> None:
    """Not even what a rule asks for: whoever approved it was told that nothing is copied."""
    world.seed("1")
    await world.migrate()
    digest = world.seed("2")
    plan = await world.plan(refresh_only=True)
    copy = row(f"{API}:2", "copy", "new", f"{OF_API}:2", after=digest)
    await refused(world, forged(plan, [copy]), "a refresh writes nothing")
    adopt = row(
        f"{API}:1", "adopt", "already_there", f"{OLD}/evil:1", after=digest, before=digest,
        recorded=world.state.records[f"{API}:1"].digest,
    )  # fmt: skip
    await refused(world, forged(plan, [adopt]), f"it is recorded from {OF_API}:1")


async def test_a_refresh_needs_no_rule(world: World) -> None:
    """It is of the records: what it lets go and records is not what the config asks for."""
    world.seed("1")
    world.seed("2")
    await world.migrate()
    del world.new.tags["team/api", "1"]
    both = alien(world, "team/api", "2", b"both")
    plan = await world.plan(refresh_only=True)
    world.rules = f"- {{source: {OLD}/team/other, destination: {NEW}/team/other}}"
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 2}
    assert world.state.records[f"{API}:2"].digest == both


async def updated(world: World) -> tuple[Plan, Digest, Digest]:
    """A plan that has replaced one image by another."""
    old = world.seed("1")
    await world.migrate()
    new = world.seed("1", b"newer")
    plan = await world.plan()
    await world.apply(plan)
    return plan, old, new


async def test_a_rollback_puts_back_what_a_record_tells_of(world: World) -> None:
    """It needs no rule; another image, or one from elsewhere, is refused."""
    plan, old, new = await updated(world)
    other = world.seed("2")
    await world.migrate()
    back = await world.rollback(plan)
    world.rules = f"- {{source: {OLD}/team/other, destination: {NEW}/team/other}}"
    evil = alien(world, "team/api", "evil")
    for source, after in ((f"{API}@{evil}", evil), (f"{OF_API}@{old}", old)):
        bad = row(f"{API}:1", "update", "rollback", source, after=after, before=new, recorded=new)
        await refused(world, forged(back, [bad]), f"{API}:1")
    bad = row(f"{API}:9", "copy", "rollback", f"{API}@{old}", after=old)
    await refused(world, forged(back, [bad]), f"no record tells that {plan.plan_id} wrote it")
    bad = row(f"{API}:2", "delete", "rollback", before=other, recorded=other)
    await refused(world, forged(back, [bad]), f"no record tells that {plan.plan_id} wrote it")
    assert (await world.apply(back)).counts == {Outcome.APPLIED: 1}
    assert world.new.tags["team/api", "1"] == old


async def test_a_plan_that_undoes_nothing_has_no_such_rows(world: World) -> None:
    """Nor does one that undoes have rows of another kind: each would pass the other's check."""
    plan, old, new = await updated(world)
    ordinary = await world.plan()
    bad = row(f"{API}:1", "update", "rollback", f"{API}@{old}", after=old, before=new, recorded=new)
    await refused(world, forged(ordinary, [bad]), "the plan undoes nothing")
    back = await world.rollback(plan)
    bad = row(
        f"{API}:1", "update", "source_moved", f"{OF_API}:1", after=old, before=new, recorded=new
    )
    await refused(world, forged(back, [bad]), "a rollback does not do that")


async def kept(world: World) -> Plan:
    """A plan that replaces an image and keeps it under another tag."""
    world.extra = 'keep_previous: "{tag}-old"\n'
    world.seed("1")
    await world.migrate()
    world.seed("1", b"newer")
    return await world.plan()


async def test_what_is_replaced_is_kept_by_a_row_that_no_rule_asks_for(world: World) -> None:
    """From a file, and again, and by a part of the plan."""
    plan = await kept(world)
    assert len(plan.changes) == 2
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 2}
    assert (await world.apply(plan)).counts == {Outcome.ALREADY: 2}


EDITS: dict[str, Callable[[Change, Change], list[Change]]] = {
    "nothing is replaced": lambda _, keeps: [keeps],
    "another is replaced": lambda update, keeps: [
        update.model_copy(update={"kept_as": Reference.parse(f"{API}:other")}),
        keeps,
    ],
    "another image": lambda update, keeps: [
        update,
        row(str(keeps.address), "copy", "keep_previous", f"{API}@{EVIL}", after=EVIL),
    ],
    "from another repository": lambda update, keeps: [
        update,
        row(str(keeps.address), "copy", "keep_previous", f"{WEB}:1", after=keeps.after),
    ],
    "in another repository": lambda update, keeps: [
        update.model_copy(update={"kept_as": Reference.parse(f"{WEB}:1-old")}),
        row(f"{WEB}:1-old", "copy", "keep_previous", f"{WEB}@{keeps.after}", after=keeps.after),
    ],
    "as itself": lambda update, _: [update.model_copy(update={"kept_as": update.address})],
}


@pytest.mark.parametrize("case", EDITS)
async def test_a_kept_tag_that_keeps_nothing_is_refused(world: World, case: str) -> None:
    """`kept_as` would be a way to put any image under any tag."""
    plan = await kept(world)
    update = next(change for change in plan.changes if change.action is Action.UPDATE)
    keeps = next(change for change in plan.changes if change is not update)
    bad = EDITS[case](update, keeps)
    await refused(world, forged(plan, bad), "kept" if case[:2] in ("in", "as") else "keeps nothing")


async def test_max_delete_is_asked_again(world: World) -> None:
    """By today's config, unless whoever planned allowed another number, which the plan shows."""
    for tag in "1234":
        world.seed(tag)
    await world.migrate()
    world.rules = f"- {{source: '{OF_API}:4', destination: {API}}}"
    plan = await world.plan(allow_delete=True)
    world.extra = "max_delete: 50%\n"
    with pytest.raises(
        GuardError, match=r"3 of 4 images; max_delete in imgmigrate\.yaml:\d+ allows"
    ):
        await world.apply(plan)
    assert len(world.new.tags) == 4
    allowed = await world.plan(allow_delete=True, max_delete=read_share("3"))
    assert allowed.header.max_delete == "3"
    with pytest.raises(PlanRefused, match="max_delete must be a number"):
        await world.apply(forged(allowed, allowed.changes, max_delete="all"))
    assert (await world.apply(allowed)).counts == {Outcome.APPLIED: 3}


async def test_deletes_that_were_cut_off_go_on(world: World) -> None:
    """Half of them done, the rest is still within the share of what is left."""
    for tag in "1234":
        world.seed(tag)
    await world.migrate()
    world.extra = "max_delete: 50%\n"
    world.rules = f"- {{source: '{OF_API}:3,4', destination: {API}}}"
    plan = await world.plan(allow_delete=True)
    part = plan.only(plan.changes[:1], target=("x",), exclude=())
    assert (await world.apply(part)).counts == {Outcome.APPLIED: 1}
    counts = (await world.apply(plan)).counts
    assert counts == {Outcome.APPLIED: 1, Outcome.ALREADY: 1}


async def test_an_action_of_a_later_version_is_left_out(world: World) -> None:
    """It fails by its name, and the others are done."""
    world.seed("1")
    plan = await world.plan()
    later = row(f"{API}:0", "attach", "of_later")
    finished = await world.apply(forged(plan, [*plan.changes, later]))
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.FAILED: 1}
    assert "does not know the action attach" in str(finished.unfinished[0].error)


async def test_a_conflict_for_a_later_reason_is_a_conflict(world: World) -> None:
    """Also where that version counts such conflicts apart."""
    world.seed("1")
    plan = await world.plan()
    later = row(f"{API}:0", "conflict", "immutable_there", before=EVIL)
    for rows in (forged(plan, [*plan.changes, later]), forged(plan, plan.changes)):
        made = Plan.of(rows.header, (*plan.changes, later))
        counts = (await world.apply(made)).counts
        assert counts[Outcome.CONFLICT] == 1


async def test_a_row_without_a_tag_is_refused(world: World) -> None:
    """A repository is no address of an image."""
    digest = world.seed("1")
    plan = await world.plan()
    bad = row(API, "copy", "new", f"{OF_API}:1", after=digest)
    await refused(world, forged(plan, [bad]), f"{API}: it names no tag")


async def test_many_rows_are_named_up_to_a_number(world: World) -> None:
    """A refusal is read by people."""
    digest = world.seed("1")
    plan = await world.plan()
    bad = [
        row(f"{WEB}:{number}", "copy", "new", f"{OF_API}:1", after=digest) for number in range(12)
    ]
    await refused(world, forged(plan, bad), "12 rows that nothing here warrants", "and 2 more")
