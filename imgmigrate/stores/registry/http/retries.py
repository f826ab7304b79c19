"""Try again what may heal.

Only for requests that can be sent twice: those without a body, and manifests. A blob that
breaks midway is the engine's to restart, from where it stopped.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, TypeVar

import stamina

from imgmigrate.errors import RateLimited, TransientError
from imgmigrate.events import Retrying
from imgmigrate.stores.registry.http.limits import ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.http.limits import Timeouts

__all__ = ["retrying"]

# Refusals for the rate of requests are no failures; in the end something else is wrong.
MOST_REFUSALS = 50
T = TypeVar("T")
_RANDOM = random.SystemRandom()

# Retries are events of ours; stamina's own log line would be printed into the progress.
logging.getLogger("stamina").setLevel(logging.ERROR)


async def retrying(
    once: Callable[[], Awaitable[T]], sink: Sink, timeouts: Timeouts, *, attempts: int = ATTEMPTS
) -> T:
    """Call `once` until it succeeds, fails for good or has failed `attempts` times."""
    for refusals in range(MOST_REFUSALS + 1):
        try:
            # Nearly every request succeeds: what it takes to try again costs as much as sending.
            return await once()
        except TransientError as error:
            failed = error
            if not (isinstance(error, RateLimited) and error.is_paced):
                break
            if attempts == 1 or refusals == MOST_REFUSALS:
                break
    async for attempt in stamina.retry_context(
        on=_wait,
        attempts=attempts,
        timeout=None,
        wait_initial=timeouts.first_retry,
        wait_max=timeouts.longest_retry,
        wait_jitter=timeouts.first_retry,
    ):
        with attempt:
            try:
                if attempt.num == 1:
                    raise failed
                return await once()
            except TransientError as error:
                error.is_spent = error.is_spent or attempt.num >= attempts > 1
                if not error.is_spent:
                    delay = attempt.next_wait if error.retry_after is None else error.retry_after
                    sink.emit(Retrying(error.subject, error.cause, delay))
                raise
    msg = "retry_context ended without a result"
    raise AssertionError(msg)


def _wait(error: Exception) -> bool | float:
    if not isinstance(error, TransientError) or error.is_spent:
        return False
    if error.retry_after is None:
        return True
    # Spread those who were told the same moment.
    return error.retry_after + _RANDOM.uniform(0, min(1.0, error.retry_after))
