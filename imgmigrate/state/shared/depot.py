"""What a place must offer to keep a shared state: files for ever, and one head that is swapped.

To add a place, write a class that keeps these promises, and a row in `base.KINDS`. All else (who
holds the state, groups, readers, what a crash leaves) is `store.py`'s, the same for every place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["Depot", "Missing", "Overtaken", "Seen"]


class Seen(Struct, frozen=True):
    """A head as it was read: its bytes, and what tells this version from every other."""

    head: bytes
    version: str


class Overtaken(Exception):
    """The head is not the one that was seen: nothing was changed by us."""


class Missing(Exception):
    """A file is not there: the head that named it is old, or somebody took it away."""


class Depot(Protocol):
    """One place of one state. StateAway if it gives no answer now, StateError if it refuses.

    What is read here is verified by who reads it: a depot only carries bytes.
    """

    @property
    def place(self) -> str:
        """What people call it, for messages."""

    @property
    def identity(self) -> str:
        """What tells it from every other."""

    async def fetch(self) -> Seen | None:
        """Read the head as it is now; None where no state exists yet."""

    async def read(self, name: str) -> bytes:
        """Read a file that a head has named; Missing if it is gone."""

    async def bring(self, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Make files durable that no head names yet; return those that only a swap can add.

        It may be asked for in the middle of a swap.
        """

    async def swap(
        self,
        seen: Seen | None,
        head: bytes,
        add: Mapping[str, bytes] | None = None,
        drop: Collection[str] = (),
    ) -> Seen:
        """Put `head` in the place of the one that was seen, or Overtaken; as one step for readers.

        No two heads have the same bytes, so one that is there was written by who wrote these. The
        files of `add` are durable before it, those of `drop` are taken away after it; a crash
        leaves at most files that no head names.
        """

    async def names(self, folder: str) -> Sequence[str]:
        """Name the files of a folder, as they are now or in the version that was seen last."""

    async def add(self, name: str, data: bytes) -> None:
        """Put a file that no head names beside a head that is there, durably.

        Whoever holds the state is not disturbed by it, and two that add at once both succeed.
        """

    async def age(self, seen: Seen) -> float | None:
        """Seconds since this head was put there, by the place's own clock; None if it has none."""

    async def prove(self) -> None:
        """See before the first head that swaps are what they must be; StateError if not."""

    async def close(self) -> None:
        """Let go of what is open."""
