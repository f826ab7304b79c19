"""Which rules bring images from one repository to another, as far as names tell.

Pure: nothing is listed. A glob joins what it takes and what its destinations make of that, also
where a rule that names the repository stands before it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import ConfigError
from imgmigrate.matching import has_wildcard
from imgmigrate.oci.reference import Reference, Repository, parse_endpoint
from imgmigrate.rules.globs import parse_glob
from imgmigrate.rules.rule import Destination, GlobRule, Rule
from imgmigrate.rules.templates import concrete_rule, parse_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


__all__ = ["Joins", "ends_of", "rule_of_ends"]


class Joins:
    """Finds rules by their two ends; `base` is the folder that layouts are relative to."""

    def __init__(self, rules: Iterable[Rule | GlobRule], base: Path) -> None:
        self._base = str(base)
        self._globs: list[GlobRule] = []
        self._named: defaultdict[Repository, list[Rule]] = defaultdict(list)
        for rule in rules:
            if isinstance(rule, GlobRule):
                self._globs.append(rule)
            else:
                self._named[rule.source].append(rule)
        # A plan has many rows of one source.
        self._from: dict[Repository, list[Rule]] = {}

    def find(self, source: Repository, destination: Repository) -> list[Rule]:
        """The rules that bring images of `source` to `destination`, those that name it first."""
        if source not in self._from:
            made = [each for rule in self._globs for each in self._concrete(rule, source)]
            self._from[source] = [*self._named[source], *made]
        return [
            rule
            for rule in self._from[source]
            if any(each.repository == destination for each in rule.destinations)
        ]

    def _concrete(self, rule: GlobRule, source: Repository) -> Iterable[Rule]:
        if rule.takes(Reference(source)):
            try:
                yield concrete_rule(rule, source, self._base)
            except ConfigError:  # its destination would be no name: nothing goes there
                return


def ends_of(rule: Rule | GlobRule) -> tuple[str, tuple[str, ...]]:
    """Print the two ends of a rule, for `rule_of_ends` to read."""
    if isinstance(rule, GlobRule):
        return str(rule.rule.source), tuple(each.text for each in rule.destinations)
    there = dict.fromkeys(str(each.repository) for each in rule.destinations)
    return str(rule.source), tuple(there)


def rule_of_ends(source: str, destinations: Sequence[str]) -> Rule | GlobRule:
    """Make a rule of two ends, of every tag; ValueError if they are none.

    What it reads may come from a file that somebody else has written: no variable is expanded.
    """
    if not has_wildcard(source):
        goes = tuple(Destination(parse_endpoint(text).repository) for text in destinations)
        return _rule(parse_endpoint(source).repository, goes)
    repository, pattern = parse_glob(source)
    templates = tuple(
        parse_template(text, has_match=True, has_digest=False) for text in destinations
    )
    return GlobRule(_rule(repository, ()), pattern, (), templates)


def _rule(source: Repository, destinations: tuple[Destination, ...]) -> Rule:
    return Rule(
        number=1,
        file="",
        line=0,
        source=source,
        digest=None,
        tags=None,
        destinations=destinations,
    )
