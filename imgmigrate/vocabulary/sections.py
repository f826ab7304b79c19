"""How rows are grouped for whoever reviews them: by their actions, some also by their reasons.

A section is the heading that a row stands under, in every output; which of them come first is
decided here, too.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["GONE", "INCOMPLETE", "KNOWN", "LATER", "LOST", "Section", "Tone"]

Tone = Literal["red", "yellow", "green", "cyan", "dim"]


class Section(Struct, frozen=True):
    """One group of rows. `rank` says how soon it must be seen: the lowest first.

    `symbol` stands before a row, and before the heading where that has no mark of its own. What
    `is_dangerous` is always listed row by row; of what `is_sourced` it matters from where.
    """

    rank: int
    key: str
    symbol: str
    title: str
    meaning: str
    tone: Tone
    heading_mark: str = ""
    is_dangerous: bool = False
    is_sourced: bool = False

    @property
    def mark(self) -> str:
        """What stands before the heading."""
        return self.heading_mark or self.symbol


# Those of actions stand beside the actions, ranked in between.
LATER = Section(
    40,
    "later",
    "?",
    "unknown",
    "of a later version of imgmigrate; this one leaves them out",
    "red",
    is_dangerous=True,
)
LOST = Section(
    50,
    "lost",
    "+",
    "lost",
    "written by us, gone from the destination; copied again",
    "red",
    heading_mark="!",
    is_dangerous=True,
    is_sourced=True,
)
INCOMPLETE = Section(
    60,
    "incomplete",
    "+",
    "incomplete",
    "shown by the layout, which has lost parts of them; brought again",
    "red",
    heading_mark="!",
    is_dangerous=True,
    is_sourced=True,
)
GONE = Section(
    70,
    "gone",
    ".",
    "gone",
    "written by us, gone from the destination; the record is let go",
    "red",
    heading_mark="!",
    is_dangerous=True,
)
KNOWN = Section(
    110,
    "known",
    "=",
    "known conflicts",
    "acknowledged, and left alone until their day",
    "dim",
    is_sourced=True,
)
