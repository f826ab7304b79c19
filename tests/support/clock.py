"""A clock that stands still until the test puts it forward; whoever sleeps wakes in order."""

from __future__ import annotations

import asyncio
import heapq
import itertools

__all__ = ["ManualClock", "settle"]

# Turns of the loop in which anything that can run has run.
TURNS = 30


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class ManualClock:
    """Seconds from zero. `hurried` puts itself forward whenever somebody sleeps.

    `asleep` is set once somebody does.
    """

    def __init__(self, *, hurried: bool = False) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.asleep = asyncio.Event()
        self._hurried = hurried
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def time(self) -> float:
        """What it shows."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait for the test; a hurried clock goes to the first who is due."""
        self.slept.append(seconds)
        self.asleep.set()
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        if self._hurried:
            await asyncio.sleep(0)
            self._wake_first()
        await woken

    async def advance(self, seconds: float) -> None:
        """Let so many seconds go by; every sleeper wakes at its own moment."""
        end = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._wake_first()
            await settle()
        self.now = end
        await settle()

    def _wake_first(self) -> None:
        due, _, woken = heapq.heappop(self._sleepers)
        self.now = max(self.now, due)
        if not woken.done():
            woken.set_result(None)
