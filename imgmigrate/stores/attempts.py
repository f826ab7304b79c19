"""How often and how long transfers are tried again.

Requests without a body are retried where they are sent; this is for what only a transfer can
repeat: opening a stream again, starting an upload anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import stamina

from imgmigrate.errors import LeftBehind, RateLimited, TransientError
from imgmigrate.events import Retrying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from imgmigrate.errors import Side
    from imgmigrate.events import Sink

__all__ = ["ATTEMPTS", "attempts"]

# DESIGN section 3: 5 attempts.
ATTEMPTS = 5
# Refusals for the rate of requests are no failures; in the end something else is wrong.
MOST_REFUSALS = 50
# Seconds before the second attempt, doubled each time, with jitter; a busy registry needs some.
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
# A registry that asks for more than this is better left to the next run of the same plan.
LONGEST_RETRY_AFTER = 900.0


class Attempt(Protocol):
    """One attempt, the `num`-th: a context that takes up what goes wrong in it."""

    @property
    def num(self) -> int:
        """Which it is, from 1 on."""

    def __enter__(self) -> object:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> bool | None:
        """Tell whether an error is taken up."""


def attempts(sink: Sink, side: Side) -> AsyncIterator[Attempt]:
    """Give the attempts at something that a TransientError of this side may interrupt.

    What fails on the other side is not healed by doing this side again.
    """

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, TransientError) or error.side != side or error.is_spent:
            return False
        delay = error.retry_after
        sink.emit(Retrying(error.subject, error.cause, delay or FIRST_WAIT))
        return True if delay is None else min(delay, LONGEST_RETRY_AFTER)

    def begin() -> AsyncIterator[stamina.Attempt]:
        context = stamina.retry_context(
            on=wait,
            attempts=ATTEMPTS,
            timeout=None,
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT,
            wait_jitter=FIRST_WAIT,
        )
        return aiter(context)

    def is_free(error: Exception | None) -> bool:
        if not isinstance(error, TransientError) or error.side != side:
            return False
        return isinstance(error, LeftBehind) or (isinstance(error, RateLimited) and error.is_paced)

    return _Attempts(begin, is_free)


class _Attempts:
    """Stamina's attempts, begun only when the first one has failed.

    Nearly every attempt is the only one, and for a small blob stamina would cost as much as the
    request. What `is_free` costs no attempt: limits wait for it where it is asked again.
    """

    def __init__(
        self,
        begin: Callable[[], AsyncIterator[stamina.Attempt]],
        is_free: Callable[[Exception | None], bool],
    ) -> None:
        self._begin, self._is_free = begin, is_free
        self._refusals = 0
        self._first: _First | None = None
        self._further: AsyncIterator[stamina.Attempt] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Attempt:
        if self._first is None:
            self._first = _First()
            return self._first
        if self._is_free(self._first.error) and self._refusals < MOST_REFUSALS:
            self._refusals += 1
            self._first = _First(num=2)
            return self._first
        if self._further is None:
            if self._first.error is None:
                raise StopAsyncIteration
            self._further = self._begin()
            with await anext(self._further):
                raise self._first.error
        return await anext(self._further)


class _First:
    """The first attempt; keeps what went wrong."""

    def __init__(self, num: int = 1) -> None:
        self.num = num
        self.error: Exception | None = None

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> bool:
        self.error = error if isinstance(error, Exception) else None
        return self.error is not None
