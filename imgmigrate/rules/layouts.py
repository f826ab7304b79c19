"""Give each layout one name, however many ways to write its path there are.

Two names are of one folder if their real paths are the same. The first one that a destination
of the config has stays: an absolute one is absolute, a relative one moves with the config.
Looks at links in paths and at nothing else.
"""

from __future__ import annotations

import os.path
from dataclasses import replace
from typing import TYPE_CHECKING

from imgmigrate.errors import ConfigError
from imgmigrate.oci.reference import LAYOUTS, Reference, Repository, relative_path
from imgmigrate.rules.templates import concrete_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from imgmigrate.rules.rule import GlobRule, Rule


__all__ = ["LayoutNames", "Spelling"]


class LayoutNames:
    """The names by which layouts are called; `base` is the folder that relative ones are in.

    What is said of a folder holds as long as the object lives, also if links change meanwhile.
    """

    def __init__(self, base: Path) -> None:
        self._base = os.fspath(base)
        self._names: dict[str, Repository] = {}
        self._real: dict[str, str] = {}

    def name(self, repository: Repository) -> Repository:
        """Give the name of a repository, which is this one if it is the first of its folder."""
        if not repository.is_layout:
            return repository
        return self._names.setdefault(self._place(repository), repository)

    def find(self, repository: Repository) -> Repository:
        """Give the name of a repository; itself if its folder has none yet."""
        if not repository.is_layout or not self._names:
            return repository
        return self._names.get(self._place(repository), repository)

    def are_one(self, one: Repository, other: Repository) -> bool:
        """Tell whether two names are of one repository."""
        if one == other or not (one.is_layout and other.is_layout):
            return one == other
        return self._place(one) == self._place(other)

    def _place(self, repository: Repository) -> str:
        path = repository.path
        if path not in self._real:
            self._real[path] = os.path.realpath(os.path.join(self._base, path))
        return self._real[path]


class Spelling:
    """What the config calls layouts now, of which other names are written in older files.

    `sources` are those that images came from; names in `first` come before the config's own.
    """

    def __init__(
        self,
        base: Path,
        rules: Iterable[Rule],
        globs: tuple[GlobRule, ...],
        sources: Iterable[Repository],
        *,
        first: Iterable[Repository] = (),
    ) -> None:
        self._base = os.fspath(base)
        self._globs = globs
        self._written, self._read = LayoutNames(base), LayoutNames(base)
        for repository in first:
            self._written.name(repository)
        for rule in rules:
            self._read.name(rule.source)
            for each in rule.destinations:
                self._written.name(each.repository)
        for source in dict.fromkeys(sources) if globs else ():
            for repository in self._made(source):
                self._written.name(repository)

    def destination(self, address: Reference) -> Reference:
        """Give an address its present name."""
        return replace(address, repository=self._written.find(address.repository))

    def source(self, origin: Reference) -> Reference:
        """Give where an image came from its present name."""
        repository = self._read.find(origin.repository)
        if repository == origin.repository:
            taken = (self._taken(each, repository) for each in self._globs)
            repository = next((each for each in taken if each is not None), repository)
        return replace(origin, repository=repository)

    def _made(self, source: Repository) -> Iterator[Repository]:
        """Give all that globs make of a source, under whichever name they take it."""
        for many in self._globs:
            taken = self._taken(many, source)
            if taken is None:
                continue
            try:
                made = concrete_rule(many, taken, self._base)
            except ConfigError:  # its destination would be no name: nothing goes there
                continue
            yield from (each.repository for each in made.destinations)

    def _taken(self, many: GlobRule, source: Repository) -> Repository | None:
        """Give the name by which a glob takes a repository, if it does."""
        names = [source]
        if source.is_layout:
            path = os.path.normpath(os.path.join(self._base, source.path))
            names += [Repository(LAYOUTS, each) for each in (path, relative_path(path, self._base))]
        return next((each for each in names if many.takes(Reference(each))), None)
