"""A state that is in memory, and answers every question about it.

Pure. `Records` is kept up to date by `view.py`, line by line, while it is read and written. A kind
of state that need not bring all of them here has its own, which answer the same questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgmigrate.state.record import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence, ValuesView

    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.state.record import ImageRecord, Run

__all__ = ["Records", "StateInMemory", "has_live", "in_order"]


class Records(Mapping[str, "ImageRecord"]):
    """Records by their printed addresses, and all that a `record.State` is asked of them.

    The index by the repositories at both ends is made for the first question that needs it, and
    kept up to date from then on: who only loads and writes a state does not pay for it.
    """

    def __init__(self, records: Mapping[str, ImageRecord] | None = None) -> None:
        self._all = dict(records or {})
        self._index: _Index | None = None

    def __getitem__(self, address: str) -> ImageRecord:
        return self._all[address]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, address: object) -> bool:
        return address in self._all

    def values(self) -> ValuesView[ImageRecord]:
        """Every record, as a dict gives them: a Mapping's own would look each up again."""
        return self._all.values()

    def put(self, record: ImageRecord) -> None:
        """Set the record of its address."""
        key = str(record.address)
        if self._index is not None:
            self._index.drop(key, self._all.get(key))
            self._index.add(key, record)
        self._all[key] = record

    def drop(self, address: str) -> ImageRecord | None:
        """Take the record of an address out, and return it; None if there is none."""
        record = self._all.pop(address, None)
        if self._index is not None:
            self._index.drop(address, record)
        return record

    @property
    def live_count(self) -> int:
        """How many records are live."""
        return self._indexed.live

    def every(self, prefix: str = "") -> Iterator[ImageRecord]:
        """The records, live and tombstones, whose addresses begin with a prefix, by address."""
        keys: Iterable[str] = self._all
        if prefix:
            keys = (key for group in self._groups(prefix) for key in group)
            keys = (key for key in keys if key.startswith(prefix))
        return (self._all[key] for key in sorted(keys))

    def of(self, repository: Repository, *, tombstones: bool = False) -> Sequence[ImageRecord]:
        """The live records of a destination repository, by address."""
        return in_order(self._indexed.addresses.get(repository), tombstones=tombstones)

    def from_source(self, source: Repository) -> Iterable[ImageRecord]:
        """The live records whose images came from a source repository, by address."""
        return in_order(self._indexed.sources.get(source))

    def holds(self, repository: Repository) -> bool:
        """Tell whether a live record is of a destination repository."""
        return has_live(self._indexed.addresses.get(repository))

    def has_source(self, source: Repository) -> bool:
        """Tell whether a live record's image came from a source repository."""
        return has_live(self._indexed.sources.get(source))

    def repositories(self, *, tombstones: bool = False) -> Iterator[Repository]:
        """The destination repositories of live records, in no order."""
        groups = self._indexed.addresses.items()
        return (each for each, group in groups if tombstones or has_live(group))

    def sources(self) -> Iterator[Repository]:
        """The source repositories of live records, in no order."""
        return (each for each, group in self._indexed.sources.items() if has_live(group))

    def with_layouts(self) -> Sequence[ImageRecord]:
        """The records, live and tombstones, that name a layout at either end, by address."""
        found: dict[str, ImageRecord] = {}
        for groups in (self._indexed.addresses, self._indexed.sources):
            for repository, group in groups.items():
                if repository.is_layout:
                    found.update(group)
        return in_order(found, tombstones=True)

    def written_by(self, what: str) -> Sequence[ImageRecord]:
        """What a run, or the runs of a plan, recorded last at its address, by address."""
        return [each for each in self.every() if what in (each.run, each.plan_id)]

    def close(self) -> None:
        """Let go of what they are asked of; nothing, where they are all here."""

    def _groups(self, prefix: str) -> Iterator[dict[str, ImageRecord]]:
        """The records of the repositories that can have addresses with a prefix."""
        for repository, group in self._indexed.addresses.items():
            name = str(repository)
            if name.startswith(prefix) or prefix.startswith((f"{name}:", f"{name}@")):
                yield group

    @property
    def _indexed(self) -> _Index:
        """Where records are found by their repositories."""
        if self._index is None:
            self._index = _Index(self._all)
        return self._index


class _Index:
    """Records by the repository of their address, and by that of their source."""

    def __init__(self, records: Mapping[str, ImageRecord]) -> None:
        self.live = 0
        self.addresses: defaultdict[Repository, dict[str, ImageRecord]] = defaultdict(dict)
        self.sources: defaultdict[Repository, dict[str, ImageRecord]] = defaultdict(dict)
        for key, record in records.items():
            self.add(key, record)

    def add(self, key: str, record: ImageRecord) -> None:
        self.live += record.is_live
        self.addresses[record.address.repository][key] = record
        self.sources[record.source.reference.repository][key] = record

    def drop(self, key: str, record: ImageRecord | None) -> None:
        if record is None:
            return
        self.live -= record.is_live
        _drop(self.addresses, record.address.repository, key)
        _drop(self.sources, record.source.reference.repository, key)


def _drop(
    groups: dict[Repository, dict[str, ImageRecord]], repository: Repository, key: str
) -> None:
    group = groups[repository]
    del group[key]
    if not group:
        del groups[repository]


@dataclass(frozen=True, slots=True)
class StateInMemory:
    """One consistent view (`record.State`): everything up to line `sequence`, hashed `head`.

    Keys are printed addresses. `stand_ins` tells of each placeholder of a delete what it stands
    in for.
    """

    lineage: str | None = None
    sequence: int = 0
    head: str = ""
    records: Mapping[str, ImageRecord] = field(default_factory=Records)
    claims: Mapping[str, frozenset[Digest]] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    stand_ins: Mapping[str, Mapping[Digest, Digest]] = field(default_factory=dict)
    name: str | None = None
    place: str | None = None
    is_known: bool = True
    companions: Mapping[str, frozenset[tuple[str, Digest]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.records, Records):
            object.__setattr__(self, "records", Records(self.records))

    @property
    def live_count(self) -> int:
        """How many records are live."""
        return self._records.live_count

    @property
    def record_count(self) -> int:
        """How many records there are, live and tombstones."""
        return len(self.records)

    def record(self, address: Reference) -> ImageRecord | None:
        """The record at an address, live or tombstone."""
        return self.records.get(str(address))

    def live(self, prefix: str = "") -> Iterator[ImageRecord]:
        """The live records whose printed addresses begin with a prefix, by address."""
        return (record for record in self.every(prefix) if record.is_live)

    def every(self, prefix: str = "") -> Iterator[ImageRecord]:
        """The records, live and tombstones, whose addresses begin with a prefix, by address."""
        return self._records.every(prefix)

    def of(self, repository: Repository, *, tombstones: bool = False) -> Sequence[ImageRecord]:
        """The live records of a destination repository, by address."""
        return self._records.of(repository, tombstones=tombstones)

    def from_source(self, source: Repository) -> Iterator[ImageRecord]:
        """The live records whose images came from a source repository, by address."""
        return iter(self._records.from_source(source))

    def holds(self, repository: Repository) -> bool:
        """Tell whether a live record is of a destination repository."""
        return self._records.holds(repository)

    def has_source(self, source: Repository) -> bool:
        """Tell whether a live record's image came from a source repository."""
        return self._records.has_source(source)

    def repositories(self, *, tombstones: bool = False) -> Iterator[Repository]:
        """The destination repositories of live records, in no order."""
        return self._records.repositories(tombstones=tombstones)

    def sources(self) -> Iterator[Repository]:
        """The source repositories of live records, in no order."""
        return self._records.sources()

    def with_layouts(self) -> Sequence[ImageRecord]:
        """The records, live and tombstones, that name a layout at either end, by address."""
        return self._records.with_layouts()

    def written_by(self, what: str) -> Sequence[ImageRecord]:
        """What a run, or the runs of a plan, recorded last at its address, by address."""
        return self._records.written_by(what)

    def close(self) -> None:
        """End the look."""
        self._records.close()

    def owns(self, address: Reference, digest: Digest) -> bool:
        """Tell whether `digest` at `address` is our own work (DESIGN section 5, "ours")."""
        record = self.record(address)
        if record and record.status is not Status.DELETED and record.digest == digest:
            return True
        return digest in self.claims.get(str(address), frozenset())

    def behind(self, address: Reference, digest: Digest | None) -> Digest | None:
        """The image that a placeholder of ours stands in for; anything else is itself."""
        stand_ins = self.stand_ins.get(str(address), {})
        return stand_ins.get(digest, digest) if digest is not None else None

    @property
    def _records(self) -> Records:
        if not isinstance(self.records, Records):
            msg = "records are made such when the state is made"
            raise TypeError(msg)
        return self.records


def has_live(group: Mapping[str, ImageRecord] | None) -> bool:
    """Tell whether one of a group of records is live."""
    return group is not None and any(record.is_live for record in group.values())


def in_order(
    group: Mapping[str, ImageRecord] | None, *, tombstones: bool = False
) -> list[ImageRecord]:
    """The live records of a group, by address."""
    if group is None:
        return []
    return [group[key] for key in sorted(group) if tombstones or group[key].is_live]
