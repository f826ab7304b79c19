"""The state that a run writes: locked and opened, and what is saved when it takes no more."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.errors import StateLocked
from imgmigrate.events import Waiting
from imgmigrate.files import write_atomically
from imgmigrate.state.record import RECORDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from imgmigrate.events import Sink
    from imgmigrate.state.base import StateStore
    from imgmigrate.state.record import ImageRecord
    from imgmigrate.state.writer import Writer

__all__ = ["open_writer", "save_elsewhere"]


@asynccontextmanager
async def open_writer(
    store: StateStore, command: str, patience: float, sink: Sink
) -> AsyncIterator[Writer]:
    """Lock and open; StateLocked if another run still has it after `patience` seconds.

    Who has to wait is told for whom, and whoever writes what is worth knowing of the state.
    """
    async with AsyncExitStack() as stack:
        try:
            opened = store.writer(command=command)
            writer = await stack.enter_async_context(opened)
        except StateLocked as error:
            if not patience:
                raise
            sink.emit(Waiting(f"state {store.place}", error.cause, patience))
            opened = store.writer(command=command, lock_timeout=patience)
            writer = await stack.enter_async_context(opened)
        writer.listen(sink.emit)
        yield writer


def save_elsewhere(records: Sequence[ImageRecord], run: str, base: Path) -> str:
    """Write records beside the config, else to the temporary folder; say where, or "nowhere".

    The last resort: the claims in the journal already make the images ours, so it only spares
    somebody the question what happened.
    """
    data = b"".join(RECORDS.dump_json(record, exclude_none=True) + b"\n" for record in records)
    for folder in (base, Path.cwd(), Path(tempfile.gettempdir())):
        path = folder / f"imgmigrate-recovery-{run}.jsonl"
        try:
            write_atomically(path, data)
        except OSError:
            continue
        return str(path)
    return "nowhere (no folder could be written)"
