"""Run one command of imgmigrate, and measure what its journal and its events cost.

`python -m tests.benchmarks.bookkeeping apply plan.out` does what `imgmigrate apply plan.out`
does, and leaves CPU seconds in `bookkeeping.json`: of the whole process from its start, and of
its events and records. Those are kept while it runs and done once more when it is over, for a
clock around each of them would cost more than they do.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from imgmigrate.cli import main as imgmigrate
from imgmigrate.render.changes.tally import Tally
from imgmigrate.render.lines import LineProgress
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.writer import Writer

if TYPE_CHECKING:
    from imgmigrate.events import Event
    from imgmigrate.state.record import Claim, ImageRecord

REPORT = "bookkeeping.json"


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of all threads, and those of the wall for the whole process."""

    journal: float = 0.0
    events: float = 0.0
    process: float = 0.0
    wall: float = 0.0

    @property
    def bookkeeping(self) -> float:
        """All that a tool without state and progress would not spend."""
        return self.journal + self.events


@dataclass(slots=True)
class Kept:
    """What the run told and recorded."""

    events: list[Event] = field(default_factory=list)
    claims: tuple[str, str, list[Claim]] = ("", "", [])
    records: list[ImageRecord] = field(default_factory=list)


def main() -> None:
    """Run the command, whatever becomes of it, and repeat its bookkeeping."""
    began, kept = time.monotonic(), Kept()
    emit, begin, record = LineProgress.emit, Writer.begin, Writer.record

    def emitting(lines: LineProgress, event: Event) -> None:
        kept.events.append(event)
        emit(lines, event)

    async def beginning(
        writer: Writer, run: str, plan_id: str, claims: list[Claim], **options: Any
    ) -> None:
        kept.claims = (run, plan_id, claims)
        await begin(writer, run, plan_id, claims, **options)

    async def recording(writer: Writer, each: ImageRecord) -> ImageRecord:
        kept.records.append(each)
        return await record(writer, each)

    try:
        with (
            patch.object(LineProgress, "emit", emitting),
            patch.object(Writer, "begin", beginning),
            patch.object(Writer, "record", recording),
        ):
            imgmigrate()
    finally:
        process, wall = time.process_time(), time.monotonic() - began
        spent = Spent(_journal_again(kept), _events_again(kept), process, wall)
        Path(REPORT).write_text(json.dumps(asdict(spent)))


def _events_again(kept: Kept) -> float:
    """Show the events once more, to nobody."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:

        def write(line: str) -> None:
            nowhere.write(f"{line}\n")
            nowhere.flush()

        lines = LineProgress(Tally(), write)
        began = time.process_time()
        for event in kept.events:
            lines.emit(event)
        return time.process_time() - began


def _journal_again(kept: Kept) -> float:
    """Write the records once more, to a state beside the real one."""

    async def write(folder: Path) -> float:
        async with LocalState(folder).writer(command="again") as writer:
            began = time.process_time()
            await writer.begin(*kept.claims)
            for record in kept.records:
                await writer.record(record)
            await writer.end({})
            return time.process_time() - began

    with tempfile.TemporaryDirectory(dir=".") as folder:
        return asyncio.run(write(Path(folder)))


if __name__ == "__main__":
    main()
