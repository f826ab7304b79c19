"""Keep the pull count of a metered registry: read what is left, and never overdraw it.

Docker Hub answers manifest requests with `ratelimit-limit: 100;w=21600`, `ratelimit-remaining`
and `docker-ratelimit-source`; a manifest GET is a pull, a HEAD is not but tells as much
(protocol 3.7, docs.docker.com/docker-hub/usage/pulls). It does not say when pulls come back,
only that the window is so many seconds long; so waiting means to look again by HEAD.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from imgmigrate.errors import QuotaExhausted, StoreError
from imgmigrate.events import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from imgmigrate.clock import Clock
    from imgmigrate.events import Sink

__all__ = ["OnRateLimit", "PullMeter", "Pulls"]

OnRateLimit = Literal["wait", "stop"]

# Docker Hub's window in seconds, for an answer that does not tell (docs.docker.com).
USUAL_WINDOW = 21_600.0
# Seconds between two looks. A look costs nothing, but thousands a minute count as abuse.
LOOK_AGAIN = 600.0
# A window that is shorter or longer than any real one, in seconds, would make waiting absurd.
SHORTEST_WINDOW, LONGEST_WINDOW = 60.0, 7 * 86_400.0
_COUNT = re.compile(r"\s*([0-9]{1,9})\s*(?:;\s*w\s*=\s*([0-9]{1,9})\s*)?")


class Pulls(Struct, frozen=True):
    """What a metered registry said last: pulls left of how many, in a window of seconds."""

    left: int
    limit: int | None = None
    window: float = USUAL_WINDOW
    source: str | None = None

    @classmethod
    def read(cls, header: Callable[[str], str | None]) -> Pulls | None:
        """Read the headers of an answer; None if it does not count."""
        left = _COUNT.fullmatch(header("ratelimit-remaining") or "")
        if left is None:
            return None
        limit = _COUNT.fullmatch(header("ratelimit-limit") or "")
        seconds = (limit[2] if limit else None) or left[2]
        return cls(
            int(left[1]),
            int(limit[1]) if limit else None,
            min(max(float(seconds), SHORTEST_WINDOW), LONGEST_WINDOW) if seconds else USUAL_WINDOW,
            header("docker-ratelimit-source"),
        )


class PullMeter:
    """Let as many pulls through as are left; `host` is for messages.

    With `stop`, the pull after the last one raises QuotaExhausted. `changed` is called when
    `is_waiting`, for all who pull, changes.
    """

    def __init__(
        self,
        host: str,
        policy: OnRateLimit,
        clock: Clock,
        sink: Sink,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.pulls: Pulls | None = None
        self.is_waiting = False
        self._tell = changed
        self._host, self._policy, self._clock, self._sink = host, policy, clock, sink
        self._open = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def pull(self, look: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """Hold one pull; `look` asks the registry, for nothing, how many are left."""
        # Counted while the turn is held, so two never take the one pull that is left. The pull
        # itself is not: many are open at once. Who waits keeps the turn, as all behind it would
        # find the same, and only one has to look.
        async with self._turn:
            while not self._may_pull:
                if self._open:
                    # What those answer may leave room for this one, or show that none is left.
                    self._changed.clear()
                    await self._changed.wait()
                else:
                    await self._wait_for_more(look)
            self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._changed.set()

    def note(self, header: Callable[[str], str | None], *, is_success: bool) -> None:
        """Keep what an answer to a manifest request tells; no header, no limit."""
        found = Pulls.read(header)
        if found is None:
            if is_success:
                self.pulls = None
        elif self.pulls is None or self._open <= 1 or found.left < self.pulls.left:
            # Answers overtake each other: while several pulls are open the least is right.
            self.pulls = found
        self._changed.set()

    def exhaust(self) -> None:
        """Note that a pull was refused because none is left."""
        known = self.pulls
        self.pulls = Pulls(0, known.limit, known.window, known.source) if known else Pulls(0)
        self._changed.set()

    @property
    def _may_pull(self) -> bool:
        return self.pulls is None or self.pulls.left > self._open

    async def _wait_for_more(self, look: Callable[[], Awaitable[object]]) -> None:
        pulls = self.pulls or Pulls(0)
        latest = datetime.now(UTC) + timedelta(seconds=pulls.window)
        until = f"{latest:%Y-%m-%d %H:%M} UTC"
        cause = f"its pull limit{_described(pulls)} is used up"
        if self._policy == "stop":
            hint = f"go on after {until}, or sooner with an account whose limit is higher"
            raise QuotaExhausted(self._host, cause, hint=hint)
        cause += f"; waiting until {until} at the latest"
        self._sink.emit(Waiting(self._host, cause, pulls.window))
        end = self._clock.time() + pulls.window
        self.is_waiting = True
        self._tell()
        try:
            while not self._may_pull and self._clock.time() < end:
                await self._clock.sleep(min(LOOK_AGAIN, pulls.window))
                with suppress(StoreError):  # it is only a look
                    await look()
        finally:
            self.is_waiting = False
            self._tell()


def _described(pulls: Pulls) -> str:
    parts = []
    if pulls.limit is not None:
        parts.append(f"{pulls.limit} in {pulls.window / 3600:g} h")
    if pulls.source:
        parts.append(f"counted for {pulls.source}")
    return f" ({', '.join(parts)})" if parts else ""
