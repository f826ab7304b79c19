"""Show what was found out about registries: a compact table for each.

Pure: reports in, lines out. Their texts come from servers: made printable where they were made
errors, and again here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.probing.probe import Verdict
from imgmigrate.redaction import printable
from imgmigrate.render.options import spoken
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style
from imgmigrate.render.units import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.probing.probe import Check, Report
    from imgmigrate.render.style import Colour

__all__ = ["probe_headline", "probe_line", "probe_lines"]

# "not offered" and "referrers", each with two blanks behind it.
_NAME, _VERDICT = 11, 13
_INDENT = "  "
_COLOURS: dict[str, Colour] = {"ok": "green", "failed": "red"}


def probe_lines(reports: Sequence[Report], style: Style = PLAIN) -> Iterator[str]:
    """Show every report, then in one line whether all is well."""
    for report in reports:
        yield style.paint(printable(_title(report)), "bold")
        for check in report.checks:
            yield from _check(check, style)
        yield ""
    yield from style.wrap(probe_headline(reports))


def probe_headline(reports: Sequence[Report]) -> str:
    """Say in one sentence whether the registries do what the rules need."""
    broken = [report.host for report in reports if not report.works]
    if not reports:
        return "No registries: the rules name none."
    total = count(len(reports), "registry", "registries")
    untried = _untried(reports)
    if broken:
        names = printable(", ".join(dict.fromkeys(broken)))
        said = f"{len(broken)} of {total} cannot do what the rules need: {names}."
    else:
        said = f"{total} tried: {'what was tried' if untried else 'all that is needed'} works."
    return f"{said} Not tried: {printable(', '.join(untried))}." if untried else said


def _untried(reports: Sequence[Report]) -> list[str]:
    """What the rules need and nobody tried, where."""
    found = {
        f"{report.host}{f' for {report.about}' if report.about else ''}": [
            check.name
            for check in report.checks
            if check.is_needed and check.verdict is Verdict.UNTRIED
        ]
        for report in reports
    }
    return [f"{' and '.join(names)} at {where}" for where, names in found.items() if names]


def probe_line(report: Report) -> report_lines.Registry:
    """Lay out a report as data."""
    return report_lines.Registry(
        host=report.host,
        about=report.about,
        roles=list(report.roles),
        works=report.works,
        checks=tuple(
            report_lines.Check(
                name=check.name,
                verdict=check.verdict.value,
                needed=check.is_needed,
                detail=printable(spoken(check.detail)),
                fix=printable(spoken(check.fix)) if check.fix else None,
            )
            for check in report.checks
        ),
    )


def _title(report: Report) -> str:
    about = f" for {report.about}" if report.about else ""
    return f"{report.host}{about} ({' and '.join(report.roles)})"


def _check(check: Check, style: Style) -> Iterator[str]:
    verdict = check.verdict.value
    margin = len(_INDENT) + _NAME + _VERDICT
    texts = [text for text in (check.detail, check.fix and f"fix: {check.fix}") if text]
    lines = [
        line for text in texts for line in style.wrap(printable(spoken(text)), indent=" " * margin)
    ] or [""]
    padding = " " * (_VERDICT - len(verdict))
    painted = style.paint(verdict, _COLOURS.get(verdict, "dim"))
    yield f"{_INDENT}{check.name:<{_NAME}}{painted}{padding}{lines[0][margin:]}".rstrip()
    yield from lines[1:]
