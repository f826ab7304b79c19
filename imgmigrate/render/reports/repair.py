"""Show what is wrong with a state and what a repair would lose: for people and as data.

Pure: a Survey in, lines and a document out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.redaction import printable
from imgmigrate.render.reports.state import records_lines
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style
from imgmigrate.render.units import count, size
from imgmigrate.state.record import RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imgmigrate.state.local.repair import Survey

__all__ = ["survey_line", "survey_lines"]


def survey_lines(
    found: Survey, place: str, shown: Callable[[Path], str], style: Style = PLAIN
) -> Iterator[str]:
    """Say what is wrong, where it is mended from, what is cut and what is lost."""
    live = found.view.state().live_count
    whole = f"{count(live, 'image')} recorded, sequence {found.view.sequence:,}"
    if found.is_whole:
        yield from style.wrap(f"State {printable(place, 500)} is whole: {whole}.", hanging="  ")
        return
    yield style.paint(f"State {printable(place, 500)} is damaged:", "bold")
    if found.trouble:
        yield from style.wrap(f"snapshot: {found.trouble}", indent="  ", hanging="    ")
        yield from (f"    rebuilt from {shown(path)}" for path in found.sources)
    if found.cut:
        cut = found.cut
        text = f"journal: damaged at line {cut.line:,}, byte {cut.offset:,}: {cut.cause}"
        yield from style.wrap(text, indent="  ", hanging="    ")
        yield f"    to be cut there: {count(cut.lines, 'line')}, {size(cut.size)}"
    yield f"After the repair: {whole}."
    yield from _lost(found, style)


def _lost(found: Survey, style: Style) -> Iterator[str]:
    if not found.lost and not found.illegible:
        yield "No record is lost."
        return
    if found.lost:
        yield f"{count(len(found.lost), 'record')} would be lost:"
        yield from (f"  {line}" for line in records_lines(found.lost))
    if found.illegible:
        lines = count(found.illegible, "damaged line")
        yield from style.wrap(f"What {lines} recorded cannot be read.")
    text = (
        "The images stay where they are. What is lost shows in the next plan as adopt, or as "
        "a conflict where the source has moved since: imgmigrate adopt --take-ownership."
    )
    yield from style.wrap(text)


def survey_line(found: Survey, place: str) -> report_lines.StateSurvey:
    """Lay out a survey."""
    cut = found.cut
    return report_lines.StateSurvey(
        state=place,
        whole=found.is_whole,
        snapshot=found.trouble,
        rebuilt_from=[str(path) for path in found.sources],
        cut=report_lines.Cut(
            line=cut.line, offset=cut.offset, lines=cut.lines, size=cut.size, cause=cut.cause
        )
        if cut
        else None,
        lost=[RECORDS.dump_python(each, mode="json", exclude_none=True) for each in found.lost],
        illegible=found.illegible,
        images=found.view.state().live_count,
        sequence=found.view.sequence,
    )
