"""Time: the loop's, which tests can hold, and the wall clock's, which is written down."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "LoopClock", "now", "timestamp"]


class Clock(Protocol):
    """Seconds that go by, and waiting for some of them."""

    def time(self) -> float:
        """Seconds since some moment."""

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have gone by."""


class LoopClock:
    """The event loop's own clock."""

    def time(self) -> float:
        """The loop's time, which no change of the system's clock moves."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """Print a moment as the state's files have it: UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
