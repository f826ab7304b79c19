"""Signals to the real command: it ends in time, nothing is lost, the same plan goes on.

The moment of a signal is a registry that stands still, never a sleep.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.moves import SECOND, STATE, Move, assert_says, ended, half_done, reach

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.integration

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
by_signal = pytest.mark.parametrize(("number", "code"), SIGNALS, ids=["SIGINT", "SIGTERM"])

# Where an apply can be when it is told to end: side, method, path, and how far into a blob.
MOMENTS: dict[str, tuple[str, str, str, int | None]] = {
    "before the first byte": ("old", "GET", "/blobs/", None),
    "in the middle of a blob": ("old", "GET", "/blobs/", 100),
    "opening an upload": ("new", "POST", "/blobs/uploads/", None),
    "committing a blob": ("new", "PUT", "/blobs/uploads/", None),
    "writing the tag": ("new", "PUT", "/manifests/second", None),
}
# Each moment with one of the signals: they differ in their codes only.
INTERRUPTIONS = [(moment, *SIGNALS[n % 2]) for n, moment in enumerate(MOMENTS)]


@pytest.fixture
async def move(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> Move:
    """One image moved, one waiting."""
    return await half_done(tmp_path, fake_registry, other_fake_registry)


@pytest.mark.parametrize(("moment", "number", "code"), INTERRUPTIONS, ids=MOMENTS)
async def test_an_interrupted_apply_is_finished_by_the_same_plan(
    move: Move, moment: str, number: signal.Signals, code: int
) -> None:
    """What had landed is recorded, the way on is told, and landed images move nothing again."""
    side, method, path, at = MOMENTS[moment]
    plan = await move.plan()
    stall = getattr(move, side).stall(method, path, at=at)
    with move.start("apply", plan.name) as process:
        await reach(process, stall)
        process.send_signal(number)
        ran = await ended(process, code)
    assert_says(ran.err, "a second signal leaves at once", "interrupted: 0 of 1 image done")
    assert_says(ran.err, f"recorded in {STATE}", "to go on: imgmigrate apply plan.out")
    await move.assert_untouched()
    move.old.clear()
    move.new.clear()
    await move.run("apply", plan.name)
    await move.assert_finished()
    await move.run("plan", "--detailed-exitcode", code=0)


@by_signal
@pytest.mark.parametrize("side", ["old", "new"])
async def test_a_signal_ends_the_wait_for_a_registry_that_is_down(
    move: Move, side: str, number: signal.Signals, code: int
) -> None:
    """Nobody is waited for after it, and the same plan finishes when the registry is back."""
    plan = await move.plan()
    registry = getattr(move, side)
    registry.drop("*", ".", times=None)
    with move.start("apply", plan.name) as process:
        assert process.stderr is not None
        while "it is down" not in await asyncio.to_thread(process.stderr.readline):
            assert process.poll() is None
        process.send_signal(number)
        ran = await ended(process, code)
    assert_says(ran.err, "interrupted: 0 of 1 image done", "to go on: imgmigrate apply plan.out")
    registry.clear()
    await move.assert_untouched()
    await move.run("apply", plan.name)
    await move.assert_finished()


async def test_a_tag_that_was_written_unrecorded_is_still_ours(move: Move) -> None:
    """Ended between the tag and its answer: no conflict, the same plan records it, 0 bytes."""
    plan = await move.plan()
    stall = move.new.stall("PUT", "/manifests/second", when="answer")
    with move.start("apply", plan.name) as process:
        await reach(process, stall)
        process.send_signal(signal.SIGTERM)
        await ended(process, 143)
    assert set(move.destination()) == {move.address("first"), move.address("second")}
    assert await move.recorded() == move.before
    move.new.clear()
    move.old.put_image("app", "second", images.image("moved meanwhile"))
    ran = await move.run("plan", "--detailed-exitcode", code=2)
    assert_says(ran.out, "1 to update")
    ran = await move.run("apply", plan.name)
    assert_says(ran.out, "1 already done", "0 B moved")
    await move.assert_finished()


@by_signal
async def test_what_had_landed_before_a_signal_is_recorded(
    move: Move, number: signal.Signals, code: int
) -> None:
    """Of two images one is done and one stands: the state has the first, its bytes stay."""
    move.old.put_image("app", "third", images.image("third"))
    plan = await move.plan()
    stall = move.old.stall("GET", f"/blobs/{list(SECOND.blobs)[1]}")
    with move.start("apply", plan.name, "--json") as process:
        assert process.stdout is not None
        await reach(process, stall)
        while '"apply_complete"' not in await asyncio.to_thread(process.stdout.readline):
            assert process.poll() is None
        process.send_signal(number)
        ran = await ended(process, code)
    last = json.loads(ran.out.splitlines()[-1])
    assert last["summary"] == f"interrupted: 1 of 2 images done and recorded in {STATE}"
    assert last["detail"] == "to go on: imgmigrate apply plan.out"
    assert await move.recorded() == move.destination()
    assert set(move.destination()) == {move.address("first"), move.address("third")}
    move.old.clear()
    sent = {blob: move.new.uploads_of(blob) for blob in images.image("third").blobs}
    await move.run("apply", plan.name)
    assert {blob: move.new.uploads_of(blob) for blob in sent} == sent
    await move.assert_finished(third=images.image("third"))


@by_signal
@pytest.mark.parametrize("path", ["/tags/list", "/manifests/second"])
async def test_an_interrupted_plan_changes_nothing(
    move: Move, path: str, number: signal.Signals, code: int
) -> None:
    """No plan is saved, an older one stays as it is, and it is said that nothing was changed."""
    plan = await move.plan()
    saved = plan.read_bytes()
    stall = move.old.stall("*", path)
    for out in ("plan.out", "other.out"):
        with move.start("plan", "--out", out) as process:
            await reach(process, stall)
            process.send_signal(number)
            ran = await ended(process, code)
        assert_says(ran.err, f"interrupted by {number.name}", "nothing was changed")
        stall = move.old.stall("*", path)
    assert plan.read_bytes() == saved
    assert sorted(path.name for path in move.folder.glob("*.out*")) == ["plan.out"]
    await move.assert_untouched()


@by_signal
async def test_an_apply_interrupted_while_planning_has_changed_nothing(
    move: Move, number: signal.Signals, code: int
) -> None:
    """An apply that plans for itself says so when it is ended before its plan is made."""
    stall = move.old.stall("GET", "/tags/list")
    with move.start("apply", "--auto-approve") as process:
        await reach(process, stall)
        process.send_signal(number)
        ran = await ended(process, code)
    assert_says(ran.err, f"interrupted by {number.name} while planning", "nothing was changed")
    await move.assert_untouched()


async def test_an_apply_without_a_plan_is_resumed_by_itself(move: Move) -> None:
    """The command that is told for going on is the one that was typed, options included."""
    stall = move.new.stall("PUT", "/manifests/second")
    with move.start("apply", "--auto-approve", "--config", "imgmigrate.yaml") as process:
        await reach(process, stall)
        process.send_signal(signal.SIGINT)
        ran = await ended(process, 130)
    typed = "apply --config imgmigrate.yaml --auto-approve"
    assert_says(ran.err, f"to go on: imgmigrate {typed}")
    move.new.clear()
    await move.run(*typed.split())
    await move.assert_finished()


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGTERM, 130),
    ],
    ids=["INT INT", "TERM TERM", "INT TERM"],
)
async def test_a_second_signal_leaves_at_once(
    move: Move, first: signal.Signals, second: signal.Signals, code: int
) -> None:
    """Also while the first one's cleaning up hangs; the state is consistent all the same."""
    plan = await move.plan()
    cleaning = move.new.stall("DELETE", "/blobs/uploads/")
    stall = move.old.stall("GET", "/blobs/", at=100)
    with move.start("apply", plan.name) as process:
        await reach(process, stall)
        process.send_signal(first)
        await reach(process, cleaning)
        process.send_signal(second)
        await ended(process, code)
    await move.assert_untouched()
    move.old.clear()
    move.new.clear()
    await move.run("apply", plan.name)
    await move.assert_finished()
