"""Bring what a run recorded and could not write: from its lines, or from bare records."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from imgmigrate.state.entries import decode
from imgmigrate.state.lines.journal import Scan
from imgmigrate.state.lines.sealing import explain, unseal
from imgmigrate.state.lines.snapshot import KIND
from imgmigrate.state.record import RECORDS, ImageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.state.lines.journal import Line
    from imgmigrate.state.writer import Writer

__all__ = ["is_copy", "merge_lines", "merge_records", "read_recovery"]


def is_copy(data: bytes) -> bool:
    """Tell a copy of a whole state from what one run left."""
    return KIND.encode() in data.partition(b"\n")[0]


def read_recovery(data: bytes) -> list[Line] | list[ImageRecord]:
    """Read the file that a run left; ValueError says what is wrong with it.

    Its lines are sealed, or plain records: the first tells.
    """
    lines = list(Scan(BytesIO(_lines_of(data))))
    if lines or not data:
        return lines
    try:
        return [RECORDS.validate_json(line) for line in data.splitlines()]
    except ValueError as error:
        raise ValueError(explain(error)) from None


def _lines_of(data: bytes) -> bytes:
    """Leave out the line that a spool begins with: it names the state that the others are of."""
    first, end, rest = data.partition(b"\n")
    try:
        document, _ = unseal(first + end)
    except ValueError:
        return data
    return data if "sequence" in document else rest


async def merge_lines(lines: Sequence[Line], writer: Writer) -> int:
    """Record anew what lines recorded where the address has nothing newer; return how many.

    What somebody wrote after the line that they follow wins.
    """
    number = 0
    for line in lines:
        entry = decode(line.document)
        if not isinstance(entry, ImageRecord):
            continue
        known = writer.state.record(entry.address)
        if known is None or known.sequence < lines[0].sequence:
            await writer.record(entry)
            number += 1
    return number


async def merge_records(records: Sequence[ImageRecord], writer: Writer) -> int:
    """Record what a run left without its lines, where its claim is still open; return how many."""
    number = 0
    for record in records:
        claimed = writer.state.claims.get(str(record.address), frozenset())
        if record.digest in claimed:
            await writer.record(record)
            number += 1
    return number
