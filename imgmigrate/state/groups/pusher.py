"""Hand the lines of one writer on in groups, and keep the hold on what they are handed to.

What is written waits here, and in the spool of this machine, until it has been pushed: after
`GROUP` lines, `LONGEST_WAIT` seconds, or at once for whoever asks for `flush`. Every push renews
the lease, and one without lines is made where nothing else would.

What is promised: at most one push runs, by the one task that is ours; each gets every line that is
not surely in, in order, and takes them before it waits for anything: what the writer shows then is
what the last of them says. One that ended in StateAway may have done all or nothing, so the next
gets the same lines, and later ones too. The lease is measured by a clock of this machine that runs
through its sleep, from before the renewal was sent: the other end counts from later.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from imgmigrate.clock import LoopClock
from imgmigrate.errors import StateAway, StateError, StateLost
from imgmigrate.state.groups.spool import Pending
from imgmigrate.state.lines.journal import print_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from imgmigrate.clock import Clock
    from imgmigrate.state.groups.spool import Spool

__all__ = ["Pusher", "boottime"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
# Lines and seconds that a group waits for more.
GROUP = 500
LONGEST_WAIT = 10.0
# Lines that may wait while the backend is away: their records are some 20 MB.
ROOM = 20_000
# Seconds that a backend may be away while it is written, and when all that is left is to close.
PATIENCE = 300.0
CLOSING_PATIENCE = 10.0
# Seconds between two tries.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
# Parts of a lease: after one third it is renewed, in its last sixth nothing is begun any more.
RENEWAL, MARGIN = 3, 6


def boottime() -> float:
    """Seconds of a clock that no time setting moves, and that runs while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # of macOS, which counts its sleep


class Pusher:
    """The lines that wait, and the task that pushes them; it lives until `close`.

    `push` appends what of its lines is not there yet and renews the lease: StateAway to be tried
    again, any other StateError ends all. `renewed` is when the lease was taken, by `clock`, which
    measures it; what waits does so by `waits`. All but what a kind of state adds of a
    `writer.Journal`.
    """

    def __init__(
        self,
        push: Callable[[Sequence[Pending]], Awaitable[None]],
        spool: Spool,
        *,
        lease: float,
        renewed: float,
        clock: Callable[[], float] = boottime,
        waits: Clock | None = None,
        patience: float | None = None,
    ) -> None:
        self._push, self.spool, self._lease, self._clock = push, spool, lease, clock
        self._renewed, self._patience, self._waits = renewed, patience, waits or LoopClock()
        self._waiting: list[Pending] = []
        self._oldest = 0.0
        # Lines are counted: `_pushed <= _written`; up to `_wanted` they are pushed at once.
        self._written = self._pushed = self._wanted = 0
        self._is_renewal_wanted = self._is_closing = False
        self._failure: StateError | None = None
        self._due, self._changed = asyncio.Event(), asyncio.Event()
        # Held by whoever speaks to the backend: one word after the other.
        self._words = asyncio.Lock()
        self._task = asyncio.create_task(self._work(), name="state")

    @property
    def is_lost(self) -> bool:
        """Whether another holds the state."""
        return isinstance(self._failure, StateLost)

    def write(self, sequence: int, previous: str, entry: dict[str, Any]) -> str:
        """Print a line, put it on its way, and return its hash."""
        text, digest = print_line(sequence, previous, entry)
        # The first line of all brings the lineage.
        self.spool.lineage = self.spool.lineage or entry.get("lineage")
        self.add(Pending(sequence, previous, digest, text, entry))
        return digest

    def add(self, line: Pending) -> None:
        """Take a line; it is in the spool on return."""
        if self._failure is not None:
            raise self._failure
        if not self._waiting:
            self._oldest = self._waits.time()
        self._waiting.append(line)
        self.spool.add(line)
        self._written += 1
        # Also the first: from now on somebody looks at the clock.
        if len(self._waiting) in (1, GROUP):
            self._due.set()

    async def room(self) -> None:
        """Wait while as many lines wait as may be lost at once."""
        if len(self._waiting) >= ROOM:
            await self._until(lambda: len(self._waiting) < ROOM)

    async def flush(self) -> None:
        """Return when every line taken before is in."""
        target = self._wanted = self._written
        self._due.set()
        await self._until(lambda: self._pushed >= target)

    async def hold(self) -> None:
        """Return when the lease is surely ours; StateError if it is not, StateLost if it is lost.

        While the backend is away a lease that has run out is waited for: nobody can take it, and
        nobody can know that it was not taken.
        """
        if self._failure is not None:
            raise self._failure
        if not self._is_held():
            self._is_renewal_wanted = True
            self._due.set()
            await self._until(self._is_held)

    async def alone(self, work: Callable[[], Awaitable[T]], *, renews: bool = False) -> T:
        """Do work at the backend between two pushes; tell if it renews the lease as they do."""
        async with self._words:
            began = self._clock()
            done = await work()
            if renews:
                self._renewed = began
        return done

    async def close(self) -> None:
        """Push what waits, for a while, and end the task; what is not in stays in the spool.

        Also when cancelled meanwhile: then that is raised in the end.
        """
        self._is_closing = True
        self._due.set()
        is_cancelled = False
        while not self._task.done():
            try:
                await asyncio.shield(self._task)
            except asyncio.CancelledError:
                is_cancelled = True
        self.spool.close()
        if is_cancelled:
            raise asyncio.CancelledError
        if self._failure is not None and self._waiting:
            raise self._failure

    def _is_held(self) -> bool:
        return self._clock() < self._renewed + self._lease * (1 - 1 / MARGIN)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            if self._failure is not None:
                raise self._failure
            if self._task.done():
                raise StateLost("the state is not held any more")
            await self._changed.wait()

    def _tell(self) -> None:
        """Let all who wait look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _work(self) -> None:
        try:
            while not (self._is_closing and self._pushed == self._written):
                if self._pause() <= 0:
                    await self._push_all()
                    continue
                self._due.clear()
                await self._rest(self._pause())
        except StateError as error:
            self._failure = self._told(error)
        except Exception as error:
            # Of the one task that everybody waits for: they must hear of its end.
            logger.exception("unexpected failure")
            self._failure = self._told(StateError(f"the state: {type(error).__name__}: {error}"))
        finally:
            self._tell()

    def _told(self, error: StateError) -> StateError:
        """Name the file of what the backend lacks."""
        if self._waiting and self.spool.path is not None:
            kept = f"what it lacks is in {self.spool.path}"
            return type(error)(f"{error.message}; {kept}", hint=error.hint)
        return error

    def _pause(self) -> float:
        """Seconds until something is to be pushed."""
        is_urgent = self._is_closing or self._is_renewal_wanted or self._wanted > self._pushed
        if is_urgent or len(self._waiting) >= GROUP:
            return 0
        renewal = self._renewed + self._lease / RENEWAL - self._clock()
        if not self._waiting:
            return renewal
        return min(renewal, LONGEST_WAIT - (self._waits.time() - self._oldest))

    async def _push_all(self) -> None:
        away, pause = None, SHORTEST_PAUSE
        while True:
            try:
                async with self._words:
                    # Nothing is waited for from here to the push's own first step.
                    began, lines = self._clock(), tuple(self._waiting)
                    self._is_renewal_wanted = False
                    await self._push(lines)
            except StateAway as error:
                if away is None:
                    away = self._waits.time()
                    logger.warning("%s; trying again", error.message)
                patience = PATIENCE if self._patience is None else self._patience
                if self._is_closing:
                    patience = min(patience, CLOSING_PATIENCE)
                if self._waits.time() - away >= patience:
                    raise
            else:
                break
            await self._waits.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._renewed, self._oldest = began, self._waits.time()
        del self._waiting[: len(lines)]
        self._pushed += len(lines)
        self.spool.keep(self._waiting)
        self._tell()

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until something is due."""
        sleeping = asyncio.ensure_future(self._waits.sleep(seconds))
        waking = asyncio.ensure_future(self._due.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
