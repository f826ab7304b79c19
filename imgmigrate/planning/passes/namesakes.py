"""Find the other names under which an image that is to be deleted may be wanted.

One registry or folder may have several names, and a delete under one of them takes the image
from all. Folders tell whether they are one. Of hosts only a write to one of them does: such a
delete is proven when it is done, or, where tags are deleted by their names, not done.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgmigrate.errors import StoreError
from imgmigrate.oci.reference import Repository
from imgmigrate.plan import Action, Reason
from imgmigrate.planning.desired.unread import may_write, parsed_template
from imgmigrate.stores.alias import place_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from imgmigrate.config.model import Config
    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.planning.desired.unread import Unread
    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import State

__all__ = ["Namesakes"]

_Seen = dict["Reference", "Descriptor | StoreError | None"]


@dataclass(slots=True)
class Namesakes:
    """Guards deletes by what is wanted, or read, under other names; `config` is the whole one.

    Of the destinations in `unread`, and of all where the plan is not about all (`is_part`), any
    tag may be wanted. What rules read is only proven, never a reason to block: a mirror often has
    the paths, tags and digests of its source.
    """

    config: Config
    state: State
    observer: Observer
    unread: Unread | None = None
    is_part: bool = False
    _wanted: defaultdict[tuple[Hashable, str], set[Reference]] = field(init=False)
    _sources: defaultdict[tuple[Hashable, str], set[Reference]] = field(init=False)
    _written: defaultdict[Hashable, set[Repository]] = field(init=False)
    _read: defaultdict[Repository, list[Rule]] = field(init=False)
    _keys: dict[Repository, Hashable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._wanted, self._sources = defaultdict(set), defaultdict(set)
        self._written, self._read = defaultdict(set), defaultdict(list)

    def _note_rules(self) -> None:
        """Note what is read and written, whatever is there now."""
        for rule in self.config.rules:
            self._read[rule.source].append(rule)
            for each in rule.destinations:
                self._written[self._key(each.repository)].add(each.repository)

    def _want(self, addresses: Iterable[Reference], sources: Iterable[Reference] = ()) -> None:
        """Note addresses that are asked for, and images that are read."""
        for references, noted in ((addresses, self._wanted), (sources, self._sources)):
            for each in references:
                if each.tag is not None:
                    noted[self._key(each.repository), each.tag].add(each)

    async def settle(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked]
    ) -> list[Change]:
        """Block the deletes that would take what is wanted; name what the others are proven by."""
        deletes = [change.address for change in changes if change.action is Action.DELETE]
        if not deletes:
            return list(changes)
        leaving = {c.address for c in changes if c.action in (Action.DELETE, Action.FORGET)}
        self._note_rules()
        self._want(asked, (each.named for each in asked.values()))
        self._want_recorded({self._key(address.repository) for address in deletes})
        found = {address: sorted(set(self._of(address)) - leaving) for address in deletes}
        seen = await self.observer.look_at_destinations(
            other
            for address, others in found.items()
            if others and self._is_deleted_by_name(address)
            for other in others
        )
        return [
            self._guarded(change, found[change.address], seen)
            if change.action is Action.DELETE
            else change
            for change in changes
        ]

    def _want_recorded(self, places: set[Hashable]) -> None:
        """Note what is recorded at some places, under all their names."""
        for repository in self.state.repositories():
            if self._key(repository) in places:
                self._want(record.address for record in self.state.of(repository))

    def _guarded(self, change: Change, others: list[Reference], seen: _Seen) -> Change:
        address = change.address
        if self._is_source(address):
            return _blocked(change, Reason.IS_SOURCE, "a rule takes it from there, so it is wanted")
        if not others:
            return change
        if address.repository.is_layout:
            return _blocked(
                change, Reason.SAME_PLACE, f"{others[0]} is the same folder, and is wanted"
            )
        for other in others:
            shown = seen.get(other)
            if isinstance(shown, StoreError):
                return _blocked(change, Reason.MAY_BE_SAME, f"{other} may be the same: {shown}")
            if shown is not None and shown.digest == change.before:
                hosts = f"{address.repository.store}, {other.repository.store}"
                detail = (
                    f"{other} shows the same image and is wanted, and here nothing can tell "
                    f"whether both are one registry; if they are not: distinct: [{hosts}]"
                )
                return _blocked(change, Reason.MAY_BE_SAME, detail)
        return change.model_copy(update={"namesakes": tuple(others)})

    def _of(self, address: Reference) -> Iterator[Reference]:
        """Give every other name that may be of the same place and is wanted."""
        key, tag = self._key(address.repository), address.tag or ""
        read: Iterable[Reference] = self._sources.get((key, tag), ())
        if self._is_deleted_by_name(address):
            read = ()
        for each in (*self._wanted.get((key, tag), ()), *read):
            if each != address and not self._are_distinct(each.repository, address.repository):
                yield each
        for name in (*self._written.get(key, ()), *self._made(address.repository)):
            is_known = not self.is_part and not (self.unread and self.unread.covers(name))
            if name == address.repository or is_known:
                continue
            if not self._are_distinct(name, address.repository):
                yield name.at(tag)

    def _made(self, repository: Repository) -> Iterator[Repository]:
        """Give the names of a place that rules of many repositories may write to."""
        for many in self.config.globs if not repository.is_layout else ():
            for template in many.destinations:
                found = parsed_template(template, self.config.base)
                if found is None or found[0].is_layout:
                    continue
                if may_write(template, repository, self.config.base, self.config.guards):
                    yield Repository(found[0].store, repository.path)

    def _is_source(self, address: Reference) -> bool:
        """Tell whether some rule takes images from this very tag."""
        tag = address.tag or ""
        if any(rule.selects(tag) for rule in self._read.get(address.repository, ())):
            return True
        return any(each.takes(address) and each.rule.selects(tag) for each in self.config.globs)

    def _is_deleted_by_name(self, address: Reference) -> bool:
        repository = address.repository
        return not repository.is_layout and self.observer.place(repository).store.deletes_tags

    def _are_distinct(self, one: Repository, other: Repository) -> bool:
        return self.config.guards.are_distinct(one.store, other.store)

    def _key(self, repository: Repository) -> Hashable:
        if repository not in self._keys:
            self._keys[repository] = place_key(repository, self.config.base)
        return self._keys[repository]


def _blocked(change: Change, reason: Reason, detail: str) -> Change:
    update = {"action": Action.BLOCKED, "reason": reason, "detail": f"not deleted: {detail}"}
    return change.model_copy(update=update)
