"""What a state is in tables, and every statement that reads and writes them.

Each function is one transaction, or a part of the one it is called in. The row of `state` is the
lock: whoever writes anything holds it from its first statement to COMMIT, and has seen there that
the lease is still its own. Addresses sort by their bytes, as they do in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.errors import StateLost
from imgmigrate.state.entries import Intent
from imgmigrate.state.postgres.lease import own, renew
from imgmigrate.state.postgres.tables import version_of
from imgmigrate.state.record import RECORDS, Run
from imgmigrate.state.view import KEPT_RUNS, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imgmigrate.state.groups.spool import Pending
    from imgmigrate.state.lines.journal import Line
    from imgmigrate.state.postgres.database import Session
    from imgmigrate.state.postgres.lease import Lease
    from imgmigrate.state.record import ImageRecord

__all__ = [
    "append",
    "forget_lines",
    "known_lines",
    "point",
    "put_all",
    "read_all",
    "read_view",
    "record_of",
    "remembers",
]

# Days for which every line is remembered: as long as a plan may wait for its apply.
REMEMBERED_DAYS = 30
# The kinds of lines that may change the record, or the claims, of the addresses that they name.
_OF_RECORDS = frozenset({"record", "remove", "move", "protect", "unprotect"})
_OF_CLAIMS = frozenset({"claims", "conflict", "record", "remove", "move"})
# Rows of one answer.
BATCH = 5_000
# Records that are looked for before a state is said to be a large one; read at once, they are 15 MB
# and take a third of a second.
SMALL = 10_000


async def read_view(session: Session) -> tuple[View, bool]:
    """Read all but the records, and tell whether these are many, within a transaction.

    An empty view where there is no state.
    """
    if await version_of(session) is None:
        return View(), False
    found = await session.row("SELECT * FROM imgmigrate.state")
    view = View(
        lineage=found["lineage"],
        sequence=found["sequence"],
        head=found["head"],
        name=found["name"],
        place=found["place"],
    )
    for row in await session.rows("SELECT document FROM imgmigrate.runs ORDER BY sequence"):
        view.runs.append(Run.model_validate_json(row["document"]))
    del view.runs[:-KEPT_RUNS]
    claims = "SELECT run, document FROM imgmigrate.claims ORDER BY address, position"
    for row in await session.rows(claims):
        view.claim(row["run"], Intent.model_validate_json(row["document"]))
    many = await session.row("SELECT 1 FROM imgmigrate.records OFFSET $1 LIMIT 1", SMALL)
    return view, many is not None


async def read_all(session: Session, view: View) -> None:
    """Add every record to a view that is of this very transaction."""
    if view.lineage is None and view.sequence == 0:
        return
    last = ""
    while True:
        rows = await session.rows(
            "SELECT address, document FROM imgmigrate.records WHERE address > $1"
            " ORDER BY address LIMIT $2",
            last,
            BATCH,
        )
        for row in rows:
            view.records.put(record_of(row))
        if len(rows) < BATCH:
            return
        last = rows[-1]["address"]


async def point(session: Session) -> tuple[int, str]:
    """The end of its history, within a transaction."""
    if await version_of(session) is None:
        return 0, ""
    found = await session.row("SELECT sequence, head FROM imgmigrate.state")
    return found["sequence"], found["head"]


async def remembers(session: Session, sequence: int, head: str) -> bool:
    """Tell whether a line is in the history: the latest, and the ends of the runs, always are."""
    async with session.transaction(snapshot=True):
        if await version_of(session) is None:
            return False
        found = await session.row(
            "SELECT 1 FROM imgmigrate.lines WHERE sequence = $1 AND hash = $2"
            " UNION ALL SELECT 1 FROM imgmigrate.state WHERE sequence = $1 AND head = $2",
            sequence,
            head,
        )
        if found is not None:
            return True
        view, _ = await read_view(session)
    points = [(run.sequence, run.head) for run in view.runs]
    points += [(run.end_sequence or 0, run.end_head or "") for run in view.runs]
    return (sequence, head) in points


async def known_lines(session: Session, lines: Iterable[Line]) -> set[str]:
    """Tell which lines are in, by their hashes."""
    async with session.transaction():
        found = await session.rows(
            "SELECT hash FROM imgmigrate.lines WHERE hash = ANY($1) AND sequence = ANY($2)",
            *zip(*((line.hash, line.sequence) for line in lines), strict=True),
        )
    return {row["hash"] for row in found}


async def append(
    session: Session,
    lease: Lease,
    lines: Sequence[Pending],
    shown: View,
    known: dict[int, str],
) -> None:
    """Append what is not there yet of the lines, and renew the lease, in one transaction.

    `shown` is the view behind the last of the lines now, before this waits for anything; what they
    touch is set to what it says. `known` are the runs as they were written last. StateLost if the
    lease is another's. One that has merely run out is renewed: with the row locked, and its fence
    as it was, nobody has written since, and nobody can.
    """
    changed = _Changed(lines, shown, known)
    async with session.transaction():
        sequence, head = await own(session, lease)
        if changed.end is not None:
            await changed.write(session, sequence, head)
        await renew(session, lease)
    known.clear()
    known.update(changed.runs)


async def put_all(session: Session, lease: Lease, view: View) -> None:
    """Put a whole state in the place of what is there, in one transaction."""
    records = sorted(view.records.values(), key=lambda record: str(record.address))
    intents: dict[str, int] = {}
    claims = []
    for run, intent in view.open_claims():
        position = intents[intent.address] = intents.get(intent.address, -1) + 1
        document = intent.model_dump_json(exclude_none=True)
        claims.append((_key(intent.address), run, position, document))
    async with session.transaction():
        await own(session, lease)
        await session.run(
            "DELETE FROM imgmigrate.lines; DELETE FROM imgmigrate.runs;"
            " DELETE FROM imgmigrate.records; DELETE FROM imgmigrate.claims"
        )
        for start in range(0, len(records), BATCH):
            await _put_records(session, [_row(each) for each in records[start : start + BATCH]])
        for start in range(0, len(claims), BATCH):
            await _put_claims(session, claims[start : start + BATCH])
        documents = [run.model_dump_json(exclude_none=True) for run in view.runs]
        runs = zip(view.runs, documents, strict=True)
        await _put_runs(session, [(run.sequence, run.run, document) for run, document in runs])
        await _put_end(session, view.lineage, view.sequence, view.head, view.name, view.place)
        await renew(session, lease)


async def forget_lines(session: Session, lease: Lease) -> None:
    """Drop the lines of which nobody needs to know any more."""
    async with session.transaction():
        await session.run(
            "DELETE FROM imgmigrate.lines WHERE at < clock_timestamp() - make_interval(days => $1)"
            " AND EXISTS (SELECT 1 FROM imgmigrate.state WHERE fence = $2)",
            REMEMBERED_DAYS,
            lease.fence,
        )


class _Changed:
    """What a group of lines makes of the tables, as of the moment that this is made."""

    def __init__(self, lines: Sequence[Pending], shown: View, known: dict[int, str]) -> None:
        self.lines, self.end = lines, lines[-1] if lines else None
        self.lineage, self.name, self.place = shown.lineage, shown.name, shown.place
        self.records = {
            _key(each): _row(record) if (record := shown.records.get(each)) else None
            for each in sorted(_addresses(lines, _OF_RECORDS))
        }
        self.claimed = sorted(_addresses(lines, _OF_CLAIMS))
        self.claims = [
            (_key(address), run, position, intent.model_dump_json(exclude_none=True))
            for address in self.claimed
            for position, (run, intent) in enumerate(shown.claims_on(address).items())
        ]
        self.runs = {run.sequence: run.model_dump_json(exclude_none=True) for run in shown.runs}
        self.new_runs = [
            (run.sequence, run.run, self.runs[run.sequence])
            for run in shown.runs
            if known.get(run.sequence) != self.runs[run.sequence]
        ]

    async def write(self, session: Session, sequence: int, head: str) -> None:
        """Write it behind the end of the history that is there."""
        new = [line for line in self.lines if line.sequence > sequence]
        before = [(line.sequence, line.hash) for line in self.lines]
        before.append((self.lines[0].sequence - 1, self.lines[0].previous))
        if (sequence, head) not in before:
            raise StateLost(
                "its history is not the one that this process wrote",
                subject=f"state {session.database.place}",
                hint="was the database restored meanwhile? look with imgmigrate state log",
            )
        await session.run(
            "INSERT INTO imgmigrate.lines (sequence, hash, previous, line)"
            " SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])",
            *_columns(
                ((ln.sequence, ln.hash, ln.previous, ln.text.decode().rstrip()) for ln in new), 4
            ),
        )
        await self._set_records(session)
        await self._set_claims(session)
        await _put_runs(session, self.new_runs)
        await session.run(
            "DELETE FROM imgmigrate.runs WHERE sequence <> ALL($1::bigint[])", list(self.runs)
        )
        end = self.lines[-1]
        await _put_end(session, self.lineage, end.sequence, end.hash, self.name, self.place)

    async def _set_records(self, session: Session) -> None:
        gone = [key for key, row in self.records.items() if row is None]
        if gone:
            await session.run("DELETE FROM imgmigrate.records WHERE address = ANY($1)", gone)
        await _put_records(session, [row for row in self.records.values() if row is not None])

    async def _set_claims(self, session: Session) -> None:
        keys = [_key(address) for address in self.claimed]
        await session.run("DELETE FROM imgmigrate.claims WHERE address = ANY($1)", keys)
        if self.claims:
            await _put_claims(session, self.claims)


async def _put_records(session: Session, rows: Sequence[Sequence[str]]) -> None:
    await session.run(
        "INSERT INTO imgmigrate.records"
        " (address, repository, source_repository, status, run, plan_id, document)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],"
        " $6::text[], $7::text[])"
        " ON CONFLICT (address) DO UPDATE SET repository = EXCLUDED.repository,"
        " source_repository = EXCLUDED.source_repository, status = EXCLUDED.status,"
        " run = EXCLUDED.run, plan_id = EXCLUDED.plan_id, document = EXCLUDED.document",
        *_columns(rows, 7),
    )


async def _put_claims(session: Session, rows: Sequence[tuple[str, str, int, str]]) -> None:
    await session.run(
        "INSERT INTO imgmigrate.claims (address, run, position, document)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::text[])",
        *_columns(rows, 4),
    )


async def _put_runs(session: Session, rows: Sequence[tuple[int, str, str]]) -> None:
    await session.run(
        "INSERT INTO imgmigrate.runs (sequence, run, document)"
        " SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])"
        " ON CONFLICT (sequence) DO UPDATE SET document = EXCLUDED.document",
        *_columns(rows, 3),
    )


async def _put_end(
    session: Session,
    lineage: str | None,
    sequence: int,
    head: str,
    name: str | None,
    place: str | None,
) -> None:
    await session.run(
        "UPDATE imgmigrate.state SET lineage = $1, sequence = $2, head = $3, name = $4, place = $5",
        lineage,
        sequence,
        head,
        name,
        place,
    )


def record_of(row: Any) -> ImageRecord:
    """Read the record of a row."""
    return RECORDS.validate_json(row["document"])


def _row(record: ImageRecord) -> tuple[str, ...]:
    return (
        _key(str(record.address)),
        _key(str(record.address.repository)),
        _key(str(record.source.reference.repository)),
        record.status.value,
        record.run,
        record.plan_id,
        RECORDS.dump_json(record, exclude_none=True).decode(),
    )


def _addresses(lines: Iterable[Pending], kinds: frozenset[str]) -> set[str]:
    """The addresses of which lines of some kinds speak."""
    found: set[str] = set()
    for line in lines:
        if line.entry["kind"] in kinds:
            found.update(claim["address"] for claim in line.entry.get("claims", ()))
            found.update(line.entry[name] for name in ("address", "to") if name in line.entry)
    return found


def _key(text: str) -> str:
    """An address as a server takes it: a layout's may hold what is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    columns: list[list[Any]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns
