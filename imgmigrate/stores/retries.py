"""Try again what may heal: which failures, how often, and after how long.

This is the only place that decides it; a caller has a `Policy`, which is data. Two forms share
the decision: `retrying` calls what can be sent twice, a request without a body or a manifest.
`attempts` are turns at what only its user can repeat: a stream is opened again, an upload starts
anew. Forms within forms do not multiply: what one of them has tried often enough is spent, and
travels through the others as it is.
"""

from __future__ import annotations

import logging
import random
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import Struct

from imgmigrate.errors import LeftBehind, RateLimited, TransientError
from imgmigrate.events import Retrying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    import stamina

    from imgmigrate.errors import Side
    from imgmigrate.events import Sink

__all__ = ["ATTEMPTS", "Attempts", "Policy", "attempt_number", "attempts", "heals", "retrying"]

T = TypeVar("T")
# Refusals for the rate of requests are no failures; in the end something else is wrong.
MOST_REFUSALS = 50
# DESIGN section 3; what regclient and oras make too.
ATTEMPTS = 5
_RANDOM = random.SystemRandom()

# For the log alone: which attempt what is asked now belongs to, the innermost beyond the first.
attempt_number: ContextVar[int] = ContextVar("attempt_number", default=1)

# Retries are events of ours; stamina's own log line would be printed into the progress.
logging.getLogger("stamina").setLevel(logging.ERROR)


class Policy(Struct, frozen=True):
    """How one kind of work is tried again; times are in seconds.

    The first wait is doubled up to the longest, with jitter. A registry that asks for more than
    `longest_pause` is better left to the next run of the same plan. With a `side` it is a
    transfer: what fails on the other side is not healed by doing this one again, and who was
    left behind begins anew.
    """

    attempts: int = ATTEMPTS
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_pause: float = 900.0
    side: Side | None = None

    def wait(self, error: TransientError, usual: float) -> float:
        """Seconds to wait at least: what the registry asks for, or else the usual."""
        return usual if error.retry_after is None else min(error.retry_after, self.longest_pause)

    def spread(self, error: Exception) -> bool | float:
        """Seconds to wait if the registry asks for some, apart for all whom it told the same.

        True, stamina's word for the usual ones, if it asks for none.
        """
        if not isinstance(error, TransientError) or error.retry_after is None:
            return True
        after = self.wait(error, 0.0)
        return after + _RANDOM.uniform(0, min(1.0, after))


def heals(error: TransientError, policy: Policy, sink: Sink, *, tried: int, usual: float) -> bool:
    """Tell whether to try again after the `tried`-th failure, and tell the sink if so.

    The last one is marked as spent. `usual` are the seconds of waiting that follow, if the
    registry asks for none.
    """
    if error.is_spent or not _concerns(error, policy):
        return False
    error.is_spent = tried >= policy.attempts
    if not error.is_spent:
        sink.emit(Retrying(error.subject, error.cause, policy.wait(error, usual)))
    return not error.is_spent


def _concerns(error: TransientError, policy: Policy) -> bool:
    return policy.side is None or error.side == policy.side


def _is_free(error: TransientError, policy: Policy) -> bool:
    """Tell what costs no attempt and no wait: limits wait for it where it is asked again."""
    if isinstance(error, LeftBehind):
        return policy.side is not None and _concerns(error, policy)
    return isinstance(error, RateLimited) and error.is_paced and _concerns(error, policy)


async def retrying(once: Callable[[], Awaitable[T]], sink: Sink, policy: Policy) -> T:
    """Call `once` until it succeeds, fails for good or has failed as often as may be.

    With one attempt it is somebody else who tries again: the error is not spent.
    """
    if policy.attempts == 1:
        return await once()
    async for attempt in Attempts(sink, policy):
        with attempt:
            return await once()
    msg = "attempts ended without a result"
    raise AssertionError(msg)


def attempts(sink: Sink, side: Side) -> Attempts:
    """Give the attempts at something that a TransientError of this side may interrupt."""
    return Attempts(sink, Policy(side=side))


class Attempts:
    """Attempts, one after another, until one goes well or the last one's error is raised.

    Stamina waits between them. It is begun only when the first one has failed: nearly every
    attempt is the only one, and for a small blob stamina would cost as much as the request.
    """

    def __init__(self, sink: Sink, policy: Policy) -> None:
        self._sink, self._policy = sink, policy
        self._refusals = 0
        self._last: Attempt | None = None
        # Always one step ahead: the turn that takes up the next failure.
        self._turns: AsyncIterator[stamina.Attempt] | None = None
        self._turn: stamina.Attempt | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Attempt:
        last, self._last = self._last, Attempt(self._last.num + 1 if self._last else 1)
        if last is None:
            return self._last
        if last.error is None:
            raise StopAsyncIteration
        if self._refusals < MOST_REFUSALS and _is_free(last.error, self._policy):
            self._refusals += 1
        else:
            await self._wait(last.error)
        return self._last

    async def _wait(self, error: TransientError) -> None:
        """Return when it is time to try again; raises the error if it is not to be."""
        if self._turns is None or self._turn is None:
            self._turns = self._begin()
            self._turn = await anext(self._turns)
        tried, usual = self._turn.num, self._turn.next_wait
        if not heals(error, self._policy, self._sink, tried=tried, usual=usual):
            raise error
        with self._turn:
            raise error
        self._turn = await anext(self._turns)

    def _begin(self) -> AsyncIterator[stamina.Attempt]:
        # Not before something has failed: it takes longer to load than click does.
        import stamina

        context = stamina.retry_context(
            on=self._policy.spread,
            attempts=self._policy.attempts,
            timeout=None,
            wait_initial=self._policy.first_wait,
            wait_max=self._policy.longest_wait,
            wait_jitter=self._policy.first_wait,
        )
        return aiter(context)


class Attempt:
    """The `num`-th attempt, from 1 on: a context that takes up a failure that may pass."""

    __slots__ = ("_outer", "error", "num")

    def __init__(self, num: int) -> None:
        self.num, self._outer = num, 1
        self.error: TransientError | None = None

    def __enter__(self) -> None:
        if self.num > 1:
            self._outer = attempt_number.get()
            attempt_number.set(self.num)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> bool:
        if self.num > 1:
            # Not by its token: a stream may be closed in another context than it was begun in.
            attempt_number.set(self._outer)
        # Whatever else went wrong, a cancellation above all, travels on from where it was raised.
        self.error = error if isinstance(error, TransientError) else None
        return self.error is not None
