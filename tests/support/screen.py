"""What a terminal of so many columns shows of what is written to it."""

from __future__ import annotations

import pyte

__all__ = ["shown"]

# More than any text of a test has, so that nothing scrolls away.
ROWS = 200


def shown(written: str, columns: int) -> list[str]:
    """The lines of a terminal's screen, without what is blank at their ends.

    A line that is wider than the terminal goes on in the next, as it would be seen.
    """
    screen = pyte.Screen(columns, ROWS)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(written)
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines
