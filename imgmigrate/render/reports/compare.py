"""Show how two places compare: what differs, and what only one of them has.

Pure. Names come from servers and layouts, so each passes through `printable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.redaction import printable
from imgmigrate.render.errors import failure_of, hint_of, message_of
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style
from imgmigrate.render.units import count
from imgmigrate.verifying.compare import Likeness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.verifying.compare import Compared, Comparison

__all__ = [
    "compared_line",
    "compared_text",
    "comparison_headline",
    "comparison_lines",
    "comparison_summary",
]

LONGEST_NAME = 500
# Referrers of one image that are named; all of them are in the data.
MOST_NAMED = 8

_SECTIONS = (
    (Likeness.UNREAD, "could not be read"),
    (Likeness.DIFFERS, "differ"),
    (Likeness.ONLY_HERE, "only here (A)"),
    (Likeness.ONLY_THERE, "only there (B)"),
)


def comparison_lines(comparison: Comparison, style: Style = PLAIN) -> Iterator[str]:
    """Show what is not equal, then the sentence that sums up."""
    for likeness, title in _SECTIONS:
        found = comparison.of(likeness)
        if found:
            yield style.paint(f"! {title} ({len(found):,}):", "bold")
            for one in found:
                yield from style.wrap(_said(one), indent="  ", hanging="      ")
                if one.error is not None and (hint := hint_of(one.error)):
                    yield from style.wrap(hint, indent="      hint: ", hanging="        ")
            yield ""
    is_equal = len(comparison.of(Likeness.EQUAL)) == len(comparison.found)
    for line in style.wrap(comparison_headline(comparison), hanging="  "):
        yield style.paint(line, "bold", "green" if is_equal else "red")


def comparison_headline(comparison: Comparison) -> str:
    """Say in one sentence how the two sides compare."""
    asked = f"; {count(comparison.requests, 'request')}" if comparison.requests else ""
    total = len(comparison.found)
    equal = len(comparison.of(Likeness.EQUAL))
    if equal == total:
        return f"Equal: {count(total, 'image')}{asked}."
    parts = [
        f"{number:,} {title.partition(' (')[0]}"
        for likeness, title in _SECTIONS
        if (number := len(comparison.of(likeness)))
    ]
    parts += [f"{equal:,} equal"] if equal else []
    return f"Not equal: {', '.join(parts)}, of {count(total, 'image')}{asked}."


def compared_text(one: Compared) -> str:
    """Say in one line how one name compares."""
    return f"{one.likeness.value.replace('_', ' ')}: {_said(one)}"


def compared_line(one: Compared) -> report_lines.CompareImage:
    """Lay out how one name compares as data."""
    return report_lines.CompareImage(
        here=str(one.here),
        there=str(one.there),
        likeness=one.likeness.value,
        digest_here=one.digests[0],
        digest_there=one.digests[1],
        same_images=one.same_images,
        referrers_here=_refer(one.refer_here),
        referrers_there=_refer(one.refer_there),
        **failure_of(one.error),
    )


def comparison_summary(comparison: Comparison) -> report_lines.CompareSummary:
    """Lay out how many compare how."""
    return report_lines.CompareSummary(
        images=len(comparison.found),
        counts={each.value: len(comparison.of(each)) for each in Likeness},
        requests=comparison.requests,
    )


def _said(one: Compared) -> str:
    here, there = (printable(str(each), LONGEST_NAME) for each in (one.here, one.there))
    if one.error is not None:
        return f"{here} and {there}: {printable(message_of(one.error), LONGEST_NAME)}"
    if one.likeness is Likeness.ONLY_THERE:
        return there
    if one.likeness is Likeness.ONLY_HERE:
        return here
    first, second = one.digests
    if first is None or second is None or first == second:
        told = [_only("A", one.refer_here), _only("B", one.refer_there)]
        return "; ".join([f"{here} and {there}", *filter(None, told)])
    form = ": an index of the same images in other bytes" if one.same_images else ""
    return f"{here} {first.short}, {there} {second.short}{form}"


def _only(side: str, referrers: Sequence[Referrer]) -> str:
    """Name what only one side has of what refers to an image."""
    names = [
        f"{printable(one.kind, LONGEST_NAME)} {one.descriptor.digest.short}"
        for one in referrers[:MOST_NAMED]
    ]
    if len(referrers) > MOST_NAMED:
        names.append(f"{len(referrers) - MOST_NAMED:,} more")
    return f"only {side} has {', '.join(names)}" if names else ""


def _refer(referrers: Sequence[Referrer]) -> tuple[report_lines.AlongWith, ...]:
    return tuple(
        report_lines.AlongWith(
            kind=printable(one.kind),
            digest=one.descriptor.digest,
            refers_to=one.refers_to,
            tag=one.tag,
        )
        for one in referrers
    )
