"""Read the state to plan from; refuse one of another config, tell of one that gets its owner."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from imgmigrate.events import Warned
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.owner import check_owner, waits_for_owner
from imgmigrate.state.spelling import respelled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.state.record import State
    from imgmigrate.workspace import Workspace

__all__ = ["looking", "presently_named", "tell_owner"]


@asynccontextmanager
async def looking(workspace: Workspace) -> AsyncIterator[State]:
    """Give the state to plan from, until the plan is made: an apply may follow it for hours."""
    with closing(await _state_of(workspace)) as state:
        yield state


async def _state_of(workspace: Workspace) -> State:
    """Read the state to plan from, its layouts under their present names; StateError if damaged.

    That of a stranger's config may be elsewhere: where there is none, it is not known what is
    ours.
    """
    config = workspace.config
    found: State
    if config.state_file is not None:
        from imgmigrate.state.exported import read_exported

        found = await asyncio.to_thread(read_exported, config.state_file)
    elif not config.has_state:
        return StateInMemory(is_known=False)
    else:
        found = await workspace.state.look()
        if config.is_untrusted and found.lineage is None:
            return StateInMemory(is_known=False)
    return await presently_named(found, config)


async def presently_named(found: State, config: Config) -> State:
    """Give the layouts of a state the names that the config has for them."""
    state = await asyncio.to_thread(respelled, found, config)
    if state is not found:
        found.close()
    return state


def tell_owner(state: State, config: Config, sink: Sink) -> None:
    """Check whose a state is; UsageError if it is another's.

    One that an earlier version wrote belongs to nobody: the next apply binds it, and whoever
    reviews the plan should know.
    """
    check_owner(state, config)
    if waits_for_owner(state, config):
        said = f"state {config.place}: it belongs to no config yet; the next apply makes it "
        sink.emit(Warned("state_unbound", f"{said}that of {config.name}"))
