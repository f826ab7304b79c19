"""What one command works with: config, state, cache, stores, sink, clock and limits.

`open_workspace` is the one place where they are made, and a `Workspace` is how they are passed
on: nothing below the command line makes one of them itself, and a test that wants another store
or state hands in a workspace that has it.

Nothing is open yet in a new workspace. The state is held for writing by `state.writer`, stores
are open within `stores()`: whoever writes holds the state around the stores, since closing a
layout still writes its index.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from imgmigrate.clock import LoopClock
from imgmigrate.events import NoSink
from imgmigrate.machine import cache_folder
from imgmigrate.state.base import SightingsKeeper, open_state
from imgmigrate.stores.cache import ManifestCache
from imgmigrate.stores.pool import open_stores

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.state.base import StateStore
    from imgmigrate.stores.base import Stores
    from imgmigrate.stores.registry.http.limits import Timeouts
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["Opener", "Workspace", "open_workspace"]


class Opener(Protocol):
    """Opens the stores of a workspace, and waits for those that are down as `stores()` says."""

    def __call__(
        self, workspace: Workspace, /, *, outage: float, is_met: Callable[[str], bool]
    ) -> AbstractAsyncContextManager[Stores]:
        """Open them, each when it is first used."""


def _open_pool(
    workspace: Workspace, *, outage: float, is_met: Callable[[str], bool]
) -> AbstractAsyncContextManager[Stores]:
    """Open the stores that the config leads to."""
    return open_stores(
        workspace.config,
        sink=workspace.sink,
        timeouts=workspace.timeouts,
        on_rate_limit=workspace.on_rate_limit,
        outage=outage,
        is_met=is_met,
        clock=workspace.clock,
        kept=workspace.kept,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """All that a command needs, as one object.

    `kept` is the folder of what was read once and holds for ever, private to this machine's user,
    None where nothing is written; the `cache` lies there too. `clock` is what limits wait, tokens
    end and runs stop by.
    """

    config: Config
    sink: Sink
    clock: Clock
    state: StateStore
    cache: ManifestCache
    kept: Path | None = None
    on_rate_limit: OnRateLimit = "wait"
    timeouts: Timeouts | None = None
    opener: Opener = field(default=_open_pool, repr=False)

    @property
    def sightings(self) -> SightingsKeeper | None:
        """What keeps what sources were seen to show; None without a state, or for one in a file."""
        is_at_hand = self.config.has_state and self.config.state_file is None
        return self.state if is_at_hand and isinstance(self.state, SightingsKeeper) else None

    def stores(
        self, *, outage: float = 0, is_met: Callable[[str], bool] = lambda _: True
    ) -> AbstractAsyncContextManager[Stores]:
        """Open the stores of both sides, each when it is first used; all are closed at the end.

        One that is down is waited for `outage` seconds, unless `timeouts` say; not for long where
        nobody ever was there, which `is_met` tells of a host.
        """
        return self.opener(self, outage=outage, is_met=is_met)

    def telling(self, sink: Sink) -> Workspace:
        """The same, for work that tells another sink."""
        return replace(self, sink=sink)


def open_workspace(
    config: Config | Workspace,
    *,
    sink: Sink | None = None,
    clock: Clock | None = None,
    on_rate_limit: OnRateLimit = "wait",
    timeouts: Timeouts | None = None,
) -> Workspace:
    """Make all that a command over a config needs; what is a workspace already stays as it is.

    But for its sink and its clock, where others are named. `on_rate_limit` says what to do where
    nothing is left of a metered registry's pulls; without a `clock` it is the event loop's.
    """
    if isinstance(config, Workspace):
        return replace(config, sink=sink or config.sink, clock=clock or config.clock)
    state = open_state(config.state_place)
    # Where nothing is written, nothing is kept either.
    kept = None if config.is_untrusted else cache_folder(state.identity)
    return Workspace(
        config=config,
        sink=sink or NoSink(),
        clock=clock or LoopClock(),
        state=state,
        cache=ManifestCache(kept),
        kept=kept,
        on_rate_limit=on_rate_limit,
        timeouts=timeouts,
    )
