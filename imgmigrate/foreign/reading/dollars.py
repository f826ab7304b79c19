"""Translate the variables of Go's tools into ours. Pure.

Go's `os.ExpandEnv`, which image-syncer calls, takes `$NAME` and `${NAME}`, makes what is unset
empty, and so destroys a literal `$` (AliyunContainerService/image-syncer#147, #151).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = [
    "as_literal",
    "as_template",
    "envsubst",
    "has_variable",
    "is_bare_variable",
    "is_braced_variable",
]

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOLLAR = re.compile(rf"\$\$\{{|\$\{{({_NAME})(:-[^}}]*)?\}}|(?<!\$)\$({_NAME})|\$\{{")


def as_literal(text: str) -> str:
    """Write a text of which nothing is a variable in our language."""
    return text.replace("${", "$${")


def as_template(text: str, known: Container[str] | None = None) -> str:
    """Write a text with variables in our language; `$${` is a literal `${`, as it is in ours.

    `$NAME` is a variable only if it is `known`, for passwords contain dollars; without `known`
    it always is. What is no variable stays as it stands.
    """

    def translate(found: re.Match[str]) -> str:
        name, default, bare = found.groups()
        if name is not None:
            return f"${{{name}{default or ''}}}"
        if bare is not None and (known is None or bare in known):
            return f"${{{bare}}}"
        return "$${" if found[0] == "${" else found[0]

    return _DOLLAR.sub(translate, text)


def has_variable(text: str, *, braced: bool = False) -> bool:
    """Tell whether a text holds a variable, `${NAME}` or, unless it is to be `braced`, `$NAME`."""
    return any(found[1] or (found[3] and not braced) for found in _DOLLAR.finditer(text))


def envsubst(tool: str) -> str:
    """What is told of variables that a tool itself does not know."""
    return (
        f"{tool} expands no $NAME, which is for envsubst; here it is a variable, and is looked for "
        "in the environment"
    )


def is_braced_variable(text: str) -> bool:
    """Tell whether the whole text is `${NAME}`, which hardly is anything else."""
    return text.startswith("${") and is_bare_variable(text)


def is_bare_variable(text: str) -> bool:
    """Tell whether the whole text looks like one variable."""
    return re.fullmatch(rf"\$(?:{_NAME}|\{{{_NAME}\}})", text) is not None
