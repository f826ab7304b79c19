"""Translate the regexes by which Go's tools choose repositories into our globs. Pure.

Both regsync and dregsy put `^` before and `$` behind what is written, without parentheses: of
`a|b` they anchor `a` at its beginning and `b` at its end, and so is it meant here.
"""

from __future__ import annotations

import re
from itertools import product
from typing import NamedTuple

__all__ = ["exclusion_of", "globs_of", "literal_of"]

# A regex that means more names than this is not written for them.
MOST_GLOBS = 64
_ESCAPE = re.compile(r"\\([^A-Za-z0-9])")
_CLASS = re.compile(r"\[([a-z0-9._-]+)\]")
_SPECIAL = frozenset("\\.[](){}*+?|^$")
# Parentheses within parentheses are followed this far.
DEEPEST = 50
# What looks at its surroundings, or changes what the rest means.
_LOOKS = re.compile(r"\\[AzbBQ]|\(\?[^:P]|\^")


class _CannotSay(Exception):
    """A regex has no glob of the same meaning."""


class _Alternative(NamedTuple):
    text: str
    from_start: bool
    to_end: bool


def globs_of(expression: str) -> list[str] | None:
    """The globs that match the same names; None if there are none."""
    found: list[str] = []
    if expression.count("(") > DEEPEST:
        return None
    try:
        for each in _alternatives(expression):
            for glob in _expanded(each.text):
                whole = f"{'' if each.from_start else '**'}{glob}{'' if each.to_end else '**'}"
                found.append(_settled(whole))
    except _CannotSay:
        return None
    found = list(dict.fromkeys(found))
    return found if len(found) <= MOST_GLOBS else None


def exclusion_of(host: str, expression: str) -> str | None:
    """A regex of whole references for what matches a name; None if there is none."""
    found = []
    for each in _alternatives(expression):
        if _LOOKS.search(re.sub(r"\[\^", "[", each.text)):
            return None
        start = f"^{re.escape(host)}/" + ("" if each.from_start else ".*")
        found.append(f"{start}{each.text}{'$' if each.to_end else ''}")
    return f"/{'|'.join(found)}/"


def literal_of(expression: str) -> str | None:
    """The one text that a regex means; None if it means several or any."""
    if expression.count("(") > DEEPEST:
        return None
    try:
        found = _expanded(expression)
    except _CannotSay:
        return None
    return found[0] if len(found) == 1 and not set("*?") & set(found[0]) else None


def _alternatives(expression: str) -> list[_Alternative]:
    parts = _split(expression)
    last = len(parts) - 1
    found = []
    for number, part in enumerate(parts):
        bare = part.lstrip("^")
        ends = bare.endswith("$") and not bare.endswith("\\$")
        from_start = number == 0 or bare != part
        found.append(
            _Alternative(bare.rstrip("$") if ends else bare, from_start, number == last or ends)
        )
    return found


def _split(expression: str) -> list[str]:
    """Split at every `|` that stands in no parentheses."""
    parts, depth, position = [""], 0, 0
    while position < len(expression):
        piece = _piece(expression, position)
        if piece == "|" and depth == 0:
            parts.append("")
        else:
            depth += {"(": 1, ")": -1}.get(piece, 0)
            parts[-1] += piece
        position += len(piece)
    return parts


def _piece(expression: str, position: int) -> str:
    """One character, an escaped one with its backslash, or a whole class in brackets."""
    if expression[position] == "\\":
        return expression[position : position + 2]
    if expression[position] == "[":
        end = expression.find("]", position + 2)
        return expression[position : end + 1] if end > 0 else expression[position:]
    return expression[position]


def _expanded(expression: str) -> list[str]:
    """Every glob of a sequence, its choices multiplied out."""
    choices: list[list[str]] = []
    position = 0
    while position < len(expression):
        options, position = _item(expression, position)
        choices.append(options)
        count = 1
        for each in choices:
            count *= len(each)
        if count > MOST_GLOBS:
            raise _CannotSay
    return ["".join(each) for each in product(*choices)]


def _item(expression: str, position: int) -> tuple[list[str], int]:
    """The choices of one item with what repeats it, and where it ends."""
    rest = expression[position:]
    for written, glob in (("[^/]*", "*"), ("[^/]+", "?*"), ("[^/]", "?"), (".*", "**")):
        if rest.startswith(written):
            return _once([glob], expression, position + len(written))
    if rest.startswith(".+") and (position == 0 or expression[position - 1] == "/"):
        return _once(["**"], expression, position + 2)  # no part of a name is empty
    if rest[0] == "(":
        end = _closing(expression, position)
        inner = re.sub(r"^\?(:|P?<\w+>)", "", expression[position + 1 : end])
        options = [glob for part in _split(inner) for glob in _expanded(part)]
        return _optional(options, expression, end + 1)
    escaped, characters = _ESCAPE.match(rest), _CLASS.match(rest)
    if escaped and escaped[1] not in "*?":
        return _optional([escaped[1]], expression, position + 2)
    if characters and "-" not in characters[1].strip("-"):
        return _optional(list(characters[1]), expression, position + characters.end())
    if rest[0] in _SPECIAL:
        raise _CannotSay
    return _optional([rest[0]], expression, position + 1)


def _once(options: list[str], expression: str, position: int) -> tuple[list[str], int]:
    if expression[position : position + 1] in ("*", "+", "?", "{"):
        raise _CannotSay
    return options, position


def _optional(options: list[str], expression: str, position: int) -> tuple[list[str], int]:
    if expression[position : position + 1] == "?":
        return _once(["", *options], expression, position + 1)
    return _once(options, expression, position)


def _closing(expression: str, position: int) -> int:
    depth = 0
    while position < len(expression):
        piece = _piece(expression, position)
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if depth == 0:
            return position
        position += len(piece)
    raise _CannotSay


def _settled(glob: str) -> str:
    """In our globs a segment of `**` alone may also stand for none, in a regex it does not."""
    glob = re.sub(r"\*{3,}", "**", glob)
    *before, last = glob.split("/")
    return "/".join([*("*/**" if each == "**" else each for each in before), last])
