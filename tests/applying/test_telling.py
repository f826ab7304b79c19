"""What a run lets `status` know of its bytes while it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from imgmigrate.applying.apply import TELL_SECONDS, apply_plan
from imgmigrate.state.local.lock import StateLock
from tests.support.clock import ManualClock, settle
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from imgmigrate.state.holder import Progress


async def test_a_run_tells_also_while_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a line stands still its rate falls, and who looks at `status` sees that too."""
    world, clock = World(tmp_path), ManualClock()
    world.seed("1")
    plan = await world.plan()
    told: list[Progress] = []
    monkeypatch.setattr(StateLock, "tell", lambda _, progress: told.append(progress))
    go_on = asyncio.Event()
    world.new.hooks["write"] = lambda *_: go_on.wait()
    running = asyncio.create_task(apply_plan(world.workspace, plan, clock=clock))
    await clock.asleep.wait()
    await settle()
    begun = len(told)
    for _ in range(3):
        await clock.advance(TELL_SECONDS)
    assert len(told) == begun + 3
    go_on.set()
    await running
    after = len(told)
    await clock.advance(10 * TELL_SECONDS)
    assert len(told) == after
