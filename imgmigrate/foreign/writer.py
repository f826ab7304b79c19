"""Write a foreign config as an `imgmigrate.yaml` of the same meaning. Pure.

Passwords are taken out of it: what is literal in them becomes a variable, whose value is for a
private file of its own.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgmigrate.config.reading.text import quote
from imgmigrate.config.reading.variables import names
from imgmigrate.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from imgmigrate.config.reading.tree import KeyPath
    from imgmigrate.foreign.document import Document, Entry

__all__ = ["Written", "env_text", "reading", "write"]

# Of a comment's text: what is before it fills up a line of 80 columns.
WIDTH = 74
_SECRET = "password"
# One that is never closed goes to the end: it is not looked for again behind every dollar.
_PART = re.compile(r"(\$\$\{|\$\{[^}]*+\}?)")


@dataclass(frozen=True, slots=True)
class Written:
    """A config's text, and the values of the variables that stand for its secrets."""

    text: str
    secrets: dict[str, str] = field(repr=False)


def write(
    document: Document, *, title: str, name: str | None = None, state: str | None = None
) -> Written:
    """Write the whole file, which goes on with the state that the foreign one may have.

    `name` is whose that state is, and `state` where it lies, if the default would be another.
    """
    vault = _Vault(document)
    told = [one for _, one in document.told()]
    shared = {one.reason for one in told if one.is_shared}
    general = [str(one) for one in told if one.is_shared or one.is_general]
    lines = [*_comments([title, *general]), "version: 1"]
    if name is not None:
        lines += _lines({"name": name})
    if state is not None:
        lines += _lines({"state": {"path": state}})
    if document.registries:
        lines += ["", "registries:"]
        for entry in document.registries:
            lines += _indented(_comments(each for each in entry.remarks if each not in shared))
            lines += _indented(_lines({_Key(entry.name): vault.closed(entry)}))
    if document.defaults:
        lines += ["", *_lines({"defaults": document.defaults})]
    lines += ["", "images:"]
    said: tuple[KeyPath, tuple[str, ...]] = ((), ())
    for entry in document.images:
        # An entry that became several rules says the same of each.
        before = said[1] if said[0] == entry.path else ()
        own = [each for each in entry.remarks if each not in (*before, *shared)]
        lines += _indented(_comments(own))
        said = (entry.path, (*before, *entry.remarks))
        first, *rest = _lines({"source": entry.name, **_single(entry.settings)})
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return Written("\n".join(lines) + "\n", vault.secrets)


def reading(path: Path) -> str:
    """The command by which a shell takes the variables of an env file."""
    named = path if path.is_absolute() else f"./{path}"
    return f"set -a; . {shlex.quote(str(named))}; set +a"


def env_text(secrets: dict[str, str], path: Path) -> str:
    """Write the secrets for a shell that reads the file at `path`."""
    lines = [f"{key}={shlex.quote(value)}" for key, value in secrets.items()]
    return "\n".join([f"# Keep it private. To use it: {reading(path)}", *lines]) + "\n"


class _Vault:
    """Takes secrets out and remembers them by the names of variables."""

    def __init__(self, document: Document) -> None:
        self.secrets: dict[str, str] = {}
        self._taken = set(names(_texts([each.settings for each in document.registries])))
        self._taken |= set(names(_texts([each.settings for each in document.images])))

    def closed(self, entry: Entry) -> dict[str, Any]:
        """The settings of a registry, without what is secret in them."""
        settings = dict(entry.settings)
        if _SECRET in settings:
            parts = _parts(settings[_SECRET])
            settings[_SECRET] = "".join(
                part if is_variable else f"${{{self._hide(entry.name, part)}}}"
                for part, is_variable in parts
            )
        return settings

    def _hide(self, registry: str, secret: str) -> str:
        name = re.sub(r"[^A-Z0-9]+", "_", f"{registry.upper()}_PASSWORD").strip("_")
        name = f"REGISTRY_{name}" if name[0].isdigit() else name
        number, free = 2, name
        while free in self._taken:
            free, number = f"{name}_{number}", number + 1
        self._taken.add(free)
        self.secrets[free] = secret
        return free


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Split at variables: each part, and whether it is one; literals as they are meant."""
    literal = ""
    for part in _PART.split(text):
        if part.startswith("${") and part.endswith("}"):
            if literal:
                yield literal, False
            literal = ""
            yield part, True
        else:
            literal += "${" if part == "$${" else part
    if literal:
        yield literal, False


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


class _Key(str):
    """A key that is quoted, since it is a name."""

    __slots__ = ()


def _single(settings: dict[str, Any]) -> dict[str, Any]:
    """One destination needs no list."""
    destination = settings.get("destination")
    if isinstance(destination, list) and len(destination) == 1:
        return {**settings, "destination": destination[0]}
    return settings


def _comments(texts: Iterable[str]) -> list[str]:
    """A comment must not end before its line does; a long one goes on in the next."""
    return [
        f"#   {line}" if number else f"# {line}"
        for each in texts
        for number, line in enumerate(
            textwrap.wrap(printable(each), WIDTH, break_long_words=False, break_on_hyphens=False)
        )
    ]


def _lines(mapping: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in mapping.items():
        name = quote(key) if isinstance(key, _Key) else key
        if isinstance(value, dict) and value:
            lines += [f"{name}:", *_indented(_lines(value))]
        elif isinstance(value, (list, tuple)) and any(isinstance(each, dict) for each in value):
            lines.append(f"{name}:")
            for each in value:
                first, *rest = _lines(each)
                lines += [f"  - {first}", *(f"    {line}" for line in rest)]
        elif isinstance(value, (list, tuple)) and len(value) > 1:
            lines += [f"{name}:", *(f"  - {_scalar(each)}" for each in value)]
        else:
            lines.append(f"{name}: {_scalar(value)}")
    return lines


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _scalar(value: Any) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_scalar(each) for each in value)}]"
    if isinstance(value, (bool, int)):
        return str(value).lower()
    return value if value in _WORDS else quote(value)


# Our own words, which need no quotes.
_WORDS = frozenset({"always", "all", "owned", "never"})
