"""Keep in the state what the config protects: it outlasts the config's line.

Only `state unprotect` lifts it. What is written while the line is there is protected by its
own record; this is for the records that are there already.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from imgmigrate.state.backends.local import LocalState

if TYPE_CHECKING:
    from imgmigrate.config.guards import Guards
    from imgmigrate.config.model import Config
    from imgmigrate.oci.reference import Reference
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.state.writer import Writer

__all__ = ["is_protected", "keep_protection", "protect"]


def is_protected(guards: Guards, address: Reference, *records: ImageRecord | None) -> bool:
    """Tell whether the config or a record protects: only `state unprotect` lifts the latter."""
    is_kept = any(record is not None and record.protected for record in records)
    return is_kept or guards.protects(address)


async def protect(writer: Writer, guards: Guards) -> None:
    """Note the protection of live records; durable on return."""
    await writer.protect(_unnoted(writer.state, guards))


async def keep_protection(config: Config, *, command: str, lock_timeout: float) -> None:
    """Do the same where no plan is applied; the lock is taken only if there is something to note.

    Raises StateLocked and StateError.
    """
    if not config.guards.protect:
        return
    backend = LocalState(config.state)
    if not _unnoted(await asyncio.to_thread(backend.read), config.guards):
        return
    async with backend.writer(command=command, lock_timeout=lock_timeout) as writer:
        await protect(writer, config.guards)


def _unnoted(state: State, guards: Guards) -> list[Reference]:
    if not guards.protect:
        return []
    return [
        record.address
        for record in state.live()
        if not record.protected and guards.protects(record.address)
    ]
