"""An executor whose rows are carried out by another process: JSON goes through pipes, a line each.

It proves that a row's change, its facts and its receipt are all that passes. The other process is
started anew (`python -m tests.fakes.other_process CONFIG`), so nothing of this one is in it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.applying.executor.wire import (
    decode_receipt,
    decode_row,
    encode_receipt,
    encode_row,
)
from imgmigrate.applying.worker.worker import open_worker
from imgmigrate.events import NoSink
from imgmigrate.foreign.load import load_config
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from imgmigrate.applying.executor.base import RowFacts
    from imgmigrate.events import Receipt
    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.plan import Change

ROOT = Path(__file__).parents[2]


@dataclass
class OtherProcess:
    """Hands rows over, one at a time; `lines` are what passed in both directions."""

    process: asyncio.subprocess.Process
    lines: list[bytes] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def carry_out(self, change: Change, facts: RowFacts) -> Receipt:
        """Have a row carried out over there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        async with self.turn:
            sent = json.dumps(encode_row(change, facts)).encode()
            self.process.stdin.write(sent + b"\n")
            answer = await self.process.stdout.readline()
        self.lines += [sent, answer]
        return decode_receipt(json.loads(answer))

    def expect(self, batch: Sequence[Change]) -> None:
        """One at a time: nobody comes together."""

    def leave(self, address: Reference) -> None:
        """Nobody was awaited."""

    def waits(self, _: str) -> bool:
        """Layouts are never waited for."""
        return False

    def rests(self, _: str) -> bool:
        """Layouts never rest."""
        return False

    def is_narrow(self, _: Repository) -> bool:
        """There is no line to a layout."""
        return False

    def heard_by(self, *_: Callable[[], object]) -> AbstractContextManager[None]:
        """There is nothing to tell."""
        return nullcontext()


@asynccontextmanager
async def open_other_process(config: Path, _: Iterable[Repository]) -> AsyncIterator[OtherProcess]:
    """Start the other process; on leaving, its stores are closed and it has ended well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.other_process", str(config)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield OtherProcess(process)
    finally:
        await process.communicate(b"")  # which closes its input
    assert process.returncode == 0


async def _serve(config: Path) -> None:
    workspace = open_workspace(load_config(config, environ={}))
    async with (
        workspace.stores() as stores,
        open_worker(stores, workspace.cache, NoSink(), ()) as worker,
    ):
        while line := await asyncio.to_thread(sys.stdin.readline):
            receipt = await worker.carry_out(*decode_row(json.loads(line)))
            sys.stdout.write(json.dumps(encode_receipt(receipt)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
