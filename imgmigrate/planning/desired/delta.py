"""Read sources that carry only what is new: what is not there is neither gone nor unwanted.

Pure. A disk or an export of this month says nothing of what last month's carried: images that
came from it stay, and stay ours, whatever the command line allows. What was never recorded and
is named stays an error, and so does what cannot be read.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import NotFound, StoreError
from imgmigrate.plan import Action, Reason
from imgmigrate.planning.desired.unread import may_write
from imgmigrate.stores.alias import place_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from pathlib import Path

    from imgmigrate.config.guards import Guards
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.planning.desired.tags import Chooser
    from imgmigrate.rules.rule import GlobRule, Rule
    from imgmigrate.state.record import ImageRecord

__all__ = ["Deltas", "may_come", "with_absent"]


class Deltas:
    """The rules that say `source_is_delta`; `base` is what layouts are relative to.

    Addresses are judged by where the rules write to, and not by where records came from: the
    disk of another month may lie in another folder. A destination counts under all its names.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        globs: Iterable[GlobRule],
        base: Path,
        guards: Guards,
        chooser: Chooser | None = None,
    ) -> None:
        self._base, self._guards, self._chooser = base, guards, chooser
        self._rules: defaultdict[Hashable, list[tuple[str, Rule]]] = defaultdict(list)
        for rule in rules:
            for each in rule.destinations if rule.is_delta else ():
                key = place_key(each.repository, base)
                self._rules[key].append((each.repository.store, rule))
        self._globs = [glob for glob in globs if glob.rule.is_delta]

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Keep what a delta does not carry, instead of letting it go."""
        return [self._settled(change) for change in changes]

    def covers(self, address: Reference, source: Reference) -> bool:
        """Tell whether a delta brings images to an address, and does not carry this one now."""
        repository = address.repository
        rules = [
            rule
            for store, rule in self._rules.get(place_key(repository, self._base), ())
            if not self._guards.are_distinct(store, repository.store)
        ]
        if rules:
            return not any(self._lists(rule, source) for rule in rules)
        return any(may_come(glob, repository, self._base, self._guards) for glob in self._globs)

    def recorded(self, records: Iterable[ImageRecord]) -> dict[Reference, tuple[Reference, Digest]]:
        """Of live records, what deltas brought and do not carry now: its source, as it was."""
        return {
            record.address: (record.source.reference, record.source.digest)
            for record in records
            if self.covers(record.address, record.source.reference)
        }

    def _settled(self, change: Change) -> Change:
        reason = change.reason
        is_gone = change.action is Action.KEEP and reason.traits.is_source_lost
        is_left = reason.traits.is_unwanted and reason is not Reason.MOVED
        is_unwanted = change.action is Action.FORGET and is_left
        if not (is_gone or is_unwanted) or change.source is None:
            return change
        if not self.covers(change.address, change.source.reference):
            return change
        return change.model_copy(update={"action": Action.KEEP, "reason": Reason.NOT_IN_DELTA})

    def _lists(self, rule: Rule, source: Reference) -> bool:
        """Tell whether a rule's source carries a tag, so that the rule leaves it out itself."""
        tag = source.tag
        return tag is not None and self._chooser is not None and self._chooser.lists(rule, tag)


def with_absent(
    rules: Iterable[Rule], listings: Mapping[Repository, list[str] | StoreError]
) -> dict[Repository, list[str] | StoreError]:
    """Take a delta's repository that is not there for one without tags."""
    deltas = {rule.source for rule in rules if rule.is_delta}
    return {
        repository: [] if repository in deltas and isinstance(found, NotFound) else found
        for repository, found in listings.items()
    }


def may_come(rule: GlobRule, repository: Repository, base: Path, guards: Guards) -> bool:
    """Tell whether a rule of many repositories may write to one, under any of its names.

    Where that cannot be told it may: letting go is what cannot be taken back.
    """
    return any(may_write(template, repository, base, guards) for template in rule.destinations)
