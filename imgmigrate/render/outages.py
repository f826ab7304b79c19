"""Say once that a registry was down when it was planned what to do, however many rows need it.

Pure.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.redaction import printable
from imgmigrate.render.units import count
from imgmigrate.render.words import detail_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgmigrate.plan import Change
    from imgmigrate.render.style import Style

__all__ = ["outage_lines", "split"]

# Addresses that help to see what it is about.
MOST_ADDRESSES = 10


def split(changes: Iterable[Change]) -> tuple[list[list[Change]], list[Change]]:
    """Take apart the rows that could not be decided because of one registry, and all others.

    A row that is alone with its registry stays among the others: it says more itself.
    """
    by_host: defaultdict[str, list[Change]] = defaultdict(list)
    others: list[Change] = []
    for change in changes:
        (others if change.out_of_reach is None else by_host[change.out_of_reach]).append(change)
    others += [rows[0] for rows in by_host.values() if len(rows) == 1]
    return [rows for _, rows in sorted(by_host.items()) if len(rows) > 1], others


def outage_lines(rows: Sequence[Change], style: Style, *, how: str = "") -> Iterator[str]:
    """Name the registry, how many rows need it, why it was given up, and some addresses.

    `how` says what would list all.
    """
    host = printable(rows[0].out_of_reach or "", 500)
    title = f"! {host}: out of reach, {count(len(rows), 'row')}"
    lines = style.wrap(title, indent="  ", hanging="    ")
    yield from (style.paint(line, "bold", "red") for line in lines)
    yield from style.wrap(printable(detail_of(rows[0]), 500), indent="      ")
    for row in rows[:MOST_ADDRESSES]:
        yield from style.wrap(printable(str(row.address), 500), indent="    ", hanging="      ")
    if len(rows) > MOST_ADDRESSES:
        yield f"    and {len(rows) - MOST_ADDRESSES:,} more{how}"
