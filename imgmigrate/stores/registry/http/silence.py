"""Say what is waited for once a server has been silent for a while.

One timer watches all waits, which are due in the order in which they began; who waits in a crowd
is spoken for by the first.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imgmigrate.events import Waiting

if TYPE_CHECKING:
    from imgmigrate.events import Sink

__all__ = ["Silence"]

# Seconds: a healthy answer never takes so long, and a person begins to wonder.
WORTH_SAYING = 15.0


class Silence:
    """Watches the waits of one HTTP client."""

    def __init__(self, sink: Sink, worth_saying: float = WORTH_SAYING) -> None:
        self._sink, self._worth_saying = sink, worth_saying
        self._said: dict[str, float] = {}
        # When each open wait is due, the oldest first.
        self._open: dict[_Wait, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def waiting(self, method: str, url: str, subject: str, patience: float) -> _Wait:
        """Watch one wait for an answer, which ends after `patience` seconds at the latest."""
        return _Wait(self, method, url, subject, patience)

    def tell(self, wait: _Wait) -> None:
        """Say what is waited for, unless something of the same server was just named."""
        host, now = urlsplit(wait.url).netloc, asyncio.get_running_loop().time()
        if now - self._said.get(host, -inf) < self._worth_saying:
            return
        self._said[host] = now
        cause = f"no answer for {self._worth_saying:g} s to {wait.method} {wait.subject}"
        self._sink.emit(Waiting(host, cause, max(0.0, wait.patience - self._worth_saying)))

    def begin(self, wait: _Wait) -> None:
        """Watch a wait until `end`."""
        loop = asyncio.get_running_loop()
        self._open[wait] = due = loop.time() + self._worth_saying
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)

    def end(self, wait: _Wait) -> None:
        """Watch it no more."""
        self._open.pop(wait, None)

    def _look(self) -> None:
        """Tell of what is due, and come back for the next."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._open:
            wait, due = next(iter(self._open.items()))
            if due > loop.time():
                self._timer = loop.call_at(due, self._look)
                return
            del self._open[wait]
            self.tell(wait)


class _Wait:
    """One wait. A class and no generator: every request has one."""

    __slots__ = ("_silence", "method", "patience", "subject", "url")

    def __init__(
        self, silence: Silence, method: str, url: str, subject: str, patience: float
    ) -> None:
        self._silence = silence
        self.method, self.url, self.subject, self.patience = method, url, subject, patience

    def __enter__(self) -> None:
        self._silence.begin(self)

    def __exit__(self, *_: object) -> None:
        self._silence.end(self)
