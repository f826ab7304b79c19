"""When a holder of a shared state was silent for its lease, as whoever waits for it sees it.

By the place's own clock, or by the waiter's where the place has none: no clock is ever compared
with another's. How long a holder may be sure is `groups/pusher.py`'s.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgmigrate.state.shared.head import Lease

__all__ = ["Silence"]


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
