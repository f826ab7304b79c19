"""Records that stay in the database: each question fetches what it is about, and no more.

A `State` is asked by code that cannot wait, so a thread waits instead (`reader.py`). Under a look
all questions are answered as of one moment; under a writer, whose own lines alone can change
anything, as of now, with what it has written laid over: those may be on their way.
"""

from __future__ import annotations

import heapq
import weakref
from bisect import bisect_left, bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import ValuesView
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from imgmigrate.oci.reference import LAYOUTS, Reference, Repository
from imgmigrate.state.memory import Records, in_order
from imgmigrate.state.postgres.rows import record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imgmigrate.state.postgres.reader import Reader
    from imgmigrate.state.record import ImageRecord

__all__ = ["DistantRecords"]

T = TypeVar("T")

# Rows of one answer.
BATCH = 5_000
# Records that are kept after they were read: some 75 MB. A writer asks again, row by row, for what
# it sorted its rows by.
MOST_KEPT = 50_000
MOST_KEPT_BY_WRITER = 1_000_000
# Names that are kept once they were listed: some 80 MB.
MOST_NAMES = 1_000_000
# Names that are read at once where they are asked for one after another; and how many of those
# that were listed may be left out for it still to be that.
MOST_AHEAD = 200
NEAR = 8
_COLUMNS = "address, status, document"
# Which records are asked for by the repository at each end.
_LIVE = {"repository": "", "source_repository": " AND status = 'live'"}
# The first text behind all that begin with one: no address has it.
_LAST = "\U0010ffff"


class DistantRecords(Records):
    """Records that are asked for by repository; what was put or dropped here counts more."""

    def __init__(self, reader: Reader, *, most: int = MOST_KEPT) -> None:
        super().__init__()
        self._reader, self._most = reader, most
        # By the repository that they are in; None of what was dropped.
        self._ours: defaultdict[Repository, dict[str, ImageRecord | None]] = defaultdict(dict)
        # What was read, by the column and its value; the latest asked for last.
        self._read: OrderedDict[tuple[str, str], dict[str, _Row]] = OrderedDict()
        self._kept = 0
        # Names that were listed, by the column and whether tombstones count; and of each column
        # behind which of them the last reading ended, and how many that read.
        self._names: dict[tuple[str, bool], list[str]] = {}
        self._stopped: dict[str, tuple[int, int]] = {}
        weakref.finalize(self, reader.stop)

    def close(self) -> None:
        """End the transaction in which they are read, and its connection."""
        self._reader.stop()

    def __getitem__(self, address: str) -> ImageRecord:
        try:
            repository = Reference.parse(address).repository
        except ValueError:
            raise KeyError(address) from None
        ours = self._ours.get(repository, {})
        found = ours[address] if address in ours else self._there(repository, address)
        if found is None:
            raise KeyError(address)
        return found

    def __iter__(self) -> Iterator[str]:
        return (str(record.address) for record in self.every())

    def __len__(self) -> int:
        return self._count("true", lambda _: True)

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and self.get(address) is not None

    def values(self) -> ValuesView[ImageRecord]:
        """Every record."""
        return _Streamed(self)

    def put(self, record: ImageRecord) -> None:
        """Set the record of its address."""
        self._ours[record.address.repository][str(record.address)] = record

    def drop(self, address: str) -> ImageRecord | None:
        """Take the record of an address out, and return it; None if there is none."""
        record = self.get(address)
        if record is not None:
            self._ours[record.address.repository][address] = None
        return record

    @property
    def live_count(self) -> int:
        """How many records are live."""
        return self._count("status = 'live'", lambda record: record.is_live)

    def every(self, prefix: str = "") -> Iterator[ImageRecord]:
        """The records, live and tombstones, whose addresses begin with a prefix, by address."""
        changed = {
            key: record
            for group in self._ours.values()
            for key, record in group.items()
            if key.startswith(prefix)
        }
        there = (
            (str(record.address), record)
            for record in map(record_of, self._stream(prefix))
            if str(record.address) not in changed
        )
        ours = sorted((key, record) for key, record in changed.items() if record is not None)
        return (record for _, record in heapq.merge(there, ours, key=lambda each: each[0]))

    def of(self, repository: Repository, *, tombstones: bool = False) -> Sequence[ImageRecord]:
        """The live records of a destination repository, by address."""
        group, ours = self._group(repository), self._ours.get(repository)
        if not ours:
            return [row.record for row in _in_order(group) if tombstones or row.is_live]
        merged = {**{key: row.record for key, row in group.items()}, **ours}
        left = {key: record for key, record in merged.items() if record is not None}
        return in_order(left, tombstones=tombstones)

    def from_source(self, source: Repository) -> Iterable[ImageRecord]:
        """The live records whose images came from a source repository, by address."""
        rows = self._fetch("source_repository", str(source))
        if not self._ours:
            return (row.record for row in _in_order(rows))
        there = {key: row.record for key, row in rows.items()}
        return in_order(
            self._laid_over(there, lambda record: record.source.reference.repository == source)
        )

    def holds(self, repository: Repository) -> bool:
        """Tell whether a live record is of a destination repository."""
        if repository in self._ours:
            return bool(self.of(repository))
        return any(row.is_live for row in self._group(repository).values())

    def has_source(self, source: Repository) -> bool:
        """Tell whether a live record's image came from a source repository."""
        return next(iter(self.from_source(source)), None) is not None

    def repositories(self, *, tombstones: bool = False) -> Iterator[Repository]:
        """The destination repositories of live records, in no order."""
        for each in self._distinct("repository", tombstones=tombstones):
            if each not in self._ours:
                yield each
        for each in tuple(self._ours):
            if self.of(each, tombstones=tombstones):
                yield each

    def sources(self) -> Iterator[Repository]:
        """The source repositories of live records, in no order."""
        touched = {
            record.source.reference.repository
            for repository, group in self._ours.items()
            for key in group
            for record in (group[key], self._there(repository, key))
            if record is not None
        }
        for each in self._distinct("source_repository", tombstones=False):
            if each not in touched:
                yield each
        yield from (each for each in touched if self.has_source(each))

    def with_layouts(self) -> Sequence[ImageRecord]:
        """The records, live and tombstones, that name a layout at either end, by address."""
        rows = self._rows(
            "SELECT document FROM imgmigrate.records WHERE repository >= $1 AND repository < $2"
            " UNION SELECT document FROM imgmigrate.records"
            " WHERE source_repository >= $1 AND source_repository < $2",
            LAYOUTS,
            LAYOUTS + _LAST,
        )

        def names_one(record: ImageRecord) -> bool:
            ends = (record.address.repository, record.source.reference.repository)
            return any(end.is_layout for end in ends)

        return in_order(self._laid_over(_decoded(rows), names_one), tombstones=True)

    def written_by(self, what: str) -> Sequence[ImageRecord]:
        """What a run, or the runs of a plan, recorded last at its address, by address."""
        rows = self._rows(
            "SELECT document FROM imgmigrate.records WHERE run = $1 OR plan_id = $1", what
        )
        found = self._laid_over(_decoded(rows), lambda each: what in (each.run, each.plan_id))
        return in_order(found, tombstones=True)

    def _laid_over(
        self, found: Mapping[str, ImageRecord], is_one: Callable[[ImageRecord], bool]
    ) -> Mapping[str, ImageRecord]:
        """What was read, with what is ours in its place and beside it."""
        if not self._ours:
            return found
        merged = dict(found)
        for group in self._ours.values():
            for key, record in group.items():
                if record is not None and is_one(record):
                    merged[key] = record
                else:
                    merged.pop(key, None)
        return merged

    def _there(self, repository: Repository, address: str) -> ImageRecord | None:
        """The record of an address as it was read."""
        row = self._group(repository).get(address)
        return None if row is None else row.record

    def _group(self, repository: Repository) -> dict[str, _Row]:
        return self._fetch("repository", str(repository))

    def _fetch(self, column: str, value: str) -> dict[str, _Row]:
        """The records of a repository at one end, as they were read first."""
        key = (column, value)
        if key not in self._read:
            last = self._ahead(column, value)
            if last is None or not self._fetch_range(column, value, last):
                where = f"{column} = $1{_LIVE[column]}"
                statement = f"SELECT {_COLUMNS} FROM imgmigrate.records WHERE {where}"  # noqa: S608 - of ours
                self._keep(key, _keyed(self._rows(statement, value)))
        self._read.move_to_end(key)
        return self._read[key]

    def _ahead(self, column: str, value: str) -> str | None:
        """The name up to which is worth reading; None if only this one is.

        Whoever asks for one name behind another will ask for the next; each time that comes true
        more are read at once.
        """
        names = self._names.get((column, False))
        if names is None:
            return None
        here = bisect_left(names, value)
        stopped, width = self._stopped.get(column, (-1, 1))
        is_next = 0 <= here - stopped <= NEAR
        width = min(width * 4, MOST_AHEAD) if is_next else 1
        self._stopped[column] = (here + width, width)
        return names[min(here + width, len(names)) - 1] if width > 1 and here < len(names) else None

    def _fetch_range(self, column: str, first: str, last: str) -> bool:
        """Read all names of a range, or as many as one answer holds; False if not even the first.

        What was read before is not read anew: under a writer it may have changed by its own lines.
        """
        rows = self._rows(
            f"SELECT {column} AS name, {_COLUMNS} FROM imgmigrate.records"  # noqa: S608 - of ours
            f" WHERE {column} >= $1 AND {column} <= $2{_LIVE[column]}"
            f" ORDER BY {column} LIMIT {BATCH}",
            first,
            last,
        )
        groups = {name: list(group) for name, group in groupby(rows, key=itemgetter("name"))}
        names = self._names[(column, False)]
        if len(rows) == BATCH:  # the last may go on
            last = rows[-1]["name"]
            groups.pop(last)
            end = bisect_left(names, last)
        else:
            end = bisect_right(names, last)
        for name in {*names[bisect_left(names, first) : end], *groups}:
            if (column, name) not in self._read:
                self._keep((column, name), _keyed(groups.get(name, ())))
        self._stopped[column] = (end, self._stopped[column][1])
        if first not in groups and len(rows) == BATCH:
            return False
        self._read.setdefault((column, first), {})
        return True

    def _keep(self, key: tuple[str, str], found: dict[str, _Row]) -> None:
        self._read[key] = found
        self._kept += len(found) + 1
        while self._kept > self._most and len(self._read) > 1:
            self._kept -= len(self._read.popitem(last=False)[1]) + 1

    def _rows(self, statement: str, *values: Any) -> Sequence[Any]:
        return self._reader.ask(lambda session: session.rows(statement, *values))

    def _count(self, condition: str, is_one: Callable[[ImageRecord], bool]) -> int:
        ours = [(key, each) for group in self._ours.values() for key, each in group.items()]
        statement = f"SELECT count(*) AS n FROM imgmigrate.records WHERE {condition}"  # noqa: S608 - of ours
        values: tuple[Any, ...] = ()
        if ours:
            statement += " AND NOT address = ANY($1)"
            values = ([key for key, _ in ours],)
        count: int = self._rows(statement, *values)[0]["n"]
        return count + sum(1 for _, each in ours if each is not None and is_one(each))

    def _stream(self, prefix: str) -> Iterator[Any]:
        """Rows by address, a batch at a time: each begins behind the last of the one before."""
        last, comparison = prefix, ">="
        while True:
            rows = self._rows(
                "SELECT address, document FROM imgmigrate.records"  # noqa: S608 - of ours
                f" WHERE address {comparison} $1 AND address < $2 ORDER BY address LIMIT {BATCH}",
                last,
                prefix + _LAST,
            )
            yield from rows
            if len(rows) < BATCH:
                return
            last, comparison = rows[-1]["address"], ">"

    def _distinct(self, column: str, *, tombstones: bool) -> Iterator[Repository]:
        """Each value of a column once, in order, as it was when that was asked first."""
        names = self._names.get((column, tombstones))
        if names is not None:
            yield from map(_repository, names)
            return
        found: list[str] = []
        for name in self._steps(column, tombstones=tombstones):
            if len(found) <= MOST_NAMES:
                found.append(name)
            yield _repository(name)
        if len(found) <= MOST_NAMES:
            self._names[(column, tombstones)] = sorted(found)

    def _steps(self, column: str, *, tombstones: bool) -> Iterator[str]:
        """Each value of a column once, by as many steps through its index."""
        live = "" if tombstones else " AND status = 'live'"
        # A count of the rows of a recursive query ends it: each is made when it is asked for.
        statement = (
            "WITH RECURSIVE each AS ("  # noqa: S608 - of ours
            f" (SELECT {column} AS name FROM imgmigrate.records WHERE {column} > $1{live}"
            f" ORDER BY {column} LIMIT 1)"
            f" UNION ALL SELECT (SELECT {column} FROM imgmigrate.records"
            f" WHERE {column} > each.name{live} ORDER BY {column} LIMIT 1)"
            " FROM each WHERE each.name IS NOT NULL"
            f") SELECT name FROM each WHERE name IS NOT NULL LIMIT {BATCH}"
        )
        last = ""
        while True:
            rows = self._rows(statement, last)
            yield from (row["name"] for row in rows)
            if len(rows) < BATCH:
                return
            last = rows[-1]["name"]


class _Streamed(ValuesView["ImageRecord"]):
    """Every record, without looking each up."""

    def __init__(self, records: DistantRecords) -> None:
        super().__init__(records)
        self._records = records

    def __iter__(self) -> Iterator[ImageRecord]:
        return self._records.every()


class _Row:
    """One record as it was read: it is not decoded before it is looked at, as few are."""

    __slots__ = ("_decoded", "_row", "is_live")

    def __init__(self, row: Any) -> None:
        self._row, self._decoded = row, False
        self.is_live = row["status"] == "live"

    @property
    def record(self) -> ImageRecord:
        """The record."""
        if not self._decoded:
            self._row, self._decoded = record_of(self._row), True
        record: ImageRecord = self._row
        return record


def _keyed(rows: Iterable[Any]) -> dict[str, _Row]:
    return {row["address"]: _Row(row) for row in rows}


def _in_order(group: Mapping[str, _Row]) -> Iterator[_Row]:
    return (group[key] for key in sorted(group))


def _decoded(rows: Iterable[Any]) -> dict[str, ImageRecord]:
    return {str(record.address): record for record in map(record_of, rows)}


def _repository(name: str) -> Repository:
    if name.startswith(LAYOUTS):
        return Repository(LAYOUTS, name.removeprefix(LAYOUTS))
    store, _, path = name.partition("/")
    return Repository(store, path)
