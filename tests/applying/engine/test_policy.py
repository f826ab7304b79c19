"""When failures, refused logins, the clock or a plan's age end a run, or let none begin."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.apply import ApplyOptions, apply_plan
from imgmigrate.cli.exit import Applied, exit_code
from imgmigrate.config.values.shares import read_share
from imgmigrate.errors import (
    AuthenticationError,
    OutOfReach,
    PlanRefused,
    Rejected,
    StateError,
    StateUnsaved,
)
from imgmigrate.events import Outcome
from imgmigrate.plan import Plan
from imgmigrate.render.summary import result_text
from imgmigrate.state.writer import Writer
from tests.fakes.memory import MemoryStore, image
from tests.support.clock import ManualClock, settle
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.events import RunFinished

OTHER = "other.example"
API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two registries in memory, a config, a state on disk."""
    return World(tmp_path)


async def test_failures_are_in_the_journal_before_the_run_ends(world: World) -> None:
    """Who asks from elsewhere sees them, with the side; the run itself ends as it would."""
    seed(world, 2)
    world.new.hooks["put_manifest"] = lambda *_: refuse("t00")
    plan = await world.plan()
    seen = []

    async def look(self: Writer, counts: object) -> None:
        seen.append(world.state.runs[-1])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Writer, "end", look)
        await world.apply(plan)
    (run,) = seen
    assert (run.rows, run.done, run.failed, run.left) == (2, 0, 2, 0)
    assert {each.address for each in run.failures} == {f"{API}:t00", f"{API}:t01"}
    assert run.failures[0].cause == "destination t00: denied"


async def test_a_failure_that_cannot_be_journaled_is_a_failure_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written for it, so nothing is lost with its line."""
    seed(world, 1)
    world.new.hooks["put_manifest"] = lambda *_: refuse("t00")

    async def full(*_: object) -> None:
        message = "no space left"
        raise StateError(message)

    monkeypatch.setattr(Writer, "failed", full)
    assert (await world.apply(await world.plan())).counts == {Outcome.FAILED: 1}


def refuse(subject: str) -> None:
    """A destination that takes no manifest."""
    raise Rejected(subject, "denied", status=400)


def seed(world: World, count: int) -> None:
    """Put so many images into the old registry, none of which shares a blob."""
    for number in range(count):
        world.seed(f"t{number:02}", f"layer {number}".encode())


def fail(world: World, *numbers: int) -> None:
    """Let the registry refuse the tags of these images for good."""
    tags = {f"t{number:02}" for number in numbers}

    def refuse(repo: str, what: str) -> None:
        if what in tags:
            raise Rejected(f"{NEW}/{repo}:{what}", "it is not taken (400)")

    world.new.hooks["put_manifest"] = refuse


def cut_off(world: World) -> None:
    """Let the new registry be down for longer than it is waited for."""

    def down(repo: str, what: str) -> None:
        raise OutOfReach(f"{NEW}/{repo}:{what}", "out of reach for 5 min", host=NEW)

    world.new.hooks["put_manifest"] = down


@pytest.mark.parametrize("count", [1, 5])
async def test_a_registry_that_is_down_is_one_failure_and_named_once(
    world: World, count: int
) -> None:
    """However many rows need it: the run goes on, and the summary says it once."""
    seed(world, count)
    plan = await world.plan()
    cut_off(world)
    result = await world.apply(plan, parallelism=1, max_failures=read_share("1"))
    assert result.stopped is None
    assert result.counts == {Outcome.FAILED: count}
    (refusal,) = result.refusals
    assert (refusal.name, len(refusal.rows)) == (NEW, count)
    assert str(refusal.error) == f"{NEW}: out of reach for 5 min"
    text = result_text(plan, result)
    assert text.count("out of reach for 5 min") == 1
    assert (f"! {NEW}: out of reach, {count} rows not done" in text) == (count > 1)
    assert f"{API}:t00" in text


async def test_failures_end_nothing_by_default(world: World) -> None:
    """Whatever fails, every other row is done."""
    seed(world, 5)
    fail(world, 0, 1, 2)
    result = await world.apply(await world.plan(), parallelism=1)
    assert result.counts == {Outcome.APPLIED: 2, Outcome.FAILED: 3}
    assert result.stopped is None


@pytest.mark.parametrize(
    ("options", "failed", "reason"),
    [
        ({"fail_fast": True}, 1, "`fail_fast`: a row failed"),
        ({"max_failures": "0"}, 1, "`max_failures` 0: 1 of 10 rows failed"),
        ({"max_failures": "2"}, 3, "`max_failures` 2: 3 of 10 rows failed"),
        ({"max_failures": "25%"}, 3, "`max_failures` 25%: 3 of 10 rows failed"),
        ({"max_failures": "5"}, 5, None),
        ({"max_failures": "50%"}, 5, None),
    ],
)
async def test_more_failures_than_allowed_end_the_run(
    world: World, options: dict[str, object], failed: int, reason: str | None
) -> None:
    """No further image begins, each row left says why, and the same plan does the rest."""
    seed(world, 10)
    fail(world, *range(5))
    plan = await world.plan()
    if "max_failures" in options:
        options = {"max_failures": read_share(options["max_failures"])}
    result = await world.apply(plan, parallelism=1, **options)
    assert result.stopped == reason
    assert result.counts[Outcome.FAILED] == failed
    left = [each for each in result.unfinished if each.outcome is Outcome.CANCELLED]
    assert len(left) == (10 - failed if reason else 0)
    for each in left:
        assert each.error is not None
        assert str(reason) in each.error.message
    assert exit_code(Applied(plan, result)) == 3
    world.new.hooks.clear()
    again = await world.apply(plan, **options)
    assert exit_code(Applied(plan, again)) == 0
    assert len(list(world.state.live())) == 10


async def test_conflicts_are_no_failures(world: World) -> None:
    """A tag that moved since the plan is left alone, and ends nothing."""
    seed(world, 3)
    plan = await world.plan()
    manifest, blobs = image(b"somebody else's")
    world.new.seed("team/api", "t00", manifest, blobs)
    result = await world.apply(plan, parallelism=1, fail_fast=True)
    assert result.counts == {Outcome.CONFLICT: 1, Outcome.APPLIED: 2}


def refused(
    host: str, subject: str | None = None, *, repo: str | None = None
) -> Callable[[str, str], None]:
    """Make a hook that refuses the login, as the registry's client says it."""

    def hook(*_: str) -> None:
        cause = "not authenticated (401): the credentials of the config were refused"
        hint = f"docker login {host}"
        raise AuthenticationError(
            subject or host, cause, hint=hint, status=401, host=host, repo=repo
        )

    return hook


def two_destinations(world: World) -> None:
    """Let each image go to a second registry too."""
    world.stores.stores[OTHER] = MemoryStore(OTHER)
    world.rules = f"- {{source: {OLD}/team/api, destination: [{NEW}/team/api, {OTHER}/team/api]}}"


async def test_refused_login_stops_its_registry_only(world: World) -> None:
    """It is asked once, its other rows say so at once, and the other registry is finished."""
    two_destinations(world)
    seed(world, 6)
    plan = await world.plan()
    world.new.hooks = dict.fromkeys(("head", "blob_exists", "start_upload"), refused(NEW))
    result = await world.apply(plan, parallelism=1)
    assert result.counts == {Outcome.APPLIED: 6, Outcome.FAILED: 1, Outcome.CANCELLED: 5}
    assert {host for host, *_ in (str(r.address).split("/") for r in result.unfinished)} == {NEW}
    assert world.new.calls["start_upload"] == 2  # the blobs of the first image
    assert len(world.stores.stores[OTHER].tags) == 6
    (refusal,) = result.refusals
    assert (refusal.name, len(refusal.rows)) == (NEW, 6)
    begun = [each for each in result.unfinished if each.outcome is Outcome.CANCELLED]
    for each in begun:
        assert each.error is not None
        assert f"not begun: {NEW}: not authenticated (401)" in each.error.message
    assert exit_code(Applied(plan, result)) == 3
    world.new.hooks.clear()
    again = await world.apply(plan)
    assert exit_code(Applied(plan, again)) == 0
    assert len(world.new.tags) == 6


async def test_refused_login_is_told_once(world: World) -> None:
    """The end names the registry, the cause and the fix once, with as many rows as help."""
    two_destinations(world)
    seed(world, 30)
    plan = await world.plan()
    world.new.hooks = dict.fromkeys(("head", "blob_exists", "start_upload"), refused(NEW))
    result = await world.apply(plan, parallelism=4)
    text = result_text(plan, result, resume="imgmigrate apply plan.out")
    assert f"! {NEW}: no access, 30 rows not done" in text
    assert text.count("were refused") == 1
    assert text.count(f"docker login {NEW}") == 1
    assert "  and 20 more" in text
    assert text.endswith("To go on where this ended:\n  imgmigrate apply plan.out\n")


async def test_refused_login_is_one_failure(world: World) -> None:
    """However many rows of a registry it stops, it counts once towards --max-failures."""
    two_destinations(world)
    seed(world, 6)
    plan = await world.plan()
    world.new.hooks = dict.fromkeys(("head", "blob_exists", "start_upload"), refused(NEW))
    allowed = await world.apply(plan, parallelism=3, max_failures=read_share("1"))
    assert allowed.stopped is None
    assert len(world.stores.stores[OTHER].tags) == 6


async def test_refused_login_ends_a_run_that_fails_fast(world: World) -> None:
    """With --fail-fast it ends the whole run like any failure."""
    two_destinations(world)
    seed(world, 6)
    plan = await world.plan()
    world.new.hooks = dict.fromkeys(("head", "blob_exists", "start_upload"), refused(NEW))
    result = await world.apply(plan, parallelism=1, fail_fast=True)
    assert result.stopped == "`fail_fast`: a row failed"
    assert len(world.stores.stores[OTHER].tags) <= 1


async def test_private_source_without_login_stops_no_other_repository(world: World) -> None:
    """Where there are no credentials at all, the next repository may well be public."""
    world.rules = "\n".join(
        f"- {{source: {OLD}/team/{name}, destination: {NEW}/team/{name}}}"
        for name in ("private", "public")
    )
    for repo in ("private", "public"):
        for tag in ("1", "2"):
            world.seed(tag, f"{repo} {tag}".encode(), repo=f"team/{repo}")
    plan = await world.plan(sizes="never")

    def refuse(repo: str, what: str) -> None:
        if repo == "team/private":
            refused(OLD, f"{OLD}/{repo}@{what}", repo=repo)(repo, what)

    world.old.hooks["open_blob"] = refuse
    result = await world.apply(plan, parallelism=1)
    assert {repo for repo, _ in world.new.tags} == {"team/public"}
    (refusal,) = result.refusals
    assert (refusal.name, len(refusal.rows)) == (f"{OLD}/team/private", 2)


async def test_another_login_of_the_same_registry_goes_on(world: World) -> None:
    """A path with credentials of its own is not stopped by another's refusal."""
    world.extra = (
        f'registries: {{"{NEW}/team/a": {{username: a, password: pass-a}}, '
        f'"{NEW}/team/b": {{username: b, password: pass-b}}}}\n'
    )
    world.rules = "\n".join(
        f"- {{source: {OLD}/team/{name}, destination: {NEW}/team/{name}}}" for name in "ab"
    )
    for repo in "ab":
        for tag in ("1", "2"):
            world.seed(tag, f"{repo} {tag}".encode(), repo=f"team/{repo}")
    plan = await world.plan()

    def refuse(repo: str, what: str) -> None:
        if repo == "team/a":
            refused(NEW)(repo, what)

    world.new.hooks = dict.fromkeys(("head", "blob_exists", "start_upload"), refuse)
    result = await world.apply(plan, parallelism=1)
    assert {repo for repo, _ in world.new.tags} == {"team/b"}
    assert result.counts == {Outcome.APPLIED: 2, Outcome.FAILED: 1, Outcome.CANCELLED: 1}


async def test_time_that_is_over_cuts_the_run_short(world: World) -> None:
    """What is open is aborted, each row left says why, exit 3, and the same plan goes on."""
    seed(world, 5)
    plan, clock = await world.plan(), ManualClock()
    world.new.hooks["write"] = lambda *_: asyncio.Event().wait()
    running = asyncio.create_task(timed(world, plan, clock, 3600))
    await clock.asleep.wait()
    await settle()
    await clock.advance(3599)
    assert not running.done()
    await clock.advance(1)
    result = await running
    assert result.stopped == "`max_duration`: the time is over"
    assert result.counts == {Outcome.CANCELLED: 5}
    assert world.new.aborted
    assert not world.new.tags
    assert exit_code(Applied(plan, result)) == 3
    world.new.hooks.clear()
    assert exit_code(Applied(plan, await timed(world, plan, ManualClock(), 3600))) == 0
    assert len(world.new.tags) == 5


async def test_no_time_at_all_begins_nothing(world: World) -> None:
    """Where planning has taken all of it, no registry is asked any more."""
    seed(world, 3)
    plan = await world.plan()
    world.new.calls.clear()
    result = await timed(world, plan, ManualClock(), 0)
    assert result.counts == {Outcome.CANCELLED: 3}
    assert not world.new.calls


@pytest.mark.parametrize("most", [None, 3600.0])
async def test_limits_change_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch, most: float | None
) -> None:
    """A state that cannot be written any more ends a run in the same words, timed or not."""
    seed(world, 2)
    plan = await world.plan()

    async def full(*_: object) -> None:
        raise StateError("journal: no space left")

    monkeypatch.setattr(Writer, "record", full)
    with pytest.raises(StateUnsaved, match="no space left"):
        await world.apply(plan, max_duration=most)
    assert len(asyncio.all_tasks()) == 1


async def timed(world: World, plan: Plan, clock: ManualClock, most: float) -> RunFinished:
    """Apply a plan within so many seconds of a clock."""
    options = ApplyOptions(max_duration=most)
    return await apply_plan(world.workspace, plan, options, clock=clock)


def aged(plan: Plan, hours: float) -> Plan:
    """The same plan, made so long ago."""
    made = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
    update = {"created_at": made.replace("+00:00", "Z")}
    return Plan.of(plan.header.model_copy(update=update), plan.changes)


async def test_old_plan_is_not_begun(world: World) -> None:
    """Beyond --max-plan-age nothing is asked or written, and the way on is told."""
    seed(world, 2)
    plan = aged(await world.plan(), hours=25)
    world.new.calls.clear()
    with pytest.raises(PlanRefused) as caught:
        await world.apply(plan, max_plan_age=24 * 3600)
    assert f"plan {plan.plan_id}: made at {plan.header.created_at}" in caught.value.message
    assert "`max_plan_age` allows 1 day, 0:00:00" in caught.value.message
    assert caught.value.hint == "plan again: imgmigrate plan `out` plan.out"
    assert not world.new.calls
    assert world.state.runs == ()


async def test_config_guards_against_old_plans(world: World) -> None:
    """`max_plan_age` holds for every apply, unless the command line says another age."""
    seed(world, 1)
    world.extra = "max_plan_age: 24h\n"
    plan = aged(await world.plan(), hours=25)
    with pytest.raises(PlanRefused, match=r"max_plan_age in imgmigrate\.yaml allows 1 day"):
        await world.apply(plan)
    assert (await world.apply(plan, max_plan_age=26 * 3600)).counts == {Outcome.APPLIED: 1}


@pytest.mark.parametrize("hours", [-0.05, 0.0, 23.0])
async def test_young_plan_is_begun(world: World, hours: float) -> None:
    """Up to that age, and where clocks differ, a plan is applied."""
    seed(world, 1)
    result = await world.apply(aged(await world.plan(), hours), max_plan_age=24 * 3600)
    assert result.counts == {Outcome.APPLIED: 1}


async def test_old_plan_that_was_begun_goes_on(world: World) -> None:
    """Its age counts when a run begins, never when it is resumed."""
    seed(world, 2)
    plan = aged(await world.plan(), hours=25)
    fail(world, 0)
    assert (await world.apply(plan, parallelism=1)).counts[Outcome.FAILED] == 1
    world.new.hooks.clear()
    result = await world.apply(plan, max_plan_age=24 * 3600)
    assert result.counts == {Outcome.ALREADY: 1, Outcome.APPLIED: 1}


async def test_strict_refusal_names_rows_runs_and_the_next_command(world: World) -> None:
    """The first ten addresses with run, plan and time, how many more, and what to type."""
    seed(world, 12)
    first = await world.plan()
    for number in range(12):
        world.seed(f"t{number:02}", f"moved {number}".encode())
    second = await world.plan()
    result = await world.apply(second)
    with pytest.raises(PlanRefused) as caught:
        await world.apply(first, strict=True, replan="imgmigrate plan -c x.yaml --out plan.out")
    head, *lines = caught.value.message.split("\n")
    assert head == f"plan {first.plan_id}: `strict`: 12 rows are no longer true"
    assert len(lines) == 11
    assert lines[-1] == "and 2 more"
    for number, line in enumerate(lines[:-1]):
        assert line.startswith(f"{API}:t{number:02}: the state moved since the plan (no record)")
        assert f"run {result.run} recorded " in line
        assert f"(plan {second.plan_id})" in line
    assert caught.value.hint == "plan again: imgmigrate plan -c x.yaml --out plan.out"


async def test_strict_lets_a_plan_through_that_another_has_fulfilled(world: World) -> None:
    """Rows that are as planned are done, whoever did them."""
    seed(world, 3)
    first = await world.plan()
    await world.apply(await world.plan(target=(f"{API}:t00",)))
    result = await world.apply(first, strict=True)
    assert result.counts == {Outcome.ALREADY: 1, Outcome.APPLIED: 2}
