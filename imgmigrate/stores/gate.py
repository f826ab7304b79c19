"""Let blobs begin at one store: all of them, or image by image where its line is the limit.

A gate is taken before every slot and given back after them, so who waits at it holds nothing
that a blob of a smaller image could need, and whoever has passed it finds a way to its end.
How wide it is says whoever watches the line (`registry/shares.py`).
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Gate", "Rank", "image_rank"]

# How large an image is, and as which it was opened: what is smaller is done sooner. Within a
# factor of two it is not worth the bytes that another has sent already: who came first goes on.
Rank = tuple[int, int]
# Of the image that a task works for. Flights take it with them: theirs is that of the image which
# asked first, although others may wait for the same blob.
image_rank: ContextVar[Rank] = ContextVar("image_rank", default=(0, 0))


class Gate:
    """One store's; open until somebody narrows it. `first` is called whenever it is passed.

    Where it is `narrow`, the best rank goes first, and whoever waits counts only those inside
    that are as good: what went in before it pauses (`shares.py`), so there is room for it. While
    nothing is known of the line, nobody pauses, so all inside count.
    """

    def __init__(self, store: str) -> None:
        # Before every slot of every store.
        self.store, self.order = store, ("", store)
        self.first: Callable[[], None] | None = None
        self.is_narrow = False
        self._most: int | None = None
        self._inside: list[Rank] = []
        self._waiting: list[tuple[Rank, asyncio.Future[None]]] = []

    async def __aenter__(self) -> None:
        if self.first is not None:
            self.first()
        rank = image_rank.get()
        if self._may(rank) and not any(other <= rank for other, _ in self._waiting):
            self._inside.append(rank)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((rank, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # Let in, in the same moment that this was cancelled, it leaves for the next.
            if turn.cancelled():
                self._waiting.remove((rank, turn))
            else:
                self._leave(rank)
            raise

    async def __aexit__(self, *_: object) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Go out, for now or for good."""
        self._leave(image_rank.get())

    def take_back(self) -> None:
        """Be inside again at once, however many are."""
        self._inside.append(image_rank.get())

    @property
    def is_open(self) -> bool:
        """Whether everybody may pass."""
        return self._most is None

    def open(self) -> None:
        """Let everybody pass."""
        self._most, self.is_narrow = None, False
        self._wake()

    def narrow(self, most: int, *, is_known: bool = True) -> None:
        """Let so many be inside; `is_known`: the line is the limit, which else is only feared."""
        self._most, self.is_narrow = most, is_known
        self._wake()

    def _may(self, rank: Rank) -> bool:
        if self._most is None:
            return True
        if not self.is_narrow:
            return len(self._inside) < self._most
        return sum(1 for other in self._inside if other <= rank) < self._most

    def _leave(self, rank: Rank) -> None:
        self._inside.remove(rank)
        self._wake()

    def _wake(self) -> None:
        if not self._waiting:
            return
        # Stable: of the blobs of one image, who came first.
        self._waiting.sort(key=lambda each: each[0])
        while self._waiting and self._may(self._waiting[0][0]):
            rank, turn = self._waiting.pop(0)
            # Counted here, not when the waiter runs: nobody can slip in before it.
            if not turn.done():
                self._inside.append(rank)
                turn.set_result(None)
