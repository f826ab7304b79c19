"""Name a command that helps, in a text of the library. Pure.

A text names parameters, in backticks; how they are typed is for whoever prints it to say.
"""

from __future__ import annotations

import shlex

__all__ = ["remedy"]


def remedy(*words: str, **parameters: str | bool | None) -> str:
    """Name a command by its words and parameters, quoted for a shell.

    One that is True has no value, and one that is None or False is left out. What stands behind
    a command's parameters is added by the caller.
    """
    named = [shlex.join(("imgmigrate", *words))]
    for name, value in parameters.items():
        if value:
            named.append(f"`{name}`" if value is True else f"`{name}` {shlex.quote(value)}")
    return " ".join(named)
