"""Ending a run before its end: nothing new begins, all is answered, the same plan goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.cli.exit import Applied, exit_code
from imgmigrate.errors import QuotaExhausted
from imgmigrate.events import BlobFinished, ImageStarted, Outcome, Receipt
from tests.applying.support import NEW, copy, make_engine, stores
from tests.fakes.memory import image
from tests.support.clock import settle
from tests.support.world import Recorder, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.applying.engine.engine import Engine
    from imgmigrate.plan import Change
    from tests.fakes.memory import MemoryStore

EXHAUSTED = "its pull limit (100 in 6 h) is used up"


def used_up() -> QuotaExhausted:
    return QuotaExhausted("docker.io", EXHAUSTED, hint="go on after 20:05 UTC")


def seed(old: MemoryStore, count: int) -> list[Change]:
    """Put images into the old registry, the first the largest, and plan to copy them."""
    changes = []
    for number in range(count):
        manifest, blobs = image(f"layer {number}".encode())
        digest = old.seed("r", f"t{number}", manifest, blobs)
        changes.append(copy("r", f"t{number}", digest, size=1000 - number))
    return changes


async def all_of(engine: Engine, changes: list[Change]) -> dict[str, Receipt]:
    """Run to the end and return the receipts by tag."""
    receipts = {}
    async with engine.run(changes) as stream:
        async for receipt in stream:
            receipts[str(receipt.address.tag)] = receipt
    return receipts


async def test_stop_lets_open_images_end_and_begins_no_new_one(tmp_path: Path) -> None:
    """What is open is finished; every other row has a receipt that says why it is not done."""
    found, old, new = stores()
    changes, sink = seed(old, 9), Recorder()
    engine = make_engine(found, tmp_path, parallelism=2, sink=sink)
    new.hooks["start_upload"] = lambda *_: engine.stop("the night is over", hint="go on tomorrow")
    receipts = await all_of(engine, changes)
    assert engine.stopped == "the night is over"
    outcomes = {tag: receipt.outcome for tag, receipt in receipts.items()}
    assert outcomes == {
        f"t{number}": Outcome.APPLIED if number in (0, 8) else Outcome.CANCELLED
        for number in range(9)
    }
    error = receipts["t7"].error
    assert error is not None
    assert str(error) == f"{NEW}/r:t7: not reached: the night is over; go on tomorrow"
    assert sum(isinstance(event, ImageStarted) for event in sink.events) == 2
    assert set(new.tags) == {("r", "t0"), ("r", "t8")}


async def test_stop_now_cuts_open_images_short(tmp_path: Path) -> None:
    """With `now` nothing is waited for, every row is answered, and no stream is left open."""
    found, old, new = stores()
    changes = seed(old, 5)
    engine = make_engine(found, tmp_path, parallelism=2)
    never = asyncio.Event()
    new.hooks["write"] = lambda *_: never.wait()
    running = asyncio.create_task(all_of(engine, changes))
    await settle()
    engine.stop("time is over", now=True)
    receipts = await running
    assert [receipt.outcome for receipt in receipts.values()] == [Outcome.CANCELLED] * 5
    assert not new.tags
    assert new.aborted
    assert not any(old.open_streams.values())


async def test_first_reason_stands(tmp_path: Path) -> None:
    """Whatever comes later, the run ended for what ended it."""
    found, old, _ = stores()
    engine = make_engine(found, tmp_path)
    engine.stop("one")
    engine.stop("two", now=True)
    assert engine.stopped == "one"
    receipts = await all_of(engine, seed(old, 3))
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.CANCELLED}
    assert old.calls.total() == 0


async def test_signal_during_a_stop_still_ends_everything(tmp_path: Path) -> None:
    """A cancellation from outside is no receipt: it travels on and leaves no task behind."""
    found, old, new = stores()
    engine = make_engine(found, tmp_path, parallelism=2)
    new.hooks["write"] = lambda *_: asyncio.Event().wait()
    running = asyncio.create_task(all_of(engine, seed(old, 3)))
    await settle()
    engine.stop("time is over")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(asyncio.all_tasks()) == 1


async def test_used_up_quota_stops_the_run(tmp_path: Path) -> None:
    """Images that need no more of it end well; the others are cancelled, not failed."""
    found, old, new = stores()
    changes, sink = seed(old, 8), Recorder()
    left = 3

    def pull(*_: str) -> None:
        nonlocal left
        if not left:
            raise used_up()
        left -= 1

    old.hooks["manifest"] = pull
    engine = make_engine(found, tmp_path, parallelism=2, sink=sink)
    receipts = await all_of(engine, changes)
    assert engine.stopped == f"docker.io: {EXHAUSTED}"
    outcomes = [receipt.outcome for receipt in receipts.values()]
    assert outcomes.count(Outcome.APPLIED) == 3
    assert outcomes.count(Outcome.CANCELLED) == 5
    assert {error.hint for each in receipts.values() if (error := each.error)} == {
        "go on after 20:05 UTC"
    }
    hows = {event.how for event in sink.events if isinstance(event, BlobFinished)}
    assert "failed" not in hows
    assert len(new.tags) == 3


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two registries in memory, a config, a state on disk."""
    return World(tmp_path)


async def test_stopped_run_is_recorded_and_goes_on(world: World) -> None:
    """What was done is in the state, the exit code is 3, and the same plan does only the rest."""
    for number in range(5):
        world.seed(f"t{number}", f"layer {number}".encode())
    world.old.is_metered = True
    plan = await world.plan()
    left = 2

    def pull(*_: str) -> None:
        nonlocal left
        if not left:
            raise used_up()
        left -= 1

    world.old.hooks["manifest"] = pull
    result = await world.apply(plan, parallelism=1, on_rate_limit="stop")
    assert result.stopped == f"docker.io: {EXHAUSTED}"
    assert result.counts == {Outcome.APPLIED: 2, Outcome.CANCELLED: 3}
    assert len(result.unfinished) == 3
    assert exit_code(Applied(plan, result)) == 3
    assert len(list(world.state.live())) == 2
    left = 99
    again = await world.apply(plan)
    assert again.counts == {Outcome.ALREADY: 2, Outcome.APPLIED: 3}
    assert again.stopped is None
    assert exit_code(Applied(plan, again)) == 0


async def test_plan_with_stop_makes_error_rows(world: World) -> None:
    """Planning does not wait: what would need a pull is an error row with the reason."""
    world.seed("t0")

    def refuse(*_: str) -> None:
        raise used_up()

    world.old.hooks["manifest"] = refuse
    plan = await world.plan(on_rate_limit="stop")
    (row,) = plan.changes
    assert (row.action.value, row.reason) == ("error", "unreadable")
    assert EXHAUSTED in str(row.detail)
