"""Give what is about to be replaced a tag of its own, in rows of the same plan (`keep_previous`).

A manifest that no tag names is soon collected by many registries, and then there is no way back.
Such a tag is recorded as ours with its own repository as the source: no rule asks for it, and
none lets it go, until it is as old as `keep_previous_for` says: then `allow_delete` takes it.
What is moved lives on at its new address and needs none. What cannot be kept is not replaced: its
row becomes an error.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.errors import StoreError
from imgmigrate.observing.problems import failed
from imgmigrate.oci.reference import is_tag
from imgmigrate.plan import Action, Change, Reason
from imgmigrate.planning.passes.wholeness import not_whole
from imgmigrate.rules.kept import KEEP_NOTHING
from imgmigrate.state.record import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imgmigrate.config.model import Config
    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.rules.kept import KeptName
    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import Filter, ImageRecord, State

__all__ = ["Keeping", "KeptNames", "Outlived", "decide_outlived"]

# A tag that moves more often in a day is kept by {digest}, not by numbers.
MOST_A_DAY = 99

_REPLACE_IT = "say keep_previous: none at its rule, and it is replaced"

_Seen = dict["Reference", "Descriptor | StoreError | None"]


class _Unkept(Exception):
    """Why something cannot be kept."""


class KeptNames:
    """Which name what a row replaces gets: its rule's, else the whole config's.

    `rules` are those that records may come from, also of repositories that a glob lost.
    """

    def __init__(self, config: Config, lost: Iterable[Rule] = ()) -> None:
        self._default = config.guards.keep_previous
        self._globs = config.globs
        self._rules: defaultdict[Repository, list[Rule]] = defaultdict(list)
        for rule in sorted((*config.rules, *lost), key=lambda rule: rule.from_glob):
            self._rules[rule.source].append(rule)
        rules = (*config.rules, *lost, *(each.rule for each in config.globs))
        self._is_uniform = all(rule.keep_previous is None for rule in rules)

    def __bool__(self) -> bool:
        """Tell whether any row may have to be kept."""
        return self._default is not None or not self._is_uniform

    def of(self, change: Change, record: ImageRecord | None) -> KeptName | None:
        """Find the name; None where nothing is kept."""
        name = self._default
        # The rows of a rollback come from the destination; the record knows the rule's source.
        origin = record if change.reason == Reason.ROLLBACK else change
        if not self._is_uniform and origin is not None and origin.source is not None:
            rule = self._rule(origin.source.reference, change.address.repository)
            if rule is not None and rule.keep_previous is not None:
                name = rule.keep_previous
        return None if name == KEEP_NOTHING else name

    def _rule(self, source: Reference, destination: Repository) -> Rule | None:
        """Find the rule of an image: one that selects its tag, else one that goes there."""
        near = [
            rule
            for rule in self._rules[source.repository]
            if any(each.repository == destination for each in rule.destinations)
        ]
        near += [each.rule for each in self._globs if each.takes(source)]
        selecting = (rule for rule in near if source.tag and rule.selects(source.tag))
        return next(selecting, near[0] if near else None)


class Outlived(Struct, frozen=True):
    """Lets go of kept tags that are older, since they were recorded, than they are to be.

    A tag does not tell by which rule it was kept: of all that write to its repository the longest
    span counts, and that of the `default` where none says one. `kept` are their records.
    """

    kept: Sequence[ImageRecord]
    rules: Sequence[Rule]
    default: float | None
    now: datetime

    async def settle(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked]
    ) -> list[Change]:
        """Return the changes with a row more for each that nobody asks for."""
        usual = inf if self.default is None else self.default
        spans: defaultdict[Repository, list[float]] = defaultdict(list)
        for rule in self.rules:
            span = usual if rule.keep_previous_for is None else rule.keep_previous_for
            for each in rule.destinations:
                spans[each.repository].append(span)
        rows = [
            decide_outlived(record, max(spans[record.address.repository], default=usual), self.now)
            for record in self.kept
            if record.address not in asked
        ]
        return [*changes, *(row for row in rows if row is not None)]


def decide_outlived(record: ImageRecord, span: float, now: datetime) -> Change | None:
    """Decide the record of a kept tag, pure; None where it is not `span` s old yet."""
    try:
        kept_at = datetime.fromisoformat(record.at)
    except ValueError:
        return None  # who knows how old it is
    if kept_at.tzinfo is None or (now - kept_at).total_seconds() < span:
        return None
    return Change(
        address=record.address,
        action=Action.FORGET,
        reason=Reason.KEPT_LONG_ENOUGH,
        source=record.source,
        recorded=record.digest,
        media_type=record.media_type,
    )


class Keeping(Struct):
    """Adds the rows that keep what updates and deletes replace; `day` is the plan's, in UTC."""

    observer: Observer
    state: State
    names: KeptNames
    day: datetime
    _chosen: set[Reference] = field(default_factory=set)

    async def settle(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked]
    ) -> list[Change]:
        """Return the changes with a row more for each that replaces something."""
        if not self.names:
            return list(changes)
        self._chosen.clear()
        taken = {change.address for change in changes} | set(asked)
        settled: list[Change] = []
        pairs: list[tuple[Change, Digest, Reference]] = []
        for change in changes:
            tag = change.address.tag
            # Never the placeholder that a delete left when it was cut off.
            before = self.state.behind(change.address, change.before)
            if tag is None or before is None or not self._replaces(change, before):
                settled.append(change)
                continue
            name = self.names.of(change, self.state.record(change.address))
            if name is None:
                settled.append(change)
                continue
            try:
                kept = self._choose(change, name.of(tag, self.day, before), before, taken)
            except _Unkept as error:
                settled.append(self._failed(change, str(error)))
            else:
                pairs.append((change, before, kept))
        seen = await self.observer.look_at_destinations(
            address for _, before, kept in pairs for address in (kept, kept.repository.at(before))
        )
        for change, before, kept in pairs:
            origin = kept.repository.at(before)
            if seen[origin] is None:
                continue
            missing = await self.observer.missing_parts(origin, self._absent(change, before))
            if missing:
                seen[origin] = not_whole(origin, missing, _REPLACE_IT)
        for change, before, kept in pairs:
            settled += self._rows(change, before, kept, seen)
        return settled

    def _replaces(self, change: Change, before: Digest) -> bool:
        """Tell whether a row takes a tag from a digest that nothing else has to name."""
        record = self.state.record(change.address)
        is_kept = record is not None and record.keeps_previous
        is_other = before != change.after and not is_kept and change.moved_to is None
        return change.action in (Action.UPDATE, Action.DELETE) and is_other

    def _choose(
        self, change: Change, name: str, before: Digest, taken: set[Reference]
    ) -> Reference:
        """Find the tag: numbered where that day's is kept already, with another digest."""
        for number in range(1, MOST_A_DAY + 1):
            text = name if number == 1 else f"{name}-{number}"
            if not is_tag(text):
                msg = f"{text} would be its name, which is too long for a tag"
                raise _Unkept(msg)
            kept = change.address.with_tag(text)
            record = self.state.record(kept)
            is_kept = record is not None and record.is_live and record.keeps_previous
            if kept in taken and not is_kept:
                msg = f"{kept} would be its name, and that is an address of this plan"
                raise _Unkept(msg)
            # It may have a row of its own: in a rollback, or where it was kept long enough.
            is_other = is_kept and (kept in taken or record is None or record.digest != before)
            if not is_other and kept not in self._chosen:
                self._chosen.add(kept)
                return kept
        msg = f"{name} and {MOST_A_DAY - 1} numbers after it are taken"
        raise _Unkept(msg)

    def _rows(
        self, change: Change, before: Digest, kept: Reference, seen: _Seen
    ) -> tuple[Change, ...]:
        there, origin = seen[kept], seen[kept.repository.at(before)]
        if isinstance(there, StoreError):
            return (self._failed(change, str(there)),)
        if isinstance(origin, StoreError):
            return (self._failed(change, str(origin)),)
        if origin is None:
            return (self._failed(change, f"{before} is not to be had by its digest"),)
        shown = there.digest if there else None
        # What a delete of the kept tag left when it was cut off is in nobody's way.
        is_left = shown is not None and self.state.behind(kept, shown) != shown
        if shown is not None and shown != before and not is_left:
            return (self._failed(change, f"{kept} shows something else, {shown.short}"),)
        replaced = change.model_copy(update={"kept_as": kept})
        record = self.state.record(kept)
        if shown and record is not None and record.is_live and record.digest == before:
            return (replaced,)
        row = Change(
            address=kept,
            action=self._action(shown, before),
            reason=Reason.KEEP_PREVIOUS,
            source=Source(reference=kept.repository.at(before), digest=before),
            before=shown,
            after=before,
            recorded=record.digest if record else None,
            media_type=origin.media_type,
            filter=self._absent(change, before),
            transfer_bytes=0,
        )
        return replaced, row

    def _absent(self, change: Change, before: Digest) -> Filter | None:
        """Say what is not there on purpose of what a row replaces."""
        record = self.state.record(change.address)
        if record is None or record.digest != before or record.filter is None:
            return None
        return record.filter.of_itself

    def _action(self, shown: Digest | None, before: Digest) -> Action:
        if shown is None:
            return Action.COPY
        return Action.ADOPT if shown == before else Action.UPDATE

    def _failed(self, change: Change, why: str) -> Change:
        detail = f"keep_previous: what {change.address} shows cannot be kept: {why}"
        return failed(change.address, Reason.NOT_KEPT, detail, self.state.record(change.address))
