"""Bring lines that a state lacks, of a run that could not: exactly, or by what they recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.state.entries import decode
from imgmigrate.state.lines.sealing import encode
from imgmigrate.state.record import ImageRecord
from imgmigrate.state.shared.pusher import Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.state.lines.journal import Line
    from imgmigrate.state.shared.pusher import Pusher
    from imgmigrate.state.view import View
    from imgmigrate.state.writer import Writer

__all__ = ["merge"]


async def merge(lines: Sequence[Line], view: View, journal: Pusher, writer: Writer) -> int:
    """Bring lines to the state that `journal` and `writer` hold; return how many.

    Lines that go on where the history ends are taken as they are. Else somebody wrote since, and
    what a line recorded is recorded anew where the address has nothing newer: what was written
    after the line that they follow wins.
    """
    if not lines:
        return 0
    first = lines[0]
    if (first.sequence, first.previous) == (view.sequence + 1, view.head):
        for line in lines:
            view.apply(line.sequence, line.hash, decode(line.document))
            journal.take(Written(line.sequence, line.hash, encode(line.document) + b"\n"))
        return len(lines)
    number = 0
    for line in lines:
        entry = decode(line.document)
        if not isinstance(entry, ImageRecord):
            continue
        known = view.state().record(entry.address)
        if known is None or known.sequence < first.sequence:
            await writer.record(entry)
            number += 1
    return number
