"""Say once why many rows are not done: what is to blame, why, what to do, and some addresses.

Pure. The one form of it for a plan, its Markdown, the end of an apply and `status`; what belongs
together is told by `imgmigrate.causes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.redaction import printable
from imgmigrate.render.options import spoken
from imgmigrate.render.units import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.causes import Cause
    from imgmigrate.render.style import Style

__all__ = ["cause_lines", "cause_title", "hint_text", "why_text"]

# Addresses that help to see what it is about.
MOST_ADDRESSES = 10
# A server's explanation may be long.
LONGEST = 500
# One of a later version is said by its own name.
_WORDS = {
    "denied": "denied",
    "failing": "fails",
    "no_login": "no access",
    "no_repository": "no such repository",
    "no_space": "no space left",
    "out_of_reach": "out of reach",
    "rate_limited": "too many requests",
    "refused": "refuses it",
    "unreachable": "cannot be reached",
}


def cause_title(cause: Cause, rows: int, end: str = "") -> str:
    """Name what is to blame, and for how many rows."""
    what = _WORDS.get(cause.kind) or printable(cause.kind.replace("_", " "))
    return f"{printable(cause.place, LONGEST)}: {what}, {count(rows, 'row')}{end}"


def why_text(cause: Cause) -> str:
    """Say what went wrong, as one of the failures told it."""
    return printable(spoken(cause.text), LONGEST)


def hint_text(cause: Cause) -> str | None:
    """Say what to do about it, if that is known."""
    return printable(spoken(cause.hint), LONGEST) if cause.hint else None


def cause_lines(
    cause: Cause,
    addresses: Sequence[str],
    style: Style,
    *,
    indent: str = "",
    end: str = "",
    how: str = "",
    most: int | None = MOST_ADDRESSES,
) -> Iterator[str]:
    """Show a cause and some of its addresses.

    `end` ends its title, `how` says what would list all, `most` is how many are listed (None: all).
    """
    title = f"! {cause_title(cause, len(addresses), end)}"
    for line in style.wrap(title, indent=indent, hanging=f"{indent}  "):
        yield style.paint(line, "bold", "red")
    yield from style.wrap(why_text(cause), indent=f"{indent}    ")
    if hint := hint_text(cause):
        yield from style.wrap(hint, indent=f"{indent}    hint: ", hanging=f"{indent}      ")
    for each in addresses[:most]:
        address = printable(each, LONGEST)
        yield from style.wrap(address, indent=f"{indent}  ! ", hanging=f"{indent}    ")
    if most is not None and len(addresses) > most:
        yield from style.wrap(f"and {len(addresses) - most:,} more{how}", indent=f"{indent}  ")
