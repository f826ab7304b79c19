"""`keep_previous`: what is about to be replaced gets a tag of its own, before it is replaced."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.values.shares import read_share
from imgmigrate.errors import TransientError
from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.planning.passes.keep_previous import decide_outlived
from tests.fakes.memory import image
from tests.support.records import make_record
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = Digest.of(b"kept")
API = f"{NEW}/team/api"
KEEP = 'keep_previous: "{tag}-before"\n'


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def moved(world: World, keep: str = KEEP) -> Digest:
    """One image is there, and its source has moved since; what is there now."""
    digest = world.seed("1")
    await world.migrate()
    world.seed("1", b"newer")
    world.extra = keep
    return digest


def tags(world: World) -> dict[str, Digest]:
    return {tag: digest for (_, tag), digest in world.new.tags.items()}


async def test_an_update_keeps_what_it_replaces(world: World) -> None:
    """The reviewed plan has a row for the kept tag, and it costs nothing."""
    digest = await moved(world)
    plan = await world.plan()
    assert rows(plan) == {
        f"{API}:1": ("update", "source_moved"),
        f"{API}:1-before": ("copy", "keep_previous"),
    }
    update, kept = plan.changes
    assert update.kept_as == kept.address
    assert (kept.before, kept.after, kept.transfer_bytes) == (None, digest, 0)
    assert str(kept.source.reference if kept.source else None) == f"{API}@{digest}"
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 2}
    assert tags(world)["1-before"] == digest
    assert tags(world)["1"] != digest


async def test_a_delete_keeps_what_it_deletes(world: World) -> None:
    """A deleted tag leaves its image under the other name."""
    digest = world.seed("1")
    world.seed("2")
    await world.migrate()
    world.rules = f"- {{source: {OLD}/team/api, destination: {API}, tags: ['2']}}"
    world.extra = KEEP
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {
        f"{API}:1": ("delete", "deselected"),
        f"{API}:1-before": ("copy", "keep_previous"),
    }
    await world.apply(plan)
    assert tags(world)["1-before"] == digest
    assert "1" not in tags(world)


async def test_later_plans_leave_kept_tags_alone(world: World) -> None:
    """No rule asks for them, and still they are neither forgotten, deleted nor kept again."""
    await moved(world)
    await world.migrate()
    assert world.state.records[f"{API}:1-before"].is_live
    assert rows(await world.plan(allow_delete=True)) == {}
    world.rules = f"- {{source: {OLD}/team/web, destination: {NEW}/team/web}}"
    world.old.seed("team/web", "1", *image(b"web"))
    unwanted = rows(await world.plan(allow_delete=True))
    assert unwanted[f"{API}:1"] == ("delete", "rule_removed")
    assert f"{API}:1-before" not in unwanted


async def test_the_kept_tag_is_written_first(world: World) -> None:
    """What is replaced is never without a tag."""
    await moved(world)
    plan = await world.plan()
    world.new.log.clear()
    await world.apply(plan, parallelism=1)
    puts = [ref for verb, _, ref in world.new.log if verb == "put_manifest"]
    assert puts[0] == "1-before"
    assert puts[-1] == "1"


async def test_what_is_not_kept_is_not_replaced(world: World) -> None:
    """A kept tag that fails leaves its tag alone; the same plan does both later."""
    digest = await moved(world)
    plan = await world.plan()

    def refuse(_: str, ref: str) -> None:
        if ref == "1-before":
            message = "not today"
            raise RuntimeError(message)

    world.new.hooks["put_manifest"] = refuse
    assert (await world.apply(plan)).counts == {Outcome.FAILED: 2}
    assert tags(world) == {"1": digest}
    world.new.hooks.clear()
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 2}
    assert tags(world)["1-before"] == digest


async def test_a_second_update_of_a_day_gets_a_number(world: World) -> None:
    """Neither former image is lost, and a third plan for the same digest keeps it once."""
    first = await moved(world)
    await world.migrate()
    second = tags(world)["1"]
    world.seed("1", b"newest")
    plan = await world.plan()
    assert rows(plan)[f"{API}:1-before-2"] == ("copy", "keep_previous")
    await world.apply(plan)
    assert (tags(world)["1-before"], tags(world)["1-before-2"]) == (first, second)


async def test_what_is_kept_already_needs_no_row(world: World) -> None:
    """A plan after one that failed halfway finds the kept tag and names it."""
    await moved(world)
    plan = await world.plan()
    await world.apply(plan.only(plan.changes[1:], target=(), exclude=()))
    again = await world.plan()
    assert rows(again) == {f"{API}:1": ("update", "source_moved")}
    assert str(again.changes[0].kept_as) == f"{API}:1-before"
    assert (await world.apply(again)).counts == {Outcome.APPLIED: 1}


async def test_a_kept_tag_whose_record_was_lost_is_adopted(world: World) -> None:
    """It shows the digest that is to be kept, so it only has to be recorded."""
    digest = await moved(world)
    world.new.tags["team/api", "1-before"] = digest
    assert rows(await world.plan())[f"{API}:1-before"] == ("adopt", "keep_previous")


LONG = "1" * 125


@pytest.mark.parametrize(
    ("tag", "keep", "why"),
    [
        ("1", KEEP, "1-before shows something else"),
        (LONG, KEEP, "too long for a tag"),
        ("1", 'keep_previous: "{tag}2"\n', f"{API}:12 would be its name"),
    ],
    ids=["foreign", "too long", "asked for"],
)
async def test_what_cannot_be_kept_is_an_error(world: World, tag: str, keep: str, why: str) -> None:
    """Its tag is not replaced, and the row says why not."""
    digest = world.seed(tag)
    world.seed("12")
    await world.migrate()
    world.seed(tag, b"newer")
    world.new.seed("team/api", "1-before", *image(b"theirs"))
    world.extra = keep
    plan = await world.plan()
    assert rows(plan) == {f"{API}:{tag}": ("error", "not_kept")}
    assert why in str(plan.changes[0].detail)
    assert (await world.apply(plan)).counts == {Outcome.FAILED: 1}
    assert tags(world)[tag] == digest


async def test_placeholders_are_filled(world: World) -> None:
    """The day and the digest of what is kept make its name."""
    digest = await moved(world, 'keep_previous: "{tag}-before-{date}-{digest}"\n')
    plan = await world.plan()
    (kept,) = (each for each in plan.changes if each.reason == "keep_previous")
    found = re.fullmatch(r"1-before-(\d{8})-([0-9a-f]{12})", str(kept.address.tag))
    assert found is not None
    assert found[2] == digest.short


async def test_writing_the_same_again_keeps_nothing(world: World) -> None:
    """--replace leaves the digest where it is."""
    world.seed("1")
    await world.migrate()
    world.extra = KEEP
    assert rows(await world.plan(replace=(API,))) == {f"{API}:1": ("update", "replace")}


async def test_a_rollback_takes_kept_tags_back_if_deleting_is_allowed(world: World) -> None:
    """They were new; what the rollback itself replaces is kept in turn."""
    digest = await moved(world)
    plan = await world.plan()
    await world.apply(plan)
    newer = tags(world)["1"]
    assert rows(await world.rollback(plan)) == {
        f"{API}:1": ("update", "rollback"),
        f"{API}:1-before": ("keep", "stays"),
        f"{API}:1-before-2": ("copy", "keep_previous"),
    }
    back = await world.rollback(plan, allow_delete=True)
    assert rows(back)[f"{API}:1-before"] == ("delete", "rollback")
    await world.apply(back)
    assert tags(world)["1"] == digest
    assert newer in tags(world).values()


async def test_a_kept_tag_stays_until_its_image_is_back(world: World) -> None:
    """It may be the last tag of the former image: a failed way back leaves it."""
    digest = await moved(world)
    plan = await world.plan()
    await world.apply(plan)
    world.extra = ""
    back = await world.rollback(plan, allow_delete=True)
    update, delete = back.changes
    assert delete.moved_to == update.address

    def refuse(_: str, ref: str) -> None:
        if ref == "1":
            message = "not today"
            raise RuntimeError(message)

    world.new.hooks["put_manifest"] = refuse
    assert (await world.apply(back)).counts == {Outcome.FAILED: 2}
    assert tags(world)["1-before"] == digest
    world.new.hooks.clear()
    assert (await world.apply(back)).counts == {Outcome.APPLIED: 2}
    assert tags(world) == {"1": digest}


async def test_a_kept_tag_stays_where_its_image_does_not_come_back(world: World) -> None:
    """Undoing only the kept tag, or beside a conflict, would lose what it keeps."""
    await moved(world)
    plan = await world.plan()
    await world.apply(plan)
    alone = await world.rollback(plan, allow_delete=True, target=(f"{API}:1-before",))
    assert rows(alone) == {f"{API}:1-before": ("keep", "stays")}
    world.new.seed("team/api", "1", *image(b"theirs"))
    assert rows(await world.rollback(plan, allow_delete=True)) == {
        f"{API}:1": ("conflict", "changed_here"),
        f"{API}:1-before": ("keep", "stays"),
    }


PLAIN = f"{{source: {OLD}/team/api, destination: {API}"


@pytest.mark.parametrize(
    ("whole", "rule", "kept"),
    [
        ("", ", keep_previous: '{tag}-was'", "1-was"),
        (KEEP, ", keep_previous: '{tag}-was'", "1-was"),
        (KEEP, ", keep_previous: none", None),
        (KEEP, "", "1-before"),
        ("keep_previous: none\n", "", None),
        ("keep_previous: none\n", ", keep_previous: '{tag}-was'", "1-was"),
    ],
)
async def test_a_rule_says_what_is_kept_of_its_images(
    world: World, whole: str, rule: str, kept: str | None
) -> None:
    """Its own name goes before the whole config's, `none` keeps nothing; also on the way back."""
    digest = await moved(world, whole)
    world.rules = f"- {PLAIN}{rule}}}"
    plan = await world.plan()
    assert {row for row in rows(plan) if row != f"{API}:1"} == (
        {f"{API}:{kept}"} if kept else set()
    )
    await world.apply(plan)
    newer = tags(world)["1"]
    assert tags(world).get(kept or "-") == (digest if kept else None)
    back = await world.rollback(plan)
    await world.apply(back)
    numbered = {tag for tag, shown in tags(world).items() if shown == newer}
    assert numbered == ({f"{kept}-2"} if kept else set())


async def test_a_delete_is_kept_as_its_rule_says(world: World) -> None:
    """A deselected tag is of the rule that goes there; without a rule the whole config speaks."""
    world.extra = KEEP
    for tag in "123":
        world.seed(tag)
    await world.migrate()
    web = f"{{source: {OLD}/team/api, destination: {NEW}/team/web, tags: ['2']"
    world.rules = (
        f"- {web}, keep_previous: '{{tag}}-web'}}\n"
        f"- {PLAIN}, tags: ['2'], keep_previous: '{{tag}}-two'}}\n"
        f"- {PLAIN}, tags: ['3'], keep_previous: '{{tag}}-three'}}"
    )
    kept = {row for row in rows(await world.plan(allow_delete=True)) if "1-" in row}
    assert kept == {f"{API}:1-two"}
    world.rules = f"- {web}}}"
    kept = {row for row in rows(await world.plan(allow_delete=True)) if "1-" in row}
    assert kept == {f"{API}:1-before"}


async def test_rules_with_globs_keep_too(world: World) -> None:
    """What the glob says holds for each repository, in a plan and on the way back."""
    await moved(world, "")
    world.rules = (
        f"- {{source: '{OLD}/team/*', destination: '{NEW}/{{repository}}', "
        "keep_previous: '{tag}-was'}"
    )
    plan = await world.plan()
    assert f"{API}:1-was" in rows(plan)
    await world.apply(plan)
    assert f"{API}:1-was-2" in rows(await world.rollback(plan))


AT_ONCE = f"{KEEP}keep_previous_for: 0s\n"
BEFORE = f"{API}:1-before"
PAST = ("delete", "kept_long_enough")


async def kept(world: World, extra: str = AT_ONCE) -> Digest:
    """An image was updated and kept; what its kept tag shows."""
    digest = await moved(world)
    await world.migrate()
    world.extra = extra
    return digest


async def test_a_kept_tag_that_is_past_its_time_goes(world: World) -> None:
    """Only where deletes are allowed, and for good: it is not kept once more."""
    digest = await kept(world)
    assert rows(await world.plan()) == {}
    assert rows(await world.plan(forget=True)) == {}
    assert rows(await world.plan(allow_delete_gone=True)) == {}
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {BEFORE: PAST}
    assert (plan.changes[0].before, plan.changes[0].kept_as) == (digest, None)
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert set(tags(world)) == {"1"}
    assert rows(await world.plan(allow_delete=True)) == {}


@pytest.mark.parametrize(
    ("at", "span", "goes"),
    [
        ("2026-11-01T00:00:00Z", 30 * 86_400.0, True),
        ("2026-11-01T00:00:01Z", 30 * 86_400.0, False),
        ("2026-11-01T02:00:00+02:00", 30 * 86_400.0, True),
        ("2026-12-02T00:00:00Z", 0.0, False),
        ("2026-11-01T00:00:00", 0.0, False),
        ("once", 0.0, False),
        ("2026-11-01T00:00:00Z", inf, False),
    ],
)
def test_its_age_is_that_of_its_record(at: str, span: float, goes: bool) -> None:
    """To the second; one of the future, or of which nobody knows, stays."""
    address = Reference.parse(BEFORE)
    record = replace(make_record(address, address, DIGEST), at=at)
    change = decide_outlived(record, span, datetime(2026, 12, 1, tzinfo=UTC))
    assert (change is not None) is goes


@pytest.mark.parametrize(
    ("spans", "usual", "goes"),
    [
        (["0s"], "30d", True),
        (["30d"], "0s", False),
        (["0s", "30d"], "0s", False),
        (["0s", None], "30d", False),
        (["0s", None], "0s", True),
        (["forever"], "0s", False),
        (["0s", None], None, False),
    ],
)
async def test_of_all_rules_that_write_there_the_longest_counts(
    world: World, spans: list[str | None], usual: str | None, goes: bool
) -> None:
    """A rule's own word stands before that of the whole config; what says none is for ever."""
    await kept(world, KEEP + (f"keep_previous_for: {usual}\n" if usual else ""))
    world.rules = "\n".join(
        f"- {{source: {OLD}/team/api, destination: {API}, tags: ['{number}', none-{number}]"
        + (f", keep_previous_for: {span}}}" if span else "}")
        for number, span in enumerate(spans, 1)
    )
    assert (rows(await world.plan(allow_delete=True)).get(BEFORE) == PAST) is goes


async def test_what_no_rule_writes_to_any_more_is_kept_as_usual(world: World) -> None:
    """The whole config says how long."""
    await kept(world)
    world.rules = f"- {{source: {OLD}/team/web, destination: {NEW}/team/web}}"
    world.old.seed("team/web", "1", *image(b"web"))
    assert rows(await world.plan(allow_delete=True))[BEFORE] == PAST


async def test_guards_hold_for_kept_tags(world: World) -> None:
    """max_delete counts them, protect keeps them, and what is not ours stays."""
    await kept(world)
    many = await world.plan(allow_delete=True, max_delete=read_share("0"))
    assert rows(many) == {BEFORE: ("blocked", "max_delete")}
    world.extra = f"{AT_ONCE}protect: ['{API}:*-before']\n"
    assert rows(await world.plan(allow_delete=True)) == {BEFORE: ("blocked", "protected")}
    world.extra = AT_ONCE
    world.new.seed("team/api", "1-before", *image(b"somebody's"))
    (stays,) = (await world.plan(allow_delete=True)).changes
    assert stays.action.value == "keep"
    assert "which is not ours" in (stays.detail or "")


async def test_a_kept_tag_that_a_rule_asks_for_stays(world: World) -> None:
    """It is an image like any other then."""
    await kept(world)
    world.old.seed("team/api", "1-before", *image(b"wanted"))
    assert rows(await world.plan(allow_delete=True)) == {BEFORE: ("update", "source_moved")}


async def test_where_a_rule_could_not_be_read_kept_tags_stay(world: World) -> None:
    """Which repositories it writes to is not known, and it may say that they are kept longer."""
    await kept(world)

    def refuse(*_: str) -> None:
        raise TransientError("old.example", "down")

    world.old.hooks["list_repositories"] = refuse
    world.rules += f"\n- {{source: '{OLD}/**', destination: '{NEW}/{{repository}}', tags: [x]}}"
    found = rows(await world.plan(allow_delete=True))
    assert found[BEFORE] == ("keep", "kept_long_enough")
    world.old.hooks.clear()
    assert rows(await world.plan(allow_delete=True)) == {BEFORE: PAST}


async def test_what_is_kept_again_while_it_goes_gets_a_number(world: World) -> None:
    """The new tag is there before the old one goes, so the image is never without."""
    digest = await kept(world, f"{AT_ONCE}")
    world.seed("1")
    await world.apply(await world.plan())
    assert tags(world)["1"] == digest
    world.seed("1", b"newest")
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[BEFORE] == PAST
    kept_as = next(c.kept_as for c in plan.changes if c.kept_as)
    assert kept_as.tag not in ("1", "1-before")
    await world.apply(plan)
    assert tags(world)[str(kept_as.tag)] == digest


async def test_what_moves_is_not_kept(world: World) -> None:
    """Its image lives on at the new address, which is looked at before the old tag goes."""
    digest = world.seed("1")
    await world.migrate()
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/crew/api}}"
    world.extra = f"{KEEP}moved: [{{from: {API}, to: {NEW}/crew/api}}]\n"
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {f"{NEW}/crew/api:1": ("move", "moved"), f"{API}:1": ("delete", "moved")}
    await world.apply(plan)
    assert world.new.tags == {("crew/api", "1"): digest}
