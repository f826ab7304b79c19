"""Open a state for writing, and say for whom we wait while another run has it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from imgmigrate.errors import StateLocked
from imgmigrate.events import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imgmigrate.events import Sink
    from imgmigrate.state.base import StateStore
    from imgmigrate.state.writer import Writer

__all__ = ["open_writer"]


@asynccontextmanager
async def open_writer(
    store: StateStore, command: str, patience: float, sink: Sink
) -> AsyncIterator[Writer]:
    """Lock and open; StateLocked if another run still has it after `patience` seconds."""
    async with AsyncExitStack() as stack:
        try:
            opened = store.writer(command=command)
            writer = await stack.enter_async_context(opened)
        except StateLocked as error:
            if not patience:
                raise
            subject = f"state {store.place}"
            cause = error.message.removeprefix(f"{subject}: ")
            sink.emit(Waiting(subject, cause, patience))
            opened = store.writer(command=command, lock_timeout=patience)
            writer = await stack.enter_async_context(opened)
        yield writer
