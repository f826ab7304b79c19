"""Say what is wrong with YAML in words that help: mostly "quote it".

Pure. The parser reports what it expected; a reader wants to know that `*-rc*` is an alias to
YAML, `{repository}` a mapping and `>=1` a block of text.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

__all__ = ["Trap", "braces", "explain", "no_value", "undefined_alias", "unknown_tag"]

_SECRET = re.compile(r"(?i)pass|secret|token|user|credential|key")


class Trap(Struct, frozen=True):
    """What YAML made of a line (from 1), why that is an error, and what to write instead."""

    line: int
    message: str
    hint: str


def explain(error: Any, lines: list[str], *, is_shown: bool = True) -> Trap:
    """Explain a `yaml.MarkedYAMLError` of the text that `lines` hold.

    Unless it `is_shown`, the message repeats nothing of the text; the hint may.
    """
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    began = error.context_mark or mark
    for pattern, at_start, message, hint in _EXPLAINED:
        if pattern.search(said):
            place = began if at_start else mark
            line = _line(place, lines)
            text = lines[line - 1] if lines else ""
            if "\t" in text[: place.column + 1] and not text[: place.column].strip():
                break
            return Trap(line, message, hint or _quote(text, place.column))
    line = _line(mark, lines)
    text = lines[line - 1] if lines else ""
    if text.startswith("\t") or "\t" in text[: len(text) - len(text.lstrip())]:
        return Trap(line, "a tab indents this line", "indent with spaces")
    braces = re.search(r"(?:^\s*-|:)\s+(\{)", text)
    if braces and "expected" in said:
        message = "a value that begins with { is a mapping to YAML"
        return Trap(line, message, _quote(text, braces.start(1)))
    hint = "check the indentation and quote values that hold special characters"
    return Trap(line, f"this is not YAML: {said}" if is_shown else "this is not YAML", hint)


def braces(line: int, column: int, text: str) -> Trap:
    """Explain a `{...}` that was meant as a text."""
    message = "a value in { } without quotes is a mapping to YAML"
    return Trap(line, message, _quote(text, column))


def no_value(line: int, text: str) -> Trap:
    """Explain a value that is not there."""
    if "#" in text:
        return Trap(line, "it has no value: a # begins a comment", "quote a value with a #")
    return Trap(line, "it has no value", 'write one, or remove the key; "" is an empty text')


def undefined_alias(line: int, column: int, text: str) -> Trap:
    """Explain an alias without its anchor."""
    return Trap(line, "a value that begins with * is an alias to YAML", _quote(text, column))


def unknown_tag(line: int, column: int, text: str) -> Trap:
    """Explain a YAML tag."""
    return Trap(line, "a value that begins with ! is a YAML tag", _quote(text, column))


def _line(mark: Any, lines: list[str]) -> int:
    """The line of a mark, from 1; the parser puts the end of the text behind its last line."""
    return min(int(mark.line) + 1, max(len(lines), 1)) if mark else 1


def _quote(text: str, column: int) -> str:
    """Show how to quote the value at `column`, unless it may be a secret."""
    if _SECRET.search(text):
        return "put the value in single quotes"
    opened, position = 0, max(column, 0)
    while position < len(text):
        character = text[position]
        opened += (character == "{") - (character == "}")
        if opened < 0 or (opened == 0 and character in " \t,]#'\""):
            break
        position += 1
    value = text[max(column, 0) : position]
    return f'quote it: "{value}"' if value else "put the value in quotes"


def _row(
    pattern: str, message: str, hint: str = "", *, at_start: bool = False
) -> tuple[re.Pattern[str], bool, str, str]:
    return re.compile(pattern), at_start, message, hint


# (what the parser said, whether its context is the better place, message, hint or "quote it")
_EXPLAINED = (
    _row("scanning an alias", "a value that begins with * is an alias to YAML", at_start=True),
    _row("scanning an anchor", "a value that begins with & is an anchor to YAML", at_start=True),
    _row(
        "scanning a block scalar",
        "a value that begins with > or | is a block of text to YAML",
        at_start=True,
    ),
    _row("scanning a tag|tag handle", "a value that begins with ! is a YAML tag", at_start=True),
    _row("tab character", "a tab indents this line", "indent with spaces"),
    _row("cannot start any token", "YAML keeps this character at the start of a value for itself"),
    _row(
        "unknown escape",
        "a backslash in double quotes begins an escape",
        "use single quotes, as for a regex: '/^v\\d+$/'",
    ),
    _row(
        "quoted scalar.{0,80}end of stream",
        "the quote that is opened here is never closed",
        "close it, or quote with the other kind of quotes",
        at_start=True,
    ),
    _row(
        "parsing a flow sequence",
        "the list that begins here with [ is not closed, or holds a special character",
        "end it with ], and quote values that hold : , [ ] { } or begin with * & ! > | @",
        at_start=True,
    ),
    _row(
        "parsing a flow mapping",
        "the { that stands here begins a mapping which is not closed",
        'end it with }, or quote the value: "{...}"',
        at_start=True,
    ),
    _row(
        "mapping values are not allowed|mapping keys are not allowed",
        "a second key begins here, where a value was",
        'check the indentation of this line and the one before; quote a value that holds ": "',
    ),
    _row(
        "(block )?sequence entries are not allowed",
        "a list cannot begin behind its key",
        "begin it on the next line, or write [a, b]",
    ),
    _row(
        "expected '-' indicator|block collection",
        "this line stands out of its list",
        "indent it like the other keys of its entry",
    ),
)
