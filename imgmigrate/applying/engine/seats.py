"""How many images are open at once, and which is opened next.

Those at most `limit` count that have something to do. An image that needs a registry which is
down, or which has seconds of work waiting already, only waits with it: it does not count, and
none of its kind is opened while there are others. So one registry that hangs back keeps no
other waiting. When it is back there may be more open than `limit` for a while; none is opened
until they are fewer again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from imgmigrate.applying.engine.order import Needs, Queue
    from imgmigrate.plan import Change

__all__ = ["Seats"]


class Seats:
    """The open images; `waits` tells whether a store is only waited for now."""

    def __init__(
        self, limit: int, needs: Callable[[Change], Needs], waits: Callable[[str], bool]
    ) -> None:
        self._limit, self._needs, self._waits = limit, needs, waits
        self._open: Counter[Needs] = Counter()
        self._news = asyncio.Event()

    def look(self) -> None:
        """Look again who may be opened: something has changed."""
        self._news.set()

    def leave(self, change: Change) -> None:
        """Note that an image is done with."""
        needs = self._needs(change)
        self._open[needs] -= 1
        if not self._open[needs]:
            del self._open[needs]
        self.look()

    async def opened(self, queue: Queue) -> AsyncIterator[list[Change]]:
        """Yield each batch once all of it may be open; whoever opens it says when it leaves."""
        while queue:
            # Anew after each wait, so that the choice is made by what is known when there is room.
            stores, entry, is_idle = queue.first()
            batch = entry[1]
            if self._count(is_idle=is_idle) + len(batch) > self._limit:
                self._news.clear()
                await self._news.wait()
                continue
            queue.take(stores, entry)
            self._open.update(map(self._needs, batch))
            yield batch

    def _count(self, *, is_idle: bool) -> int:
        """How many are open: all, or those that do not only wait."""
        if is_idle:
            return self._open.total()
        return sum(
            count for stores, count in self._open.items() if not any(map(self._waits, stores))
        )
