"""A lost state is rebuilt by one command, and a run is watched from another terminal."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.moves import STATE, Move, assert_says, half_done, reach

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.integration


@pytest.fixture
async def move(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> Move:
    """One image moved, one waiting."""
    return await half_done(tmp_path, fake_registry, other_fake_registry)


async def test_adopt_rebuilds_a_lost_state(move: Move) -> None:
    """With everything copied and no state, `adopt '**'` only looks; then nothing is to do."""
    await move.run("apply", "--auto-approve")
    await move.assert_finished()
    shutil.rmtree(move.folder / STATE)
    seen = len(move.new.requests)
    ran = await move.run("adopt", "**")
    assert {request.method for request in move.new.requests[seen:]} <= {"GET", "HEAD"}
    assert_says(ran.out, "already there (2): recorded", "2 adopted; 0 B moved")
    await move.assert_finished()
    ran = await move.run("plan", "--detailed-exitcode")
    assert_says(ran.out, "Nothing to do: all 2 images are as the config says.")


async def test_a_run_is_watched_and_goes_on_after_a_kill(move: Move) -> None:
    """While it runs, `status` shows it; killed, it is interrupted and its command goes on."""
    await move.plan()
    stall = move.new.stall("PUT", "/manifests/second")
    with move.start("apply", "plan.out") as process:
        await reach(process, stall)
        ran = await move.run("status")
        assert_says(ran.out, "Running: run ", "0 of 1 image done (0 %), 1 left")
        assert_says(ran.out, f"process {process.pid} of ", "imgmigrate apply plan.out")
        locked = await move.run("apply", "plan.out", code=5)
        assert_says(locked.err, f"locked by process {process.pid} of ")
        process.kill()
        process.wait()
    ran = await move.run("status")
    assert_says(ran.out, "interrupted: 0 of 1 image done", "To go on:\n  imgmigrate apply plan.out")
    move.new.clear()
    await move.run("apply", "plan.out")
    await move.assert_finished()
    ran = await move.run("state", "log", "--json")
    phases = [json.loads(line)["phase"] for line in ran.out.splitlines()[1:]]
    assert phases == ["finished", "interrupted", "finished"]
