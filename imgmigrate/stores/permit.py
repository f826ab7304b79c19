"""Ask, just before a tag is written or taken away, whether this process still may.

Who holds a state that several machines share may lose it while it sleeps; then a tag that it
writes is another's to undo. The stores only ask: what the answer hangs on is the business of who
opened them. It goes along with the task, as an image's rank does: every attempt asks anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

__all__ = ["Permit", "permitted", "tag_permit"]

Permit = Callable[[], Awaitable[None]]

tag_permit: ContextVar[Permit | None] = ContextVar("tag_permit", default=None)


async def permitted() -> None:
    """Return when a tag may be written now; raise what the permit raises if it may not."""
    permit = tag_permit.get()
    if permit is not None:
        await permit()
