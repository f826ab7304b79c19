"""Keep in the state what the config protects: it outlasts the config's line.

Only `state unprotect` lifts it. What is written while the line is there is protected by its
own record; this is for the records that are there already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgmigrate.config.guards import Guards
    from imgmigrate.oci.reference import Reference
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.state.writer import Writer

__all__ = ["is_protected", "protect", "unprotected"]


def is_protected(guards: Guards, address: Reference, *records: ImageRecord | None) -> bool:
    """Tell whether the config or a record protects: only `state unprotect` lifts the latter."""
    is_kept = any(record is not None and record.protected for record in records)
    return is_kept or guards.protects(address)


async def protect(writer: Writer, guards: Guards) -> None:
    """Note the protection of live records; durable on return."""
    await writer.protect(unprotected(writer.state, guards))


def unprotected(state: State, guards: Guards) -> list[Reference]:
    """The live records that the config protects and the state does not yet."""
    if not guards.protect:
        return []
    return [
        record.address
        for record in state.live()
        if not record.protected and guards.protects(record.address)
    ]
