"""Expand `${VAR}` and `${VAR:-default}` in a value; `$${` is a literal `${`. No I/O.

Any other `$` is literal, because passwords contain them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["UnsetVariableError", "check", "expand", "has_variable", "names"]

_DOLLAR = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
