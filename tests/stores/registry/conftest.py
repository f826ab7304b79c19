"""A store of one registry, as a run would have it, with pauses that take no time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.store import RegistryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from imgmigrate import clock as clocks
    from imgmigrate.events import Event

# No pause is ever waited for.
TIMEOUTS = Timeouts(longest_pause=0)


class Recorder:
    """A sink that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


@pytest.fixture
def sink() -> Recorder:
    """What the stores of the test emit."""
    return Recorder()


class Clock:
    """The loop's clock, which a test may put forward: every timer that runs is due then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._offset = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._offset)

    def advance(self, seconds: float) -> None:
        """Let so many seconds have passed."""
        self._offset += seconds


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the test's loop."""
    return Clock(monkeypatch)


class Connect(Protocol):
    """How a test opens a store."""

    def __call__(
        self,
        host: str,
        config: RegistryConfig | None = None,
        *,
        timeouts: Timeouts = TIMEOUTS,
        repositories: Mapping[str, RegistryConfig] | None = None,
        clock: clocks.Clock | None = None,
    ) -> RegistryStore:
        """Open one; plain HTTP and anonymous unless `config` says otherwise.

        Single `repositories` may have a config of their own.
        """


@pytest.fixture
async def connect(sink: Recorder) -> AsyncIterator[Connect]:
    """Open stores that are closed with the test."""
    async with AsyncExitStack() as stack:

        def opened(
            host: str,
            config: RegistryConfig | None = None,
            *,
            timeouts: Timeouts = TIMEOUTS,
            repositories: Mapping[str, RegistryConfig] | None = None,
            clock: clocks.Clock | None = None,
        ) -> RegistryStore:
            http = Http(timeouts, sink=sink)
            stack.push_async_callback(http.aclose)
            usual = config or RegistryConfig(plain_http=True)
            special = repositories or {}

            def settings(repo: str | None) -> RegistryConfig:
                return special.get(repo or "", usual)

            return RegistryStore(host, settings, http, sink, clock=clock)

        yield opened
