"""Bring the lines of a shared state to their place in groups, and keep its holder's lease alive.

One task of the holder's does both, one after the other: every group renews the lease, and where
no line comes the lease alone is renewed. Writers only leave lines, and wait where the state's
promises say so (`writer.Journal`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from imgmigrate.clock import LoopClock
from imgmigrate.errors import StateAway, StateError, StateLost
from imgmigrate.state.lines.journal import print_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from imgmigrate.clock import Clock
    from imgmigrate.state.shared.lease import Sureness
    from imgmigrate.state.shared.spool import Spool

__all__ = ["Pusher", "Written"]

logger = logging.getLogger(__name__)

# Lines, or seconds, that a reader elsewhere is behind.
GROUP_LINES, GROUP_SECONDS = 500, 10.0
# Lines of one group at most; more wait for the next.
LARGEST_GROUP = 5_000
# Lines that wait for a place that is away: a run of a hundred thousand goes on for long.
MOST_WAITING = 50_000
# Seconds that a place may be away before the run ends; when all is done, fewer.
PATIENCE, LAST_PATIENCE = 300.0, 30.0
# Seconds between attempts while it is away, at most.
LONGEST_PAUSE = 10.0
# Of a lease, the part after which it is renewed.
_RENEWED = 1 / 3


class Written:
    """A line with its place in the history."""

    __slots__ = ("data", "head", "sequence")

    def __init__(self, sequence: int, head: str, data: bytes) -> None:
        self.sequence, self.head, self.data = sequence, head, data


class Pusher:
    """The lines that wait, and the task that brings them; it belongs to one event loop.

    `push` brings a group, which may be empty, and renews the lease: StateAway lets it be tried
    again, any other StateError is final (`_failure`) and is what everybody gets from then on.
    A line is in `_waiting` from its `write` until its group has been brought; `_written` and
    `_brought` count them.
    """

    def __init__(
        self,
        push: Callable[[Sequence[Written]], Awaitable[None]],
        spool: Spool,
        sureness: Sureness,
        *,
        lease: float,
        clock: Clock | None = None,
    ) -> None:
        self._push, self._spool, self._sureness = push, spool, sureness
        self._renewal = lease * _RENEWED
        self._clock = clock or LoopClock()
        self._waiting: deque[Written] = deque()
        self._written = self._brought = 0
        self._since = 0.0  # when the oldest of those that wait was written
        self._failure: StateError | None = None
        self._is_closing = self._is_urgent = False
        self._wake, self._turn = asyncio.Event(), asyncio.Event()
        # Held by whoever speaks to the place: one word after the other.
        self._words = asyncio.Lock()
        self._task = asyncio.create_task(self._run(), name="state")

    def write(self, sequence: int, previous: str, entry: dict[str, Any]) -> str:
        """Take one line and return its hash; StateError if no more can be taken."""
        if self._failure:
            raise self._failure
        data, digest = print_line(sequence, previous, entry)
        self.take(Written(sequence, digest, data))
        return digest

    def take(self, line: Written) -> None:
        """Take a line that is printed already."""
        try:
            self._spool.append(line.data)
        except OSError as error:
            # The place has the last word; what the disk lacks is only for when it is away.
            logger.debug("not kept on this machine's disk: %s", error)
        if not self._waiting:
            self._since = self._clock.time()
        self._waiting.append(line)
        self._written += 1
        if len(self._waiting) == 1 or len(self._waiting) >= GROUP_LINES:
            self._wake.set()

    async def room(self) -> None:
        """Wait while too many lines wait."""
        while len(self._waiting) >= MOST_WAITING:
            await self._next()

    async def flush(self) -> None:
        """Return when every line written before is at its place."""
        target = self._written
        while self._brought < target or self._failure:
            await self._next(now=True)

    async def hold(self) -> None:
        """Return when nobody else can hold the state; what took it away is raised."""
        while self._failure or not self._sureness.is_sure:
            await self._next(now=True)

    def tidy(self) -> None:
        """Keep on the disk what waits, and nothing else."""
        self._spool.keep([line.data for line in self._waiting])

    @property
    def is_lost(self) -> bool:
        """Whether another holds the state."""
        return isinstance(self._failure, StateLost)

    async def alone(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do work of the holder's own between two groups; it renews the lease, as a group does."""
        async with self._words:
            asked_at = self._sureness.now()
            await work()
            self._sureness.renewed(asked_at)

    async def close(self) -> None:
        """Bring what is left, and end; also when cancelled meanwhile. The first failure is raised.

        What cannot be brought stays on this machine's disk.
        """
        self._is_closing = True
        self._wake.set()
        is_cancelled = False
        while not self._task.done():
            try:
                await asyncio.shield(self._task)
            except asyncio.CancelledError:
                is_cancelled = True
            except StateError:
                break
        self._spool.close()
        if is_cancelled:
            raise asyncio.CancelledError
        if self._failure and self._waiting:
            raise self._failure

    async def abandon(self) -> None:
        """End at once and bring nothing more."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._spool.close()

    async def _next(self, *, now: bool = False) -> None:
        """Wait for the end of the present or next turn; with `now` none is waited out."""
        if self._failure:
            raise self._failure
        if self._task.done():
            raise StateLost("the state is not held any more")
        turn = self._turn
        if now:
            self._is_urgent = True
            self._wake.set()
        await turn.wait()

    async def _run(self) -> None:
        while not (self._is_closing and not self._waiting):
            if not self._is_closing:
                await self._due()
            if self._failure or (self._is_closing and not self._waiting):
                break
            await self._bring()
        self._end_turn()

    async def _due(self) -> None:
        """Wait until something is to be done."""
        while not self._is_closing and not self._is_urgent:
            left = self._renewal - self._sureness.age
            if self._waiting:
                if len(self._waiting) >= GROUP_LINES:
                    return
                left = min(left, self._since + GROUP_SECONDS - self._clock.time())
            if left <= 0:
                return
            self._wake.clear()
            await self._pause(left)

    async def _bring(self) -> None:
        """Bring one group, trying again while its place is away."""
        self._is_urgent = False
        pause, since = 1.0, self._clock.time()
        while True:
            group = list(islice(self._waiting, LARGEST_GROUP))
            asked_at = self._sureness.now()
            try:
                async with self._words:
                    await self._push(group)
            except StateAway as error:
                patience = LAST_PATIENCE if self._is_closing else PATIENCE
                if self._clock.time() - since >= patience:
                    self._fail(error)
                    return
                logger.info("%s; it is asked again", error)
                self._wake.clear()
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except StateError as error:
                self._fail(error)
                return
            except Exception as error:
                # Of the one task that everybody waits for: they must hear of its end.
                logger.exception("unexpected failure")
                self._fail(StateError(f"the state: {type(error).__name__}: {error}"))
                return
            else:
                break
        self._sureness.renewed(asked_at)
        for _ in group:
            self._waiting.popleft()
        self._brought += len(group)
        if group:
            self._since = self._clock.time()
            self.tidy()
        self._end_turn()

    def _fail(self, error: StateError) -> None:
        if self._waiting and self._spool.path is not None:
            kept = f"what it lacks is in {self._spool.path}"
            error = type(error)(f"{error.message}; {kept}", hint=error.hint)
        self._failure = error
        self._end_turn()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until somebody wants something now."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
