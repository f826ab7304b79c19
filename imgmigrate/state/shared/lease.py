"""The time that a hold on a shared state is good for, by clocks that nobody can set.

Who holds it counts by a clock that goes on while the machine sleeps; who waits, by the place's
own clock, or by its own where the place has none. No clock is ever compared with another's.
"""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.state.shared.head import Lease

__all__ = ["Silence", "Sureness", "boottime"]

# Of a lease, the part after which its holder no longer trusts it: what is under way may take that.
_MARGIN = 1 / 6


def boottime() -> float:
    """Seconds since the machine was started, those that it slept included."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    # Without one (macOS) the monotonic clock is the one that goes on.
    return monotonic() if clock is None else time.clock_gettime(clock)


class Sureness:
    """How long a holder may be sure: a lease runs from when it was asked for, not answered."""

    def __init__(self, seconds: float, clock: Callable[[], float] = boottime) -> None:
        self._seconds, self._clock = seconds, clock
        self._since = clock()

    def renewed(self, asked_at: float) -> None:
        """Take note of a renewal that was asked for then."""
        self._since = max(self._since, asked_at)

    def now(self) -> float:
        """The clock that it goes by."""
        return self._clock()

    @property
    def age(self) -> float:
        """Seconds since the last renewal was asked for."""
        return self._clock() - self._since

    @property
    def is_sure(self) -> bool:
        """Whether nobody can have taken the state over."""
        return self.age < self._seconds * (1 - _MARGIN)


class Silence:
    """How long a waiter has heard nothing of a holder, by the waiter's own clock."""

    def __init__(self) -> None:
        self._version, self._since = "", 0.0

    def is_over(self, lease: Lease, version: str, age: float | None) -> bool:
        """Tell whether a lease has run out; `age` is the version's by the place's clock."""
        if version != self._version:
            self._version, self._since = version, monotonic()
        heard = monotonic() - self._since
        return (heard if age is None else max(age, heard)) >= lease.seconds
