"""Expand `${VAR}` and `${VAR:-default}` in a value; `$${` is a literal `${`. No I/O.

Any other `$` is literal, because passwords contain them. What a variable holds may be a secret
wherever it stands, so no error of a config shows it (`Environment`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Environment", "UnsetVariableError", "check", "expand", "has_variable", "names"]

_DOLLAR = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


# Characters of a value that may be shown together: a shorter piece tells nothing.
SHORTEST_PIECE = 4


class Environment(Mapping[str, str]):
    """What variables are looked up in; remembers what it gave, so that no error shows it."""

    def __init__(self, found: Mapping[str, str]) -> None:
        self._found = found
        self._given: dict[str, str] = {}

    @classmethod
    def of(cls, found: Mapping[str, str]) -> Environment:
        """Wrap a mapping, once."""
        return found if isinstance(found, Environment) else cls(found)

    def __getitem__(self, name: str) -> str:
        # Not by `found[name]`: what checks a config without its environment has only this.
        value = self._found.get(name)
        if value is None:
            raise KeyError(name)
        if len(value) >= SHORTEST_PIECE:
            self._given[value] = name
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @contextmanager
    def unshown(self) -> Iterator[None]:
        """Write the variable for its value, whole or in pieces, in a ConfigError that passes."""
        try:
            yield
        except ConfigError as error:
            if not self._given:
                raise
            # The longest first: one value may be a part of another.
            held = sorted(self._given.items(), key=lambda each: len(each[0]), reverse=True)
            raise _without_values(error, held) from None


def _without_values(error: ConfigError, held: Sequence[tuple[str, str]]) -> ConfigError:
    """Make the error without any value; a file of which a line was read is no secret."""
    if error.errors:
        inner = [_without_values(each, held) for each in error.errors]
        return ConfigError.several(inner, error.left)
    return ConfigError(
        _masked(error.cause, held),
        file=error.file if error.line or not error.file else _masked(error.file, held),
        line=error.line,
        key=_masked(error.key, held) if error.key else None,
        path=error.path,
        hint=_masked(error.hint, held) if error.hint else None,
    )


def _masked(text: str, held: Sequence[tuple[str, str]]) -> str:
    return "\n".join(_masked_line(line, held) for line in text.split("\n"))


def _masked_line(line: str, held: Sequence[tuple[str, str]]) -> str:
    """Write `${NAME}` for each whole value, and nothing readable for a piece of one.

    Names become lower case and are taken apart before an error shows them, so pieces are looked
    for whatever their case.
    """
    position, folded = 0, line.lower()
    shown: list[str] = []
    within = [value.lower() for value, _ in held]
    while position < len(line):
        found = next((each for each in held if line.startswith(each[0], position)), None)
        if found is not None:
            shown.append(f"${{{found[1]}}}")
            position += len(found[0])
            continue
        end = position
        while any(folded[position : end + 1] in value for value in within) and end < len(line):
            end += 1
        is_piece = end - position >= SHORTEST_PIECE
        shown.append("***" if is_piece else line[position])
        position = end if is_piece else position + 1
    return "".join(shown)


class UnsetVariableError(ValueError):
    """A variable without a default is not set."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace every variable; UnsetVariableError if one is unset, ValueError if malformed.

    As in a shell, a default also stands for a variable that is set but empty.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        name, default = _variable(match)
        found = environ.get(name)
        if default is not None:
            return found or default
        if found is None:
            msg = f"the environment variable {name} is not set"
            raise UnsetVariableError(msg)
        return found

    return _DOLLAR.sub(value, text)


def check(text: str) -> None:
    """Raise ValueError if a variable is malformed, whatever the environment holds."""
    for match in _DOLLAR.finditer(text):
        if match[1] is not None:
            _variable(match)


def has_variable(text: str) -> bool:
    """Tell whether the value depends on the environment."""
    return any(match[1] is not None for match in _DOLLAR.finditer(text))


def names(texts: Iterable[str]) -> list[str]:
    """Name every variable that the texts ask for."""
    return [
        match[1].partition(":-")[0]
        for text in texts
        for match in _DOLLAR.finditer(text)
        if match[1] is not None
    ]


def _variable(match: re.Match[str]) -> tuple[str, str | None]:
    name, colon, default = match[1].partition(":-")
    if not match[2] or not _NAME.fullmatch(name) or "${" in default:
        # What stands there is not shown: it may be part of a password.
        msg = "its ${...} is not a variable; write ${NAME}, ${NAME:-default} or a literal $${"
        raise ValueError(msg)
    return name, default if colon else None
