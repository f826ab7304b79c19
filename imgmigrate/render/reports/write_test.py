"""Show what a write test found out: one line for each fact, and what it left behind.

Pure: what was found in, lines and data out. Causes come from servers: made printable here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.redaction import printable
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style
from imgmigrate.render.units import count, moment
from imgmigrate.stores.registry.known.facts import ANSWERS, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.stores.registry.known.facts import Found

__all__ = ["TrialReport", "trial_headline", "trial_line", "trial_lines"]

_INDENT = "  "
# "blob in one POST" and two blanks.
_LABEL = 18
_ELLIPSIS = "..."


class TrialReport(Struct, frozen=True):
    """A write test that ended: of which repository, when, by which version; kept for `days`.

    `at` is RFC 3339; without `days` nothing could be kept.
    """

    repository: str
    at: str
    version: str
    found: Found
    days: int | None


def trial_lines(report: TrialReport, style: Style = PLAIN) -> Iterator[str]:
    """Show every fact in a line of its own, what is left, and for how long it counts."""
    found = report.found
    yield style.paint(printable(report.repository), "bold")
    yield f"{_INDENT}written to at {moment(report.at)} by imgmigrate {report.version}"
    for topic in Topic:
        if topic in found.facts:
            yield from _line(topic.label, _words(topic, found.facts[topic]), style)
        elif topic in found.unknown:
            yield from _line(topic.label, f"not known: {found.unknown[topic]}", style)
    yield ""
    if found.sibling is not None:
        yield from style.wrap(f"Blobs were mounted to {printable(found.sibling)}.")
    for left in found.left:
        yield from style.wrap(
            printable(f"Left: {left.repo}, {left.ref}: {left.cause}"), hanging=_INDENT
        )
    yield from style.wrap(_remainder(report), hanging=_INDENT)


def trial_headline(report: TrialReport) -> str:
    """Say in one sentence how it ended."""
    found = report.found
    total = f"{count(len(found.facts), 'fact')} found out"
    unknown = f", {len(found.unknown)} not" if found.unknown else ""
    left = f"; {len(found.left)} left behind" if found.left else ""
    return printable(f"{report.repository}: {total}{unknown}{left}")


def trial_line(report: TrialReport) -> report_lines.WriteTest:
    """Lay it out as data."""
    found = report.found
    return report_lines.WriteTest(
        repository=report.repository,
        at=report.at,
        version=report.version,
        facts={topic.value: answer for topic, answer in found.facts.items()},
        unknown={topic.value: printable(cause) for topic, cause in found.unknown.items()},
        sibling=found.sibling,
        blobs=found.blobs,
        left=tuple(
            report_lines.LeftOver(repository=left.repo, ref=left.ref, cause=printable(left.cause))
            for left in found.left
        ),
        kept_days=report.days,
    )


def _words(topic: Topic, answer: str) -> str:
    text = ANSWERS[topic].get(answer, answer)
    if topic is Topic.LARGEST_PAGE and answer.isdecimal():
        return f"of {int(answer):,} names, if there are so many"
    if topic is Topic.LEAST_CHUNK and answer.isdecimal():
        return f"of {int(answer):,} bytes, unless it is the last"
    return f"is answered {text}" if topic is Topic.ABSENT else text


def _line(label: str, text: str, style: Style) -> Iterator[str]:
    """One line, whatever a server had to say."""
    room = style.columns - len(_INDENT) - _LABEL
    text = printable(text)
    if len(text) > room:
        text = text[: room - len(_ELLIPSIS)] + _ELLIPSIS
    yield f"{_INDENT}{label:<{_LABEL}}{text}"


def _remainder(report: TrialReport) -> str:
    blobs = count(report.found.blobs, "small blob")
    waits = "waits" if report.found.blobs == 1 else "wait"
    kept = (
        f"Plans and applies on this machine heed it for {report.days} days."
        if report.days is not None
        else "It could not be kept on this machine: plans do not know of it."
    )
    return f"{blobs} {waits} for the registry to collect its garbage. {kept}"
