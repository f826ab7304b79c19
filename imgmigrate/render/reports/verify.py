"""Show what a verification found: each image that is not whole, why, and how to mend it.

Pure: a Verified in, lines and data out. Names and causes come from servers and layouts, so each
passes through `printable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.redaction import printable
from imgmigrate.render.errors import cause_at, failure_of, hint_of, message_of
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style, fold
from imgmigrate.render.units import count, size
from imgmigrate.verifying.verdict import Kind, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.oci.reference import Reference
    from imgmigrate.render.changes.hints import Commander
    from imgmigrate.verifying.verdict import Fault, Verdict, Verified

__all__ = ["mending", "verdict_line", "verdict_text", "verified_headline", "verified_lines"]

# As many addresses as a command line bears; more are said by their repositories.
MOST_NAMED = 20
# Faults of one image; all of them are in the data.
MOST_FAULTS = 8
LONGEST_NAME = 500

_SECTIONS = (
    (Standing.UNREAD, "could not be read", "nobody knows whether they are whole"),
    (Standing.INCOMPLETE, "incomplete", "a pull of them fails"),
    (Standing.CHANGED, "changed", "another image is there than should be"),
    (Standing.MOVED, "moved", "their sources show something else by now"),
)


def verified_lines(verified: Verified, command: Commander, style: Style = PLAIN) -> Iterator[str]:
    """Show what is not whole, worst first, then the sentence and the commands that mend it."""
    for standing, title, meaning in _SECTIONS:
        verdicts = [each for each in verified.verdicts if each.standing is standing]
        if verdicts:
            head = f"! {title} ({len(verdicts):,}): {meaning}"
            yield from (style.paint(line, "bold") for line in style.wrap(head, hanging="  "))
            for verdict in verdicts:
                yield from _verdict(verdict, style)
            yield ""
    is_whole = not verified.verdicts
    for line in style.wrap(verified_headline(verified), hanging="  "):
        yield style.paint(line, "bold", "green" if is_whole else "red")
    if verified.requests:
        yield f"It took {count(verified.requests, 'request')}."
    if verified.pending:
        told = f"What refers to {count(verified.pending, 'image')} is not known: it could not be "
        told += "asked for when they were copied, and the next plan asks again."
        yield from style.wrap(told, hanging="  ")
    incomplete = _addresses(verified, Standing.INCOMPLETE)
    if incomplete:
        yield ""
        yield from style.wrap(
            "To write again what is not whole, check each blob, and record it, plan that and "
            "apply the plan:"
        )
        yield f"  {mending(incomplete, command)}"
    if _addresses(verified, Standing.CHANGED):
        yield ""
        yield from style.wrap("Whether what has changed is to be replaced, a plan tells:")
        yield f"  {command('plan')}"
    if _addresses(verified, Standing.MOVED):
        yield ""
        yield from style.wrap("What their sources show by now, a plan brings:")
        yield f"  {command('plan', '--refresh-referrers', '--out', 'plan.out')}"


def verified_headline(verified: Verified) -> str:
    """Say in one sentence how many images are whole."""
    looked = f"{count(verified.blobs, 'blob')}, {size(verified.size)}"
    if verified.referrers:
        looked = f"{count(verified.referrers, 'referrer')} and {looked}"
    how = "every byte read and hashed" if verified.deep else "each there with its size"
    images = count(verified.images, "image")
    if verified.sample_of is not None:
        images += f", a sample of {verified.sample_of:,},"
    if not verified.images:
        return "Nothing to verify: there are no images."
    if not verified.verdicts:
        return f"Whole: {images} with {looked}; {how}."
    parts = [
        f"{number:,} {word}"
        for standing, word in (
            (Standing.INCOMPLETE, "incomplete"),
            (Standing.CHANGED, "changed"),
            (Standing.MOVED, "moved at the source"),
            (Standing.UNREAD, "could not be read"),
            (Standing.WHOLE, "whole"),
        )
        if (number := verified.count(standing))
    ]
    return f"Not whole: {', '.join(parts)}, of {images} with {looked}."


def mending(addresses: Sequence[Reference], command: Commander) -> str:
    """The command that plans to write these images again; of many, their repositories."""
    names = [str(address) for address in addresses]
    if len(names) > MOST_NAMED:
        names = sorted({str(address.repository) for address in addresses})
    chosen = [part for name in names for part in ("--replace", name)]
    return command("plan", *chosen, "--out", "plan.out")


def verdict_text(verdict: Verdict) -> str:
    """Say in one line what is wrong with an image."""
    told = [_said(fault) for fault in verdict.faults[:MOST_FAULTS]]
    if verdict.error is not None:
        told.insert(0, message_of(verdict.error))
    return f"{verdict.address}: {verdict.standing.value}: {'; '.join(told)}"


def verdict_line(verdict: Verdict) -> report_lines.VerifyImage:
    """Lay out what is wrong with an image as data, digests in full."""
    return report_lines.VerifyImage(
        address=str(verdict.address),
        digest=verdict.digest,
        standing=verdict.standing.value,
        faults=tuple(
            report_lines.Fault(
                kind=fault.kind.value,
                part=fault.part,
                digest=fault.digest,
                size=fault.size,
                found=printable(fault.found) if fault.found is not None else None,
                **_along(fault),
            )
            for fault in verdict.faults
        ),
        more_faults=verdict.more,
        **failure_of(verdict.error),
    )


def _addresses(verified: Verified, standing: Standing) -> list[Reference]:
    return [each.address for each in verified.verdicts if each.standing is standing]


def _verdict(verdict: Verdict, style: Style) -> Iterator[str]:
    address = printable(str(verdict.address), LONGEST_NAME)
    pieces = fold(address, style.columns - len("  ! "))
    yield f"  {style.paint('!', 'red')} {pieces[0]}"
    yield from (f"    {piece}" for piece in pieces[1:])
    if verdict.error is not None:
        cause = printable(cause_at(address, verdict.error), LONGEST_NAME)
        yield from style.wrap(cause, indent="      ")
        hint = hint_of(verdict.error)
        if hint:
            yield from style.wrap(hint, indent="      hint: ", hanging="        ")
    shown = verdict.faults[:MOST_FAULTS]
    for fault in shown:
        yield from style.wrap(_said(fault), indent="      ", hanging="        ")
    more = len(verdict.faults) - len(shown) + verdict.more
    if more:
        yield f"      and {more:,} more; --json lists them"


def _along(fault: Fault) -> dict[str, report_lines.AlongWith]:
    one = fault.referrer
    if one is None:
        return {}
    kind = printable(one.kind)
    told = report_lines.AlongWith(
        kind=kind, digest=one.digest, refers_to=one.refers_to, tag=one.tag
    )
    return {"referrer": told}


def _name(fault: Fault) -> str:
    """Name a part; what goes along with an image by what it is, and its parts as its own."""
    name = fault.part + (f" {fault.digest.short}" if fault.digest else "")
    if (one := fault.referrer) is None:
        return name
    kind = f"{printable(one.kind, LONGEST_NAME)} {one.digest.short}"
    about = f" of {one.refers_to.short}"
    return f"{kind}{about}" if fault.digest == one.digest else f"{name} of the {kind}{about}"


def _said(fault: Fault) -> str:
    """Say what is wrong with a part."""
    name = _name(fault)
    found = printable(fault.found or "", LONGEST_NAME)
    match fault.kind:
        case Kind.ABSENT:
            return found or "nothing is there"
        case Kind.CHANGED:
            wanted = fault.digest.short if fault.digest else "nothing"
            return f"shows {found.rpartition(':')[2][:12]}, not {wanted}"
        case Kind.MISSING:
            much = f", {size(fault.size)}" if fault.size is not None else ""
            return f"{name} is missing{much}"
        case Kind.SIZE:
            return f"{name} has {found} bytes, not {fault.size}"
        case Kind.DAMAGED:
            return f"{name} is damaged: {found}"
        case Kind.MOVED if fault.referrer is not None:
            return f"the source has {name}, which did not go along"
        case Kind.MOVED:
            wanted = fault.digest.short if fault.digest else "nothing"
            shows = f"shows {found.rpartition(':')[2][:12]}" if found else "has it no more"
            return f"the source {shows}, recorded {wanted}"
        case Kind.UNLISTED:
            tag = fault.referrer.tag if fault.referrer else None
            if tag is None:
                return f"{name} is there, and is not listed as such"
            shows = f"shows {found.rpartition(':')[2][:12]} instead" if found else "is missing"
            return f"{name} is there, and its tag {tag} {shows}"
