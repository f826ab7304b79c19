"""Translate the `tags` of dregsy: names, `semver:`, `regex:` and `keep:`. Pure.

The rules are those of its README and of `internal/pkg/tags/tagset.go`: a tag is wanted if some
name, range or regex says so; a `keep:` regex must match too, unless the tag was named; `keep:
latest N` counts versions, and leaves alone what is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from imgmigrate.foreign.reading.ranges import Dialect, Wanted, is_semver, translate

__all__ = ["COUNTING", "NARROWER", "CannotSay", "Tags"]

# What dregsy takes for a version (blang/semver, ParseTolerant), as a regex of ours.
VERSIONS = r"/^v?[0-9]+(\.[0-9]+)?$|^v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$/"
NARROWER = (
    "in a semver: range dregsy also takes pre-releases and tags with a suffix (1.2.0-rc.1, "
    "1.2.0-alpine); here plain versions alone, so name such tags"
)
COUNTING = (
    "keep: latest counts 1.2.0-alpine as older than 1.2.0, and by name where no tag is a "
    "version; here tags of one version stand in the order of their names"
)
_LATEST = re.compile(r"keep:\s+latest\s+([0-9]+)")


class CannotSay(Exception):
    """What is selected has no equivalent, for this reason."""


@dataclass(slots=True)
class Tags:
    """What a list of tags says. A regex is one of ours; `!` before it inverts it."""

    names: list[str] = field(default_factory=list)
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
                found.names.append(each)
        return found

    def remarks(self) -> list[str]:
        """What is not quite the same here."""
        return [
            *([NARROWER] if self.ranges else []),
            *([COUNTING] if self.newest else []),
        ]

    def selection(self) -> Any:
        """Our `tags:`; nothing for all tags. CannotSay where ours would let more through."""
        groups = [*self._ranged(), *self._matched()]
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

    def _ranged(self) -> list[dict[str, Any]]:
        plain = [each.semver for each in self.ranges if not each.exclude]
        groups: list[dict[str, Any]] = [{"semver": " || ".join(plain)}] if plain else []
        groups += [
            {"exclude": list(each.exclude), "semver": each.semver}
            for each in self.ranges
            if each.exclude
        ]
        return groups

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
        exclude = [*group.get("exclude", []), *self.keep_inverted]
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
        counted: dict[str, Any] = {**group, "newest": self.newest}
        if "semver" in group:
            return [counted]
        others: dict[str, Any] = {**group, "exclude": [*group.get("exclude", []), VERSIONS]}
        return [counted, others]


def _sort(value: str, plain: list[str], inverted: list[str]) -> None:
    """Anchor a regex as dregsy does, and put it where it belongs."""
    value = value.strip()
    regex = value.removeprefix("!")
    regex = regex if regex.startswith("^") else f"^{regex}"
    regex = regex if regex.endswith("$") else f"{regex}$"
    (inverted if value.startswith("!") else plain).append(f"/{regex}/")
