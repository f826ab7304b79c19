"""Show what an adoption finds: what is there, what differs, what is not there.

Pure: an Adoption in, lines out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.redaction import printable
from imgmigrate.render.style import PLAIN, Style, fold
from imgmigrate.render.units import count
from imgmigrate.render.words import detail_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.plan import Change
    from imgmigrate.planning.adopting import Adoption

__all__ = ["adoption_lines", "adoption_text"]

# What is harmless is listed so far; `--json` has all.
MOST_LISTED = 20


def adoption_lines(
    adoption: Adoption, style: Style = PLAIN, *, verbose: bool = False
) -> Iterator[str]:
    """Show the rows that need a look first, then what is only recorded: all of it if `verbose`."""
    most = None if verbose else MOST_LISTED
    for row in adoption.errors:
        detail = printable(detail_of(row) or row.reason, 2000)
        yield from style.wrap(f"! {row.address}: {detail}", hanging="    ")
    if adoption.differing:
        said = "taken over as they are" if adoption.taken else "not ours, left alone"
        title = f"! differ from the source ({len(adoption.differing):,}): {said}"
        yield style.paint(title, "red")
        for row in adoption.differing:
            yield from _address(row, style)
            yield f"    holds {_short(row, at_source=False)}, the source shows {_short(row)}"
    if adoption.same:
        yield style.paint(f"= already there ({len(adoption.same):,}): recorded", "cyan")
        yield from _listed(adoption.same, style, most)
    if adoption.missing:
        yield style.paint(f"  not there ({len(adoption.missing):,}): plan copies them", "dim")
        yield from _listed(adoption.missing, style, most)
    yield from style.wrap(adoption_text(adoption), hanging="  ")


def adoption_text(adoption: Adoption) -> str:
    """Say an adoption in one sentence."""
    parts = []
    if adoption.same:
        parts.append(f"{count(len(adoption.same), 'image')} to record as they are")
    if adoption.differing and adoption.taken:
        parts.append(f"{len(adoption.differing):,} to take over, which a later apply overwrites")
    if adoption.differing and not adoption.taken:
        parts.append(f"{len(adoption.differing):,} differing (--take-ownership takes them over)")
    if adoption.missing:
        parts.append(f"{len(adoption.missing):,} not there")
    if adoption.errors:
        parts.append(count(len(adoption.errors), "error"))
    return f"Adopt: {', '.join(parts) or 'nothing that is not recorded already'}."


def _listed(rows: Sequence[Change], style: Style, most: int | None) -> Iterator[str]:
    shown = rows[:most]
    for row in shown:
        yield from _address(row, style)
    if len(rows) > len(shown):
        yield f"  and {len(rows) - len(shown):,} more; --json lists them all"


def _address(row: Change, style: Style) -> Iterator[str]:
    first, *others = fold(printable(str(row.address), 500), style.columns - 4)
    yield f"  {first}"
    yield from (f"    {piece}" for piece in others)


def _short(row: Change, *, at_source: bool = True) -> str:
    digest = row.source.digest if at_source and row.source else row.before
    return digest.short if digest else "nothing"
