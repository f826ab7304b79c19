"""Show what became of pins: a line each, then a sentence.

Pure: a Pinning in, lines and data out.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from imgmigrate.planning.pin_sources import Kind
from imgmigrate.redaction import printable
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style, fold
from imgmigrate.render.units import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.planning.desired.pins import Pin
    from imgmigrate.planning.pin_sources import Difference, Pinning
    from imgmigrate.render.style import Colour

__all__ = ["difference_line", "difference_text", "pins_headline", "pins_lines"]

_COLOURS: dict[Kind, Colour] = {Kind.MOVED: "yellow", Kind.ADDED: "green", Kind.REMOVED: "red"}
# More new ones are counted.
MOST_NEW = 20
# "removed" and two blanks.
_KIND = 9
# As many as a name may have, and its registry.
_NAME = 500


def pins_lines(pinning: Pinning, style: Style = PLAIN, *, verbose: bool = False) -> Iterator[str]:
    """Show every difference, then the sentence.

    Many that are new are counted by repository, unless `verbose`: there is nothing to compare.
    """
    new = [each for each in pinning.differences if each.kind is Kind.ADDED]
    is_folded = len(new) > MOST_NEW and not verbose
    for each in pinning.differences:
        if not is_folded or each.kind is not Kind.ADDED:
            yield from _row(each, style)
    if is_folded:
        counts = Counter(str(each.address.repository) for each in new)
        for name, number in sorted(counts.items()):
            text = f"{Kind.ADDED.value:<{_KIND}}{printable(name, _NAME)}: {count(number, 'pin')}"
            yield from style.wrap(text, hanging=" " * _KIND)
        yield f"{'':<{_KIND}}--verbose lists all"
    yield from style.wrap(pins_headline(pinning), hanging="  ")


def pins_headline(pinning: Pinning) -> str:
    """Say how many pins had what happen."""
    counts = [(pinning.count(kind), kind.value) for kind in Kind]
    if pinning.problems:
        counts.append((len(pinning.problems), "not read"))
    counts.append((pinning.unchanged, "unchanged"))
    said = [f"{number:,} {word}" for number, word in counts if number]
    return f"{count(len(pinning.pins), 'pin')}: {', '.join(said) or 'nothing to pin'}."


def difference_text(each: Difference) -> str:
    """Say what an address got and gets."""
    return f"{each.address}  {_detail(each)}"


def _row(each: Difference, style: Style) -> Iterator[str]:
    """Put what an address gets beside it where that fits, else below."""
    word = each.kind.value
    head = f"{style.paint(word, _COLOURS[each.kind])}{' ' * (_KIND - len(word))}"
    address, detail = printable(str(each.address), _NAME), printable(_detail(each), _NAME * 2)
    if _KIND + len(address) + 2 + len(detail) <= style.columns:
        yield f"{head}{address}  {detail}"
        return
    first, *others = fold(address, style.columns - _KIND)
    indent = " " * _KIND
    yield f"{head}{first}"
    yield from (f"{indent}{piece}" for piece in others)
    yield from style.wrap(detail, indent=f"{indent}  ", hanging=f"{indent}    ")


def _detail(each: Difference) -> str:
    before, after = each.before, each.after
    if before is None or after is None:
        return _short(before or after)
    if before.digest == after.digest:
        return f"{before.source} -> {after.source}, the same image"
    origin = f"{before.source} ->  " if before.source.repository != after.source.repository else ""
    return f"{origin}{before.digest.short} -> {after.digest.short}  ({after.source})"


def difference_line(each: Difference) -> report_lines.Pin:
    """Lay a difference out as data, digests in full."""
    return report_lines.Pin(
        address=str(each.address),
        change=each.kind.value,
        before=_pinned(each.before),
        after=_pinned(each.after),
    )


def _pinned(pin: Pin | None) -> report_lines.Pinned | None:
    return report_lines.Pinned(source=str(pin.source), digest=pin.digest) if pin else None


def _short(pin: Pin | None) -> str:
    return f"{pin.digest.short}  ({pin.source})" if pin else ""
