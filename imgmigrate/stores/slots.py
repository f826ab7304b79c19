"""How many blob streams are open at a store, and what waiting for one must not keep from others.

Whoever waits for a store that is down, or that limits its rate, keeps only what is that store's
own: the slots of other stores are lent out meanwhile (`lent`). They are back at once when the
wait is over, without another wait, which could end in a circle; so for a moment more streams
may be open than there are slots. Of several that travel together nobody waits (`in_company`):
the one whose store is waited for drops out, and comes later by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

from imgmigrate.stores.gate import Gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["Budget", "News", "Slots", "hold", "in_company", "is_in_company", "lent"]

# What the work of this task holds, and whether it is one of several that wait for each other.
_held: ContextVar[tuple[_Held, ...]] = ContextVar("held", default=())
_company: ContextVar[bool] = ContextVar("company", default=False)


class Slots:
    """How many blob streams may be open at one store in one direction: at most `limit`.

    First come, first served.
    """

    def __init__(self, store: str, direction: Literal["read", "write"], limit: int) -> None:
        self.store, self.order = store, (store, direction)
        self.limit = limit
        self.open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self.is_free:
            self.open += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Given in the same moment that this was cancelled, it goes on to the next.
            if turn.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(turn)
            else:
                self.give_back()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.give_back()

    @property
    def is_free(self) -> bool:
        """Whether one can be taken without waiting, and nobody else waits."""
        return self.open < self.limit and not self._waiting

    async def take_free(self) -> bool:
        """Take one if that needs no waiting, and nobody else waits; whoever does gives it back."""
        if not self.is_free:
            return False
        self.open += 1
        return True

    def give_back(self) -> None:
        """End what `take_free` began."""
        self.open -= 1
        self._wake()

    def take_back(self) -> None:
        """Have one again at once, whatever the limit says."""
        self.open += 1

    def _wake(self) -> None:
        while self._waiting and self.open < self.limit:
            turn = self._waiting.popleft()
            # Counted here, not when the waiter runs: nobody can slip in before it.
            if not turn.done():
                self.open += 1
                turn.set_result(None)


class Budget:
    """A store's read and write slots, and the gate before what is written."""

    def __init__(self, store: str, streams: int) -> None:
        self.gate = Gate(store)
        self.read = Slots(store, "read", streams)
        self.write = Slots(store, "write", streams)


@asynccontextmanager
async def hold(*slots: Slots | Gate) -> AsyncIterator[None]:
    """Hold one of each of `slots`, taken in the one global order so that no cycle can form."""
    taken = sorted(set(slots), key=lambda one: one.order)
    async with AsyncExitStack() as stack:
        for each in taken:
            await stack.enter_async_context(each)
        before, held = _held.get(), tuple(_Held(each) for each in taken)
        _held.set((*before, *held))
        try:
            yield
        finally:
            _held.set(before)
            for one in held:
                one.end()


class _Held:
    """A slot that somebody holds; lent while any of those who work with it waits."""

    def __init__(self, slots: Slots | Gate) -> None:
        self.slots = slots
        self._waiting = 0
        self._is_over = False

    def lend(self) -> None:
        """Give it back for now."""
        self._waiting += 1
        if self._waiting == 1:
            self.slots.give_back()

    def take_back(self) -> None:
        """Have it again, if nobody else who works with it waits."""
        self._waiting -= 1
        if not self._waiting and not self._is_over:
            self.slots.take_back()

    def end(self) -> None:
        """Have it again for good, to be given back."""
        self._is_over = True
        if self._waiting:
            self.slots.take_back()


@contextmanager
def lent(store: str) -> Iterator[None]:
    """Wait for a store without what this task holds of others."""
    held = [each for each in _held.get() if each.slots.store != store]
    for each in held:
        each.lend()
    try:
        yield
    finally:
        for each in held:
            each.take_back()


@contextmanager
def in_company() -> Iterator[None]:
    """Do what others wait for: nobody may be waited for within."""
    before = _company.get()
    _company.set(True)
    try:
        yield
    finally:
        _company.set(before)


def is_in_company() -> bool:
    """Tell whether others wait for what this task does."""
    return _company.get()


class News:
    """Tells whoever listens that a store begins or ceases to be waited for."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], object]] = []

    def tell(self) -> None:
        """Call all who listen."""
        for listener in tuple(self._listeners):
            listener()

    @contextmanager
    def heard_by(self, *listeners: Callable[[], object]) -> Iterator[None]:
        """Have news told."""
        self._listeners += listeners
        try:
            yield
        finally:
            for listener in listeners:
                self._listeners.remove(listener)
