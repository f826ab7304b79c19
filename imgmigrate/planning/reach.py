"""Open the stores that planning reads, and say which of them are waited for when they are down."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from imgmigrate.state.record import State
    from imgmigrate.stores.base import Stores
    from imgmigrate.workspace import Workspace

__all__ = ["open_stores"]


def open_stores(
    workspace: Workspace, state: State, *, outage: float, awaits_strangers: bool
) -> AbstractAsyncContextManager[Stores]:
    """Wait `outage` seconds for a registry that is down.

    For one that the state does not know, and that cannot be reached at all, only where it
    `awaits_strangers`: it may well be a wrong name.
    """

    @cache
    def met() -> frozenset[str]:
        """The registries where an earlier run found something, or put something."""
        return frozenset(each.store for each in (*state.repositories(), *state.sources()))

    def is_met(host: str) -> bool:
        return awaits_strangers or host in met()

    return workspace.stores(outage=outage, is_met=is_met)
