"""Lay out text: colour as an extra, and lines that fit.

Pure. Colour never carries meaning of its own: without it every line says the same.
"""

from __future__ import annotations

import re
import textwrap
from typing import Literal

from msgspec import Struct

__all__ = ["PLAIN", "Colour", "Style", "fold"]

Colour = Literal["red", "green", "yellow", "cyan", "bold", "dim"]
_CODES: dict[Colour, str] = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "bold": "1",
    "dim": "2",
}
# Narrower, and references would be cut into confetti.
NARROWEST = 40

# A number and its unit, or what it counts, are one word to whoever breaks lines; so is a whole
# span of time.
_AMOUNT = re.compile(r"(?<![^\s(])([0-9](?:[0-9,.]*[0-9])?|\?) (?=[A-Za-z%])")
_SPAN = re.compile(r"(?<=[0-9])(\x1f(?:d|h|min)) (?=[0-9])")
# No text that is shown has it (`printable`), and no line is broken there.
_KEPT = "\x1f"
# Where a reference may be broken: after a slash, or before its tag or digest.
_SEAM = re.compile(r"/|(?=[:@])")


class Style(Struct, frozen=True):
    """How wide the lines may be, and whether they may be coloured."""

    width: int = 80
    colour: bool = False

    @property
    def columns(self) -> int:
        """The width that is really used."""
        return max(self.width, NARROWEST)

    def paint(self, text: str, *colours: Colour) -> str:
        """Colour `text`, if colours are on."""
        if not self.colour or not colours or not text:
            return text
        codes = ";".join(_CODES[colour] for colour in colours)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def wrap(self, text: str, *, indent: str = "", hanging: str | None = None) -> list[str]:
        """Break prose into lines that fit; a long reference in it is folded, never cut.

        Numbers stay with their units.
        """
        wrapper = _Wrapper(
            self.columns,
            initial_indent=indent,
            subsequent_indent=indent if hanging is None else hanging,
            break_on_hyphens=False,
        )
        kept = _SPAN.sub(rf"\1{_KEPT}", _AMOUNT.sub(rf"\1{_KEPT}", text))
        lines = [line.replace(_KEPT, " ") for line in wrapper.wrap(kept)]
        return lines or [indent.rstrip()]


class _Wrapper(textwrap.TextWrapper):
    """Breaks a word that fits no line where a reference has a seam, elsewhere only if it must."""

    def _handle_long_word(
        self, reversed_chunks: list[str], cur_line: list[str], cur_len: int, width: int
    ) -> None:
        word, room = reversed_chunks[-1], max(1, width - cur_len)
        end = max((found.end() for found in _SEAM.finditer(word) if found.end() <= room), default=0)
        if not end:
            if cur_line:  # the next line has more room
                return
            end = room
        cur_line.append(word[:end])
        reversed_chunks[-1] = word[end:]


PLAIN = Style()


def fold(reference: str, width: int) -> list[str]:
    """Break a reference after `/` or before the tag so that every piece fits `width` columns."""
    if len(reference) <= width:
        return [reference]
    pieces: list[str] = []
    line = ""
    for part in re.findall(r"[^/:@]*[/]|[:@]?[^/:@]+|[:@]", reference):
        if line and len(line) + len(part) > width:
            pieces.append(line)
            line = ""
        line += part
        while len(line) > width:
            pieces.append(line[:width])
            line = line[width:]
    return [*pieces, line] if line else pieces
