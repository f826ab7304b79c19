"""Buckets and windows: how often and how many at once, on a clock that tests can hold.

Knows no registry and no request. Who waits here holds nothing but its place in the queue.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.clock import Clock

__all__ = ["Bucket", "Window"]

# Rounding must not make a bucket wait for the last 1e-16 of a token.
_NEARLY = 1e-9


class Bucket:
    """Let `rate` units a second through, `burst` of them at once after a pause; first come first.

    More than `burst` units go through together and leave a debt that is paid before the next:
    a piece of a blob is never split or kept to fit. `waits` is told of every wait.
    """

    def __init__(
        self, rate: float, burst: float, clock: Clock, waits: Callable[[float], None]
    ) -> None:
        self.rate, self.burst = rate, burst
        self._clock, self._waits = clock, waits
        self._turn = asyncio.Lock()
        self._level, self._then = burst, clock.time()

    async def take(self, units: float = 1.0) -> None:
        """Wait until `units` may go, and take them."""
        # Asleep with the lock: the queue is the lock's. Who is cancelled has taken nothing, and the
        # rate may change meanwhile, so what is missing is counted anew after each sleep.
        async with self._turn:
            while (left := self._missing(units)) > 0:
                self._waits(left / self.rate)
                await self._clock.sleep(left / self.rate)
            self._level -= units

    def settle(self) -> None:
        """Count what has come together so far at the present rate, before that changes."""
        now = self._clock.time()
        self._level = min(self.burst, self._level + (now - self._then) * self.rate)
        self._then = now

    def _missing(self, units: float) -> float:
        self.settle()
        missing = min(units, self.burst) - self._level
        return missing if missing > _NEARLY * self.burst else 0.0


# One answer that stalls must not hold a registry's only slot.
SMALLEST_WINDOW = 2.0


class Window:
    """How many requests may be open at once: shrinks when there are too many, grows back slowly.

    Additive increase, by 1/size for each success, up to `most`; one multiplicative decrease for
    each epoch. An epoch ends when a request that was sent after the decrease is told that there
    are still too many: ten refusals of one burst are one event (protocol 3.7).
    """

    def __init__(self, most: int) -> None:
        self.most, self.size = most, float(most)
        self.epoch = 0
        self._open = 0
        self._changed = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Tell whether another request may open."""
        return self._open < int(self.size)

    async def room(self) -> None:
        """Wait for room; one at a time, whoever comes first."""
        # Cleared after the look and before the wait, with no await between: no change is lost.
        while not self.has_room:
            self._changed.clear()
            await self._changed.wait()

    def enter(self) -> None:
        """Count one more open request."""
        self._open += 1

    def leave(self) -> None:
        """Count one less."""
        self._open -= 1
        self._changed.set()

    def succeeded(self) -> None:
        """Grow a little."""
        self.size = min(float(self.most), self.size + 1 / self.size)
        self._changed.set()

    def congested(self, epoch: int) -> None:
        """Halve, if the request that was refused was sent since the last time."""
        if epoch == self.epoch:
            self.size = max(min(SMALLEST_WINDOW, float(self.most)), self.size / 2)
            self.epoch += 1
