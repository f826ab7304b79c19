"""What the command line says of addresses: which to plan, and which to treat otherwise.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.observing.globs import Globs
from imgmigrate.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imgmigrate.oci.reference import Repository
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["Scope", "choose_recorded"]


class Scope(Struct, frozen=True):
    """The globs of `target`, `exclude`, `replace` and `allow_overwrite`."""

    target: Globs
    exclude: Globs
    replace: Globs
    allow_overwrite: Globs

    @classmethod
    def of(
        cls,
        *,
        target: tuple[str, ...],
        exclude: tuple[str, ...],
        replace: tuple[str, ...],
        allow_overwrite: tuple[str, ...],
    ) -> Scope:
        """Read the globs; UsageError names the parameter and the glob that is none."""
        return cls(
            Globs("target", target),
            Globs("exclude", exclude),
            Globs("replace", replace),
            Globs("allow_overwrite", allow_overwrite),
        )

    def takes(self, address: Reference) -> bool:
        """Apply `target` and `exclude`; both are asked, so that each notes what it matched."""
        targeted = self.target.match(address) or not self.target
        return not self.exclude.match(address) and targeted

    def recorded(self, state: State) -> Iterator[ImageRecord]:
        """The live records that `target` and `exclude` leave, by address."""
        return choose_recorded(state, self.target, self.exclude)

    def may_take(self, repository: Repository) -> bool:
        """Tell whether `target` and `exclude` leave something of a repository."""
        if self.exclude.match(Reference(repository)):
            return False
        return not self.target or self.target.may_match(repository)

    def excuse(self, repository: Repository) -> None:
        """Take a glob that may match an address of an unreadable repository as no typing error."""
        for globs in self._all:
            globs.excuse(repository)

    def check(self) -> None:
        """Refuse a glob that matched nothing: it is a typing error."""
        for globs in self._all:
            globs.check()

    @property
    def _all(self) -> tuple[Globs, ...]:
        return (self.target, self.exclude, self.replace, self.allow_overwrite)


def choose_recorded(state: State, target: Globs, exclude: Globs) -> Iterator[ImageRecord]:
    """The live records that some target, or none being given any, and no exclude matches.

    By address. With targets the repositories that they may mean are looked into, and no other
    record is; but for an exclude that has matched nothing so far, which may be about those.
    """
    records: Iterable[ImageRecord]
    if target:
        named = target.repositories()
        records = _records_of(
            state,
            filter(target.may_match, state.repositories())
            if named is None
            else filter(state.holds, named),
        )
    else:
        records = state.live()
    for record in records:
        # Both are asked, so that each notes what it matched.
        targeted = target.match(record.address) or not target
        if not exclude.match(record.address) and targeted:
            yield record
    if target:
        _note_others(state, target, exclude)


def _note_others(state: State, target: Globs, exclude: Globs) -> None:
    """Let excludes note what they match outside of the targets, where they match nothing else."""
    if not exclude:
        return  # the names of all repositories are many
    for repository in state.repositories():
        if not exclude.may_match_first(repository) or target.may_match(repository):
            continue
        for record in state.of(repository):
            exclude.match(record.address)
            if not exclude.may_match_first(repository):
                break


def _records_of(state: State, repositories: Iterable[Repository]) -> list[ImageRecord]:
    found = [record for each in repositories for record in state.of(each)]
    return sorted(found, key=lambda record: str(record.address))
