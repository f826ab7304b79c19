"""Translate the `tags` of dregsy: names, `semver:`, `regex:` and `keep:`. Pure.

The rules are those of its README and of `internal/pkg/tags/tagset.go`: a tag is wanted if some
name, range or regex says so; a `keep:` regex must match too, unless the tag was named; `keep:
latest N` counts versions, and leaves alone what is none.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct, field

from imgmigrate.foreign.reading.dollars import as_template, has_variable
from imgmigrate.foreign.reading.ranges import (
    VERSIONS,
    Dialect,
    Wanted,
    filters_of,
    is_semver,
    translate,
)

__all__ = ["COUNTING", "CannotSay", "Tags"]

COUNTING = "keep: latest counts by name where no tag is a version; here all of them are taken then"
_LATEST = re.compile(r"keep:\s+latest\s+([0-9]+)")


class CannotSay(Exception):
    """What is selected has no equivalent, for this reason."""


class Tags(Struct):
    """What a list of tags says. A regex is one of ours; `!` before it inverts it.

    `pinned` are tags with the digest that each has to be, `1.2@sha256:...`, and no others of that
    name are wanted; `digests` those without a tag, which older ones had here. `has_variable` tells
    that envsubst is to fill a name in.
    """

    names: list[str] = field(default_factory=list)
    pinned: list[tuple[str, str]] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    has_variable: bool = False
    ranges: list[Wanted] = field(default_factory=list)
    regexes: list[str] = field(default_factory=list)
    inverted: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    keep_inverted: list[str] = field(default_factory=list)
    newest: int = 0

    @classmethod
    def read(cls, texts: list[str]) -> Tags:
        """Read the list; ValueError names a range that is wrong."""
        found = cls()
        for each in (text.strip() for text in texts):
            kind, _, value = each.partition(":")
            latest = _LATEST.fullmatch(each)
            if latest:
                found.newest = int(latest[1])
            elif kind == "semver":
                found.ranges += translate(value, Dialect.DREGSY)
            elif kind == "regex":
                _sort(value, found.regexes, found.inverted)
            elif kind == "keep":
                _sort(value, found.keep, found.keep_inverted)
            else:
                found.has_variable |= has_variable(each)
                found._name(as_template(each))
        given = {tag for tag, _ in found.pinned}
        found.names = [each for each in found.names if each not in given]
        return found

    def _name(self, text: str) -> None:
        tag, at, digest = text.partition("@")
        if at:
            self.pinned.append((tag, digest))
        elif text.startswith("sha256:"):
            self.digests.append(text)
        else:
            self.names.append(text)

    @property
    def selects(self) -> bool:
        """Tell whether something is named or matched; nothing is all tags."""
        return bool(self.names or self.ranges or self.regexes or self.inverted)

    def remarks(self) -> list[str]:
        """What is not quite the same here."""
        return [COUNTING] if self.newest and not self.ranges else []

    def selection(self) -> Any:
        """Our `tags:`; nothing for all tags. CannotSay where ours would let more through."""
        groups = [*filters_of(self.ranges), *self._matched()]
        if not (groups or self.names):
            groups = [{}]
        groups = [self._kept(each) for each in groups]
        names = self.names
        if self.newest:
            counted = [each for each in names if is_semver(each)]
            groups = self._counted(groups, counted)
        if names:
            groups.insert(0, {"include": list(names)})
        groups = [each for each in groups if each] if all(groups) else []
        if len(groups) != 1:
            return {"any": groups} if groups else []
        only = groups[0]
        return only["include"] if set(only) == {"include"} else only

    def _matched(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"include": self.regexes}] if self.regexes else []
        groups += [{"exclude": [each]} for each in self.inverted]
        return groups

    def _kept(self, group: dict[str, Any]) -> dict[str, Any]:
        if len(self.keep) > 1 or (self.keep and "include" in group):
            msg = "two regexes that a tag must both match cannot be said"
            raise CannotSay(msg)
        found: dict[str, Any] = {}
        if self.keep:
            found["include"] = self.keep
        found |= group
        pinned = [tag for tag, _ in self.pinned]
        exclude = [*group.get("exclude", []), *self.keep_inverted, *pinned]
        if exclude:
            found["exclude"] = exclude
        return found

    def _counted(self, groups: list[dict[str, Any]], named: list[str]) -> list[dict[str, Any]]:
        """Count versions in the one group that has them; what is no version is not counted."""
        if not groups and len(named) <= self.newest:
            return []
        if len(groups) != 1 or named:
            msg = "keep: latest counts over several selectors together, which cannot be said"
            raise CannotSay(msg)
        group = groups[0]
        if "semver" in group:
            return [{**group, "newest": self.newest}]
        every = filters_of(translate("*", Dialect.DREGSY))[0]
        counted: dict[str, Any] = {**group, **every, "newest": self.newest}
        counted["exclude"] = [*group.get("exclude", []), *every["exclude"]]
        others: dict[str, Any] = {**group, "exclude": [*group.get("exclude", []), VERSIONS]}
        return [counted, others]


def _sort(value: str, plain: list[str], inverted: list[str]) -> None:
    """Anchor a regex as dregsy does, and put it where it belongs."""
    value = value.strip()
    regex = value.removeprefix("!")
    regex = regex if regex.startswith("^") else f"^{regex}"
    regex = regex if regex.endswith("$") else f"{regex}$"
    (inverted if value.startswith("!") else plain).append(f"/{regex}/")
