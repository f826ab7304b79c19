"""How often and how long transfers are tried again.

Requests without a body are retried where they are sent; this is for what only a transfer can
repeat: opening a stream again, starting an upload anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import stamina

from imgmigrate.errors import TransientError
from imgmigrate.events import Retrying

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from imgmigrate.errors import Side
    from imgmigrate.events import Sink

__all__ = ["ATTEMPTS", "attempts"]

# DESIGN section 3: 5 attempts.
ATTEMPTS = 5
# Seconds before the second attempt, doubled each time, with jitter; a busy registry needs some.
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
# A registry that asks for more than this is better left to the next run of the same plan.
LONGEST_RETRY_AFTER = 900.0


def attempts(sink: Sink, side: Side) -> AsyncIterable[stamina.Attempt]:
    """Give the attempts at something that a TransientError of this side may interrupt.

    What fails on the other side is not healed by doing this side again.
    """

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, TransientError) or error.side != side or error.is_spent:
            return False
        delay = error.retry_after
        sink.emit(Retrying(error.subject, error.cause, delay or FIRST_WAIT))
        return True if delay is None else min(delay, LONGEST_RETRY_AFTER)

    return stamina.retry_context(
        on=wait,
        attempts=ATTEMPTS,
        timeout=None,
        wait_initial=FIRST_WAIT,
        wait_max=LONGEST_WAIT,
        wait_jitter=FIRST_WAIT,
    )
