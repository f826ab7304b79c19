"""Map addresses to others: an exact name to another, or a glob to a glob.

Pure. `registry.old/team/**` to `registry.new/crew/**` keeps what each wildcard stands for; a
pair without a tag part keeps every tag.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

import re2
from msgspec import Struct

from imgmigrate.matching import compile_regex, has_wildcard, parse_pattern, split_target
from imgmigrate.oci.reference import LAYOUTS, Reference, normalise_host

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Repository

__all__ = ["Move", "applied", "parse_move"]

_WILDCARDS = re.compile(r"\*\*|\*|\?")
# What each wildcard may stand for.
_STANDS_FOR = {"**": "(.*)", "*": "([^/]*)", "?": "([^/])"}
_FOLDERS = "**/"


class Move(Struct, frozen=True):
    """One pair. `target` is None where every tag is kept."""

    old: str
    new: str
    _repository: Any
    _target: Any | None

    def may_apply(self, repository: Repository) -> bool:
        """Tell whether the pair may be about addresses of a repository."""
        return self._repository.fullmatch(str(repository)) is not None

    def apply(self, address: Reference) -> Reference | None:
        """Give the new address; None if the pair is not about it, ValueError if it is none."""
        target = str(address).removeprefix(str(address.repository))
        repository = self._repository.fullmatch(str(address.repository))
        if repository is None:
            return None
        values = list(repository.groups())
        if self._target is None:
            return Reference.parse(_filled(self.new, values) + target)
        found = self._target.fullmatch(target)
        if found is None:
            return None
        return Reference.parse(_filled(self.new, values + list(found.groups())))


def applied(move: Move, old: Reference) -> Reference | None:
    """Give the new address by a pair; None if it is not about the old one, or makes none of it."""
    try:
        return move.apply(old)
    except ValueError:  # what the globs make is no address
        return None


def parse_move(old: str, new: str) -> Move:
    """Read a pair; ValueError says why the two do not fit together."""
    for text in (old, new):
        parse_pattern(text)
        if text.startswith("/") or split_target(text)[2].startswith("/"):
            msg = f"{text}: a regex cannot be turned around; use * and **"
            raise ValueError(msg)
    if old == new:
        msg = f"{old}: both are the same"
        raise ValueError(msg)
    if bool(split_target(old)[1]) != bool(split_target(new)[1]):
        msg = f"{old} and {new}: give both a tag, or neither of them, which keeps every tag"
        raise ValueError(msg)
    if _WILDCARDS.findall(old) != _WILDCARDS.findall(new):
        msg = f"{old} and {new}: both must have the same wildcards in the same order"
        raise ValueError(msg)
    if not has_wildcard(old):
        old, new = str(Reference.parse(old)), str(Reference.parse(new))
    name, separator, target = split_target(old)
    return Move(
        old,
        new,
        _compiled(_expression(_normalised(name))),
        _compiled(re2.escape(separator) + _expression(target)) if separator else None,
    )


def _compiled(expression: str) -> Any:
    return compile_regex(f"/{expression}/")


def _normalised(name: str) -> str:
    """Write a repository glob as repositories are printed."""
    if name.startswith(LAYOUTS):
        return LAYOUTS + posixpath.normpath(name.removeprefix(LAYOUTS))
    host, slash, path = name.partition("/")
    return f"{normalise_host(host)}/{path}" if slash and not has_wildcard(host) else name


def _expression(glob: str) -> str:
    """Capture what each wildcard stands for; `**/` may stand for no folder at all."""
    parts, position = [], 0
    for found in _WILDCARDS.finditer(glob):
        parts.append(re2.escape(glob[position : found.start()]))
        position = found.end()
        if _is_folders(glob, found):
            parts.append("((?:.*/)?)")
            position += 1
        else:
            parts.append(_STANDS_FOR[found[0]])
    return "".join([*parts, re2.escape(glob[position:])])


def _filled(glob: str, values: list[str]) -> str:
    """Put values in the place of wildcards; one of `**/` ends with its slash, or is nothing."""
    written, position = "", 0
    for found, value in zip(_WILDCARDS.finditer(glob), values, strict=True):
        written += glob[position : found.start()]
        position = found.end()
        if _is_folders(glob, found):
            position += 1
            value = value and f"{value.rstrip('/')}/"
        elif value.endswith("/"):
            value = value.rstrip("/")
        written += value
    return written + glob[position:]


def _is_folders(glob: str, found: re.Match[str]) -> bool:
    before = glob[: found.start()]
    return glob.startswith(_FOLDERS, found.start()) and (not before or before[-1] in "/:")
