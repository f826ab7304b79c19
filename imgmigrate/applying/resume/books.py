"""Note in the state what the config says of it, where no row of a plan has to be done.

An apply that finds all in order is still the apply that protects what is protected from now on,
and that gives a state of an earlier version its owner.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from imgmigrate.applying.protection import protect, unprotected
from imgmigrate.observing.sightings import record_rows
from imgmigrate.state.owner import check_owner, owner_of, waits_for_owner
from imgmigrate.state.spelling import find_renames, rename
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.model import Config
    from imgmigrate.events import Warned
    from imgmigrate.plan import Plan
    from imgmigrate.workspace import Workspace

__all__ = ["keep_books"]


async def keep_books(
    config: Config | Workspace,
    plan: Plan | None = None,
    *,
    command: str,
    lock_timeout: float,
    warned: Callable[[Warned], None] | None = None,
) -> str | None:
    """Note it, and say whether the state got its owner by that.

    The lock is taken only if there is something to note; what sources were seen to show, by the
    rows of a plan, needs none. `warned` hears what is worth knowing of the state. Raises
    UsageError for a state of another config, StateLocked and StateError.
    """
    workspace = open_workspace(config)
    said = await _note(workspace, command, lock_timeout, warned)
    if plan is not None:
        await record_rows(workspace, plan)
    return said


async def _note(
    workspace: Workspace,
    command: str,
    lock_timeout: float,
    warned: Callable[[Warned], None] | None,
) -> str | None:
    config, guards = workspace.config, workspace.config.guards
    with closing(await workspace.state.look()) as state:
        check_owner(state, config)
        news = unprotected(state, guards) or find_renames(state, config)
    if not news and not waits_for_owner(state, config):
        return None
    async with workspace.state.writer(command=command, lock_timeout=lock_timeout) as writer:
        if warned is not None:
            writer.listen(warned)
        check_owner(writer.state, config)
        await rename(writer, config)
        await protect(writer, guards)
        owner = owner_of(config)
        if owner is None or not waits_for_owner(writer.state, config):
            return None
        await writer.bind(owner)
    return f"state {config.place}: it belonged to no config; now it is that of {config.name}"
