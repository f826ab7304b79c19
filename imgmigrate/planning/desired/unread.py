"""Which destinations some rule writes to that was not read whole.

What such a rule asks for is not known, so nothing may be said of what no rule asks for there:
neither that it may go, nor that it is let go. A destination counts under all its names.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.matching import has_wildcard
from imgmigrate.oci.reference import Repository
from imgmigrate.rules.globs import parse_glob
from imgmigrate.stores.alias import place_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from pathlib import Path

    from imgmigrate.config.guards import Guards
    from imgmigrate.matching import Pattern
    from imgmigrate.rules.rule import GlobRule, Rule
    from imgmigrate.rules.templates import Template

__all__ = ["Unread", "may_write"]


class Unread:
    """Collects them; `base` is what layouts are relative to."""

    def __init__(self, base: Path, guards: Guards) -> None:
        self._base, self._guards = base, guards
        self._places: defaultdict[Hashable, set[str]] = defaultdict(set)
        self._globs: list[GlobRule] = []

    def add(self, repositories: Iterable[Repository]) -> None:
        """Note destinations."""
        for each in repositories:
            self._places[place_key(each, self._base)].add(each.store)

    def add_rule(self, rule: Rule) -> None:
        """Note the destinations of a rule."""
        self.add(each.repository for each in rule.destinations)

    def add_glob(self, rule: GlobRule) -> None:
        """Note all that a rule might write to, as nobody knows what its glob matches."""
        self._globs.append(rule)

    def covers(self, repository: Repository) -> bool:
        """Tell whether a destination, under this name or another, is among them."""
        stores = self._places.get(place_key(repository, self._base), ())
        if any(not self._guards.are_distinct(store, repository.store) for store in stores):
            return True
        return any(
            may_write(template, repository, self._base, self._guards)
            for rule in self._globs
            for template in rule.destinations
        )


def may_write(template: Template, repository: Repository, base: Path, guards: Guards) -> bool:
    """Tell whether a destination with placeholders may become a place, under any of its names.

    Layouts that are made of a glob are not compared: any of their folders may be a link.
    """
    found = parsed_template(template, base)
    if found is None:
        return True
    glob, pattern = found
    if glob.is_layout or repository.is_layout:
        return glob.is_layout and repository.is_layout
    if guards.are_distinct(glob.store, repository.store):
        return False
    return pattern.may_match(Repository(glob.store, repository.path))


def parsed_template(template: Template, base: Path) -> tuple[Repository, Pattern] | None:
    """Read a destination as the glob of all that it may become; None if that may be anything."""
    name = template.as_glob()
    if has_wildcard(name.partition("/")[0]):
        return None
    try:
        return parse_glob(name, str(base))
    except ValueError:
        return None
