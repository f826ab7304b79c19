"""Applying as a whole: bound row by row to the state, resumable, recorded as it lands."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.apply import ApplyOptions, apply_plan
from imgmigrate.errors import PlanRefused, StateError, StateUnsaved
from imgmigrate.events import NoSink, Outcome
from imgmigrate.plan import Plan
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import Status
from imgmigrate.state.writer import Writer
from tests.fakes.memory import image
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.state.record import ImageRecord

API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_every_landed_image_is_recorded(world: World) -> None:
    """A record holds source, digests, run and plan of what was written."""
    digest = world.seed("1.0")
    plan = await world.plan()
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 1}
    record = world.state.records[f"{API}:1.0"]
    assert (record.digest, record.source.digest) == (digest, digest)
    assert str(record.source.reference) == f"{OLD}/team/api:1.0"
    assert (record.plan_id, record.run) == (plan.plan_id, finished.run)
    assert record.is_live
    assert world.state.claims == {}


async def test_applying_twice_is_a_no_op(world: World) -> None:
    """The same plan again finds everything done by itself and asks no registry."""
    world.seed("1.0")
    plan = await world.plan()
    await world.apply(plan)
    world.new.calls.clear()
    again = await world.apply(plan)
    assert again.counts == {Outcome.ALREADY: 1}
    assert not world.new.calls
    assert world.new.tags == {("team/api", "1.0"): plan.changes[0].after}


async def test_update_keeps_the_previous_digest(world: World) -> None:
    """A record of an update names what was there before."""
    old = world.seed("1.0")
    await world.migrate()
    new = world.seed("1.0", b"newer")
    await world.migrate()
    record = world.state.records[f"{API}:1.0"]
    assert (record.digest, record.previous) == (new, old)


async def test_adopt_records_without_moving_a_byte(world: World) -> None:
    """What is there already becomes ours by a record alone."""
    digest = world.seed("1.0")
    world.new.tags["team/api", "1.0"] = digest
    world.new.manifests["team/api", digest] = world.old.manifests["team/api", digest]
    finished = await world.migrate()
    assert (finished.counts, finished.moved) == ({Outcome.APPLIED: 1}, 0)
    assert world.new.calls["put_manifest"] == world.new.calls["start_upload"] == 0
    assert world.state.records[f"{API}:1.0"].digest == digest


async def test_forget_leaves_a_tombstone_and_the_image(world: World) -> None:
    """A forgotten image stays at the destination and its digest stays ours."""
    digest = world.seed("1.0")
    world.seed("2.0")
    await world.migrate()
    world.rules = f"- {{source: '{OLD}/team/api:2.0', destination: {NEW}/team/api}}"
    await world.migrate()
    assert world.state.records[f"{API}:1.0"].is_live
    finished = await world.apply(await world.plan(forget=True))
    assert finished.counts == {Outcome.APPLIED: 1}
    record = world.state.records[f"{API}:1.0"]
    assert (record.status, record.digest) == (Status.FORGOTTEN, digest)
    assert world.new.tags["team/api", "1.0"] == digest
    assert world.state.owns(record.address, digest)
    assert (await world.plan()).changes == ()


async def test_conflicts_and_errors_are_counted_and_touch_nothing(world: World) -> None:
    """Rows that cannot be done are unfinished; the others are done."""
    world.seed("1.0")
    world.seed("2.0")
    alien, blobs = image(b"alien")
    world.new.seed("team/api", "2.0", alien, blobs)
    world.rules = f"- {{source: '{OLD}/team/api:1.0,2.0,9.9', destination: {NEW}/team/api}}"
    finished = await world.migrate()
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1, Outcome.FAILED: 1}
    assert [str(receipt.address) for receipt in finished.unfinished] == [
        f"{API}:2.0", f"{API}:9.9",
    ]  # fmt: skip
    assert world.new.tags["team/api", "2.0"] == alien.digest


async def test_destination_moved_since_the_plan_is_a_conflict_for_that_image(
    world: World,
) -> None:
    """A tag that changed between plan and apply is left alone, its neighbours are done."""
    world.seed("1.0")
    world.seed("2.0")
    plan = await world.plan()
    alien, blobs = image(b"alien")
    world.new.seed("team/api", "2.0", alien, blobs)
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1}
    assert world.new.tags["team/api", "2.0"] == alien.digest
    assert world.state.claims == {}


async def test_plans_about_different_images_do_not_disturb_each_other(world: World) -> None:
    """Two plans from the same state are both applied where they do not overlap."""
    for tag in ("1.0", "2.0"):
        world.seed(tag)
    one = await world.plan(target=(f"{API}:1.0",))
    two = await world.plan(target=(f"{API}:2.0",))
    assert (await world.apply(one)).counts == {Outcome.APPLIED: 1}
    assert (await world.apply(two)).counts == {Outcome.APPLIED: 1}
    assert len(world.state.records) == 2


async def test_row_whose_record_moved_since_is_stale(world: World) -> None:
    """A row that a later run overtook is skipped as a conflict that names that run."""
    world.seed("1.0")
    await world.migrate()
    world.seed("1.0", b"second")
    stale = await world.plan()
    world.seed("1.0", b"third")
    newer = await world.migrate()
    finished = await world.apply(stale)
    assert finished.counts == {Outcome.CONFLICT: 1}
    assert newer.run in str(finished.unfinished[0].error)


async def test_row_that_another_run_already_did_is_done(world: World) -> None:
    """A newer record that shows the row's result is as good as our own."""
    world.seed("1.0")
    await world.migrate()
    world.seed("1.0", b"second")
    one, two = await world.plan(), await world.plan(sizes="never")
    assert one.plan_id != two.plan_id
    await world.apply(one)
    assert (await world.apply(two)).counts == {Outcome.ALREADY: 1}


async def test_record_erased_since_the_plan_is_stale(world: World) -> None:
    """A row planned from a record that is gone no longer holds."""
    world.seed("1.0")
    await world.migrate()
    world.seed("1.0", b"second")
    plan = await world.plan()
    async with LocalState(world.config.state).writer(command="test") as writer:
        await writer.remove([plan.changes[0].address])
    assert (await world.apply(plan)).counts == {Outcome.CONFLICT: 1}


async def test_strict_refuses_the_whole_plan_before_anything(world: World) -> None:
    """--strict turns one stale row into a refusal, and nothing is written."""
    world.seed("1.0")
    await world.migrate()
    world.seed("1.0", b"second")
    stale = await world.plan()
    world.seed("1.0", b"third")
    await world.migrate()
    before = world.state
    with pytest.raises(PlanRefused):
        await world.apply(stale, strict=True)
    assert world.state.head == before.head


async def test_plan_of_another_lineage_is_refused(world: World, tmp_path: Path) -> None:
    """A plan from another state is refused, also where there is no state at all."""
    world.seed("1.0")
    await world.migrate()
    plan = await world.plan()
    for name in ("elsewhere", "empty"):
        config = replace(world.config, state=tmp_path / name)
        if name == "elsewhere":
            async with LocalState(config.state).writer(command="test") as writer:
                await writer.begin("other", "other", [])
        with pytest.raises(PlanRefused, match="lineage"):
            await apply_plan(world.over(config), plan)


async def test_plan_from_a_newer_or_a_rewritten_state_is_refused(world: World) -> None:
    """A state that was restored from an older copy, or replaced, refuses later plans."""
    world.seed("1.0")
    await world.migrate()
    world.seed("2.0")
    plan = await world.plan()

    def bound(**changes: object) -> Plan:
        header = plan.header
        state = header.state.model_copy(update=changes)
        return Plan.of(header.model_copy(update={"state": state}), plan.changes)

    with pytest.raises(PlanRefused, match="newer state"):
        await world.apply(bound(sequence=plan.header.state.sequence + 1))
    with pytest.raises(PlanRefused, match="history"):
        await world.apply(bound(head="0" * 32))
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}


async def test_first_plan_fits_a_state_that_was_made_since_row_by_row(world: World) -> None:
    """A plan without lineage is applied where no record exists, and stale where one does."""
    world.seed("1.0")
    world.seed("2.0")
    plan = await world.plan()
    await world.apply(await world.plan(target=(f"{API}:1.0",)))
    world.seed("1.0", b"moved meanwhile")
    await world.migrate()
    counts = {Outcome.CONFLICT: 1, Outcome.ALREADY: 1}
    assert (await world.apply(plan)).counts == counts


async def test_lost_record_is_healed_by_the_claim(world: World) -> None:
    """A tag that was written and whose record a crash lost stays ours."""
    first = world.seed("1.0")
    plan = await world.plan()
    async with LocalState(world.config.state).writer(command="test") as writer:
        from imgmigrate.state.record import Claim

        await writer.begin("r", plan.plan_id, [Claim(address=plan.changes[0].address, after=first)])
    world.new.tags["team/api", "1.0"] = first
    world.new.manifests["team/api", first] = world.old.manifests["team/api", first]
    world.seed("1.0", b"moved")
    assert rows(await world.plan()) == {f"{API}:1.0": ("update", "source_moved")}
    finished = await world.apply(plan)
    assert (finished.counts, finished.moved) == ({Outcome.ALREADY: 1}, 0)
    assert world.state.records[f"{API}:1.0"].digest == first


async def test_cancelled_apply_is_finished_by_the_same_plan(world: World) -> None:
    """Whatever moment it is stopped at, the same plan finishes, and nothing recorded moves."""
    for number in range(6):
        world.seed(f"t{number}")
    plan = await world.plan()
    for stop_at in (1, 2, 1, 3):
        reached = asyncio.Event()
        world.new.hooks["put_manifest"] = _stop_at(stop_at, reached)
        task = asyncio.ensure_future(world.apply(plan, parallelism=1))
        await asyncio.wait(
            [task, waiting := asyncio.ensure_future(reached.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert waiting.done(), task
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    world.new.hooks.clear()
    recorded = set(world.state.records)
    world.new.log.clear()
    finished = await world.apply(plan)
    assert sum(finished.counts.values()) == 6
    assert all(outcome.is_done for outcome in finished.counts)
    touched = {f"{NEW}/{repo}:{ref}" for verb, repo, ref in world.new.log if verb == "put_manifest"}
    assert touched.isdisjoint(recorded)
    assert len(world.new.tags) == 6


def _stop_at(call: int, reached: asyncio.Event) -> Callable[[str, str], object]:
    """Make a hook that lets calls pass until the given one, which says so and never returns."""
    calls = 0

    def hook(repo: str, ref: str) -> object:
        nonlocal calls
        calls += 1
        if calls < call:
            return None
        reached.set()
        return asyncio.Event().wait()

    return hook


async def test_state_that_cannot_be_written_stops_before_the_first_tag(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the claims cannot be made durable, nothing is written anywhere."""
    world.seed("1.0")
    plan = await world.plan()

    async def full(self: Writer, *_: object, **__: object) -> None:
        raise StateError("state journal.jsonl: no space left on device")

    monkeypatch.setattr(Writer, "begin", full)
    with pytest.raises(StateError) as caught:
        await world.apply(plan)
    assert caught.value.exit_code == 1
    assert not world.new.tags


async def test_record_that_cannot_be_written_names_a_recovery_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that landed but cannot be recorded ends the run with exit 8 and its record saved."""
    for number in range(4):
        world.seed(f"t{number}")
    plan = await world.plan()
    real, done = Writer.record, 0

    async def fills_up(self: Writer, record: ImageRecord) -> ImageRecord:
        nonlocal done
        done += 1
        if done > 2:
            raise StateError("state journal.jsonl: no space left on device")
        return await real(self, record)

    monkeypatch.setattr(Writer, "record", fills_up)
    with pytest.raises(StateUnsaved) as caught:
        await world.apply(plan, parallelism=1)
    assert caught.value.exit_code == 8
    (saved,) = world.folder.glob("imgmigrate-recovery-*.jsonl")
    assert str(saved) in str(caught.value)
    assert "t2" in saved.read_text()
    monkeypatch.undo()
    assert len(world.state.records) == 2


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_conflict_that_cannot_be_noted_is_not_called_written(
    world: World, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    """Nothing has to be recovered; the code says whether the run had written before."""
    for number in range(2):
        world.seed(f"t{number}")
    plan = await world.plan()
    theirs = "t0" if is_first else "t1"
    world.new.seed("team/api", theirs, *image(b"theirs"))

    async def full(self: Writer, *_: object) -> None:
        raise StateError("state journal.jsonl: no space left on device")

    monkeypatch.setattr(Writer, "conflict", full)
    with pytest.raises(StateError) as caught:
        await world.apply(plan, parallelism=1)
    assert caught.value.exit_code == (1 if is_first else 8)
    assert "was written" not in str(caught.value).replace("what was written before", "")
    assert not list(world.folder.glob("imgmigrate-recovery-*"))


async def test_a_source_that_lacks_a_blob_says_what_to_do(world: World) -> None:
    """The error names side and blob, and the hint the way out."""
    world.seed("1.0")
    blob = next(iter(world.old.blobs))
    del world.old.blobs[blob]
    (receipt,) = (await world.apply(await world.plan())).unfinished
    assert receipt.error is not None
    assert str(receipt.error).startswith(f"source {OLD}/team/api@{blob[1]}: not found (404)")
    assert receipt.error.hint == "the source image lacks it; push it there again"


async def test_stale_state_is_never_a_reason_to_overwrite(world: World) -> None:
    """An empty state and a differing destination conflict; nothing is overwritten."""
    world.seed("1.0")
    await world.migrate()
    world.seed("1.0", b"second")
    fresh = replace(world.config, state=world.folder / "lost")
    from imgmigrate.planning.planner import make_plan

    plan = await make_plan(world.over(fresh), sink=NoSink())
    assert rows(plan) == {f"{API}:1.0": ("conflict", "foreign")}
    finished = await apply_plan(world.over(fresh), plan, ApplyOptions())
    assert finished.counts == {Outcome.CONFLICT: 1}
    assert LocalState(fresh.state).read().records == StateInMemory().records
