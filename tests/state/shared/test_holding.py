"""One process at a time holds a shared state, and knows when it does not any more."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateError, StateLocked, StateLost
from imgmigrate.state.shared.store import SharedState
from tests.fakes.depot import Bucket, MemoryDepot
from tests.state.samples import NOON, address, claim, draft
from tests.support.clock import ManualClock, settle

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.state.view import View

LEASE = 60.0


class Machine:
    """A machine with its own clocks and disk, that runs one command after another."""

    def __init__(self, bucket: Bucket, disk: Path | None = None) -> None:
        self.bucket, self.disk = bucket, disk
        self.clock = ManualClock()
        self.boottime = 0.0
        self.awake = asyncio.Event()
        self.awake.set()

    @property
    def state(self) -> SharedState:
        """The state, opened anew."""
        return SharedState(
            MemoryDepot(self.bucket, awake=self.awake),
            lease=LEASE,
            spools=self.disk,
            clock=lambda: NOON,
            waits=self.clock,
            counts=lambda: self.boottime,
        )

    def sleep(self, seconds: float) -> None:
        """Close the laptop's lid: every clock but the loop's goes on."""
        self.awake.clear()
        self.boottime += seconds

    async def work(self, seconds: float) -> None:
        """Let time go by while the process runs, a second at a time."""
        for _ in range(int(seconds)):
            self.boottime += 1
            await self.clock.advance(1)


def spooled(folder: Path) -> list[bytes]:
    """The lines that wait on a machine's disk; a file begins with the state that they are of."""
    files = (path.read_bytes().splitlines() for path in folder.glob("spool-*.jsonl"))
    return [line for lines in files for line in lines[1:]]


@pytest.fixture
def bucket() -> Bucket:
    """An empty bucket."""
    return Bucket()


async def test_a_holder_that_works_on_keeps_it(bucket: Bucket) -> None:
    """Its word comes often enough, whether lines come or not: nobody takes it over."""
    one, other = Machine(bucket), Machine(bucket)
    async with one.state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        for _ in range(10):
            bucket.now += 30
            await one.work(30)
            await writer.hold()
            with pytest.raises(StateLocked, match="running 'first'"):
                async with other.state.writer(command="second"):
                    pass
    assert not (await other.state.lock()).is_held


async def test_a_large_snapshot_keeps_nobody_from_renewing(bucket: Bucket) -> None:
    """However long it is on its way: the hold stays sure, and plans are saved beside it."""
    one, other = Machine(bucket), Machine(bucket)
    async with one.state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", ())
        await writer.record(draft("a"))
        await writer.end({})
    view = await one.state.load()
    async with one.state.writer(command="imgmigrate state push") as writer:
        bucket.arrives.clear()
        restoring = asyncio.create_task(writer.restore(view))
        await settle()
        for _ in range(10):
            bucket.now += LEASE / 2
            await one.work(LEASE / 2)
            await writer.hold()
            assert (await other.state.lock()).is_held
        saved = await other.state.save_plan(b"plan", plan_id="p" * 16, config=None)
        assert not restoring.done()
        bucket.arrives.set()
        await restoring
        await writer.hold()
    state = await other.state.look()
    assert state.live_count == 1
    assert any(name.startswith("snapshot/") for name in bucket.files)
    assert await other.state.read_plan(saved) == b"plan"


async def test_who_lost_the_hold_while_a_snapshot_was_on_its_way_puts_none(
    bucket: Bucket,
) -> None:
    """The state is the other's, whatever arrives later."""
    slow, quick = Machine(bucket), Machine(bucket)

    async def run(view: View) -> None:
        async with slow.state.writer(command="slow") as writer:
            bucket.arrives.clear()
            restoring = asyncio.create_task(writer.restore(view))
            await settle()
            bucket.now += LEASE
            slow.boottime += LEASE
            async with quick.state.writer(command="quick") as second:
                await second.record(draft("b"))
            bucket.arrives.set()
            await restoring

    async with quick.state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", ())
        await writer.record(draft("a"))
    with pytest.raises(StateLost):
        await run(await quick.state.load())
    assert (await quick.state.look()).live_count == 2


async def test_lines_that_are_added_while_a_snapshot_is_on_its_way_stay(bucket: Bucket) -> None:
    """It does not have them, so it takes the place of nothing."""
    machine = Machine(bucket)
    async with machine.state.writer(command="first") as writer:
        await writer.record(draft("a"))
    view = await machine.state.load()
    async with machine.state.writer(command="second") as writer:
        bucket.arrives.clear()
        restoring = asyncio.create_task(writer._journal.replace(view))
        await settle()
        await writer.record(draft("b"))
        await writer.sync()
        bucket.arrives.set()
        with pytest.raises(StateError, match="lines were added to it meanwhile"):
            await restoring
    assert (await machine.state.look()).live_count == 2


async def test_a_holder_that_is_gone_is_followed(bucket: Bucket) -> None:
    """Once its lease has run out by the place's clock; its claims are there, and its fence."""
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(Machine(bucket).state.writer(command="first"))
        await writer.begin("run-1", "plan", [claim("a")])
        bucket.now += LEASE - 1
        with pytest.raises(StateLocked, match=r"silent for 60 s is taken over.*lock `break`"):
            async with Machine(bucket).state.writer(command="second"):
                pass
        bucket.now += 1
        assert not (await Machine(bucket).state.lock()).is_held
        async with Machine(bucket).state.writer(command="second") as second:
            assert second.state.owns(address("a"), draft("a").digest)
            await second.begin("run-2", "plan", ())
            await second.end({})
    assert [run.run for run in (await Machine(bucket).state.look()).runs] == ["run-1", "run-2"]


async def test_a_holder_that_slept_past_its_lease_writes_nothing(bucket: Bucket) -> None:
    """Not a line and not a tag: the other's history is as if it had never woken."""
    slow, quick = Machine(bucket), Machine(bucket)

    async def run() -> None:
        async with slow.state.writer(command="slow") as writer:
            await writer.begin("run-1", "plan", [claim("a")])
            await writer.record(draft("a"))
            bucket.now += LEASE
            slow.sleep(LEASE)
            async with quick.state.writer(command="quick") as second:
                await second.begin("run-2", "plan", [])
                await second.record(draft("b"))
                await second.sync()
                slow.awake.set()
                with pytest.raises(StateLost):
                    await writer.hold()
                with pytest.raises(StateLost):
                    await writer.record(draft("c"))
                await writer.sync()

    with pytest.raises(StateLost, match=r"held by process .* running 'quick'"):
        await run()
    state = await quick.state.look()
    assert [record.address for record in state.every()] == [address("b")]


async def test_a_lease_that_ran_out_and_nobody_wanted_goes_on(bucket: Bucket) -> None:
    """The hold is asked for again before the next tag, and is sure then."""
    machine = Machine(bucket)
    async with machine.state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        swaps = bucket.swaps
        await writer.hold()
        assert bucket.swaps == swaps
        bucket.now += 10 * LEASE
        machine.sleep(10 * LEASE)
        machine.awake.set()
        await writer.hold()
        assert bucket.swaps == swaps + 1
        await writer.record(draft("a"))
        await writer.end({})
    assert (await machine.state.look()).live_count == 1


async def test_where_the_place_has_no_clock_the_waiter_counts(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder is silent when the head does not change for its whole lease, as the waiter saw."""
    bucket.has_clock = False
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(Machine(bucket).state.writer(command="first"))
        await writer.begin("run-1", "plan", ())
        waiter = Machine(bucket)
        waiter.clock = ManualClock(hurried=True)
        monkeypatch.setattr("imgmigrate.state.shared.lease.monotonic", waiter.clock.time)
        assert (await waiter.state.lock()).is_held
        with pytest.raises(StateLocked):
            async with waiter.state.writer(command="second", lock_timeout=LEASE - 1):
                pass
        began = waiter.clock.time()
        async with waiter.state.writer(command="second", lock_timeout=2 * LEASE):
            assert waiter.clock.time() - began >= LEASE


async def test_a_lock_is_broken_with_a_fence(bucket: Bucket) -> None:
    """Whoever was thought gone and is not can write no more."""

    async def run() -> None:
        async with Machine(bucket).state.writer(command="first") as writer:
            await writer.begin("run-1", "plan", ())
            broken = await Machine(bucket).state.break_lock()
            assert broken.holder is not None
            assert broken.holder.command == "first"
            await writer.record(draft("a"))
            await writer.sync()

    with pytest.raises(StateLost, match="it was freed"):
        await run()
    assert not (await Machine(bucket).state.break_lock()).is_held


async def test_two_that_want_it_at_once_do_not_both_get_it(bucket: Bucket) -> None:
    """The swap decides; the other is told of the one that has it, and the place is proven first."""
    machines = [Machine(bucket) for _ in range(4)]
    async with AsyncExitStack() as stack:
        got = 0
        for machine in machines:
            try:
                await stack.enter_async_context(machine.state.writer(command="one"))
            except StateLocked:
                continue
            got += 1
        assert got == 1
    assert bucket.proofs == 1


async def test_an_answer_that_was_lost_is_no_other_holder(bucket: Bucket) -> None:
    """The head that is there is our own: the line is there once, and the run goes on."""
    machine = Machine(bucket)
    async with machine.state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        bucket.mute = 1
        await writer.record(draft("a"))
        syncing = asyncio.create_task(writer.sync())
        await settle()
        await machine.clock.advance(2)
        await syncing
        await writer.end({})
    state = await machine.state.look()
    assert (state.live_count, len(state.runs)) == (1, 1)


async def test_an_answer_that_was_lost_before_a_plan_was_saved(bucket: Bucket) -> None:
    """What is there by then is our own lines and the plan: neither is written twice, or lost."""
    machine = Machine(bucket)
    async with machine.state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim("a"), claim("b")])
        await writer.record(draft("a"))
        bucket.mute = 1
        writing = asyncio.create_task(writer.sync())
        await settle()
        assert not bucket.mute
        saved = await Machine(bucket).state.save_plan(b"plan", plan_id="p" * 16, config=None)
        await machine.work(30)
        await writing
        await writer.record(draft("b"))
        await writer.end({})
    state = await machine.state.look()
    assert (state.live_count, state.runs[-1].done) == (2, 2)
    assert await machine.state.read_plan(saved) == b"plan"
    assert not (await machine.state.lock()).is_held


async def test_a_place_that_is_away_stops_nothing_for_a_while(
    bucket: Bucket, tmp_path: Path
) -> None:
    """Lines wait here; when it is back they are there, and the hold is sure again."""
    machine = Machine(bucket, tmp_path)
    async with machine.state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim(n) for n in range(3)])
        bucket.is_away = True
        for number in range(3):
            await writer.record(draft(number))
            await machine.work(15)
        assert len(spooled(tmp_path)) == 3
        bucket.is_away = False
        await machine.work(15)
        await writer.hold()
        assert not spooled(tmp_path)
        await writer.end({})
    assert (await machine.state.look()).live_count == 3


async def test_a_place_that_stays_away_ends_the_run_and_loses_nothing(
    bucket: Bucket, tmp_path: Path
) -> None:
    """The error names the file; the next run on this machine brings what is in it."""
    machine = Machine(bucket, tmp_path)

    async def run() -> None:
        async with machine.state.writer(command="first") as writer:
            await writer.begin("run-1", "plan", [claim("a"), claim("b")])
            await writer.record(draft("a"))
            bucket.is_away = True
            await writer.record(draft("b"))
            await machine.work(330)
            await writer.record(draft("c"))

    with pytest.raises(StateError, match=r"spool-.*\.jsonl"):
        await run()
    bucket.is_away = False
    bucket.now += LEASE
    async with machine.state.writer(command="second") as writer:
        assert writer.state.live_count == 2
    assert not os.listdir(tmp_path)
    assert (await machine.state.look()).live_count == 2


async def test_what_was_left_behind_never_undoes_what_others_wrote_since(
    bucket: Bucket, tmp_path: Path
) -> None:
    """Only addresses that nobody has recorded anew get what the lines say."""
    machine, other = Machine(bucket, tmp_path), Machine(bucket)

    async def run() -> None:
        async with machine.state.writer(command="first") as writer:
            await writer.begin("run-1", "plan", [claim("a"), claim("b")])
            bucket.is_away = True
            await writer.record(draft("a"))
            await writer.record(draft("b"))
            await machine.work(330)
            await writer.record(draft("c"))

    with pytest.raises(StateError):
        await run()
    bucket.is_away = False
    bucket.now += LEASE
    async with other.state.writer(command="other") as writer:
        await writer.begin("run-2", "plan", [claim("a", "2")])
        await writer.record(draft("a", "2"))
        await writer.end({})
    async with machine.state.writer(command="second"):
        pass
    state = await machine.state.look()
    found = {str(record.address.tag): record.digest for record in state.every()}
    assert found == {"a": draft("a", "2").digest, "b": draft("b").digest}


async def left_behind(machine: Machine, bucket: Bucket) -> None:
    """A run whose last records did not reach the place."""

    async def run() -> None:
        async with machine.state.writer(command="first") as writer:
            await writer.begin("run-1", "plan", [claim("a")])
            bucket.is_away = True
            await writer.record(draft("a"))
            await machine.work(330)
            await writer.record(draft("b"))

    with pytest.raises(StateError):
        await run()
    bucket.is_away = False
    bucket.now += LEASE


async def test_what_was_left_behind_is_of_one_state_only(bucket: Bucket, tmp_path: Path) -> None:
    """Another state in the same place gets none of it, and it is not lost."""
    machine = Machine(bucket, tmp_path)
    await left_behind(machine, bucket)
    bucket.files.clear()
    bucket.head = None
    async with machine.state.writer(command="second") as writer:
        await writer.begin("run-2", "plan", ())
        await writer.end({})
    assert (await machine.state.look()).record_count == 0
    (kept,) = await asyncio.to_thread(lambda: list(tmp_path.glob("*.other")))
    assert b"team/app:a" in kept.read_bytes()


async def test_what_is_there_already_leaves_the_disk(bucket: Bucket, tmp_path: Path) -> None:
    """A file whose lines all arrived would break the chain of the next run's."""
    machine = Machine(bucket, tmp_path)
    await left_behind(machine, bucket)
    (spool,) = await asyncio.to_thread(lambda: list(tmp_path.glob("spool-*.jsonl")))
    lines = spool.read_bytes()
    async with machine.state.writer(command="second"):
        assert not spool.exists()
    spool.write_bytes(lines)
    async with machine.state.writer(command="third"):
        assert not spool.exists()
    assert (await machine.state.look()).live_count == 1
