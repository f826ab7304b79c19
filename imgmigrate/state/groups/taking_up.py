"""Bring what earlier writers on this machine could not, before anything new is written."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from imgmigrate.state.entries import decode
from imgmigrate.state.groups.spool import left_over
from imgmigrate.state.merging import merge_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from pathlib import Path

    from imgmigrate.state.groups.pusher import Pusher
    from imgmigrate.state.lines.journal import Line
    from imgmigrate.state.view import View
    from imgmigrate.state.writer import Writer

__all__ = ["take_up"]

logger = logging.getLogger(__name__)


async def take_up(
    folder: Path | None,
    view: View,
    pusher: Pusher,
    writer: Writer,
    *,
    known: Callable[[Sequence[Line]], Awaitable[Collection[str]]],
    place: str,
) -> None:
    """Write what was left in a folder of spools; their files go when it is in.

    Lines that go on where the history ends are written as they were. Where others have written
    since, only records are, and none over a newer one. `known` tells which lines are in, by their
    hashes. What is of another state keeps its file, under another name.
    """
    for each in await asyncio.to_thread(left_over, folder):
        there = await known(each.lines)
        lines = [line for line in each.lines if line.hash not in there]
        if not lines:
            number = 0
        elif (lines[0].sequence - 1, lines[0].previous) == (view.sequence, view.head):
            for line in lines:
                head = pusher.write(line.sequence, view.head, line.entry)
                view.apply(line.sequence, head, decode(line.document))
            number = len(lines)
        elif each.lineage == view.lineage:
            number = await merge_lines(lines, writer)
        else:
            kept = each.path.with_suffix(".other")
            each.path.rename(kept)
            logger.warning(
                "state %s: it is another one than before; what was not saved of that is in %s",
                place,
                kept,
            )
            continue
        await pusher.flush()
        with suppress(OSError):
            each.path.unlink()
        if number:
            logger.warning(
                "state %s: lines of an earlier run, which it could not save, were added: %d",
                place,
                number,
            )
