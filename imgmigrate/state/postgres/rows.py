"""What a state is in tables, and every statement that makes, reads and writes them.

Each function is one transaction, or a part of the one it is called in. The row of `state` is the
lock: whoever writes anything holds it from its first statement to COMMIT, and has seen there that
the lease is still its own. Addresses sort by their bytes, as they do in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import StateError, StateLost
from imgmigrate.state.entries import Intent
from imgmigrate.state.holder import Holder, Lock
from imgmigrate.state.record import RECORDS, Run
from imgmigrate.state.view import KEPT_RUNS, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imgmigrate.state.groups.spool import Pending
    from imgmigrate.state.lines.journal import Line
    from imgmigrate.state.postgres.database import Session
    from imgmigrate.state.record import ImageRecord

__all__ = [
    "Lease",
    "acquire",
    "append",
    "forget_lines",
    "known_lines",
    "make_tables",
    "point",
    "put_all",
    "read_all",
    "read_lock",
    "read_view",
    "record_of",
    "release",
    "remembers",
    "take_away",
]

# The tables of each version, made one after another; a later one is never read.
VERSIONS = (
    """
    CREATE TABLE imgmigrate.format (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        version integer NOT NULL
    );
    CREATE TABLE imgmigrate.state (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        lineage text,
        sequence bigint NOT NULL DEFAULT 0,
        head text NOT NULL DEFAULT '',
        name text,
        place text,
        fence bigint NOT NULL DEFAULT 0,
        token text,
        holder text,
        expires_at timestamptz
    );
    CREATE TABLE imgmigrate.lines (
        sequence bigint PRIMARY KEY,
        hash text NOT NULL,
        previous text NOT NULL,
        line text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE INDEX lines_at ON imgmigrate.lines USING brin (at);
    CREATE TABLE imgmigrate.runs (
        sequence bigint PRIMARY KEY,
        run text NOT NULL,
        document text NOT NULL
    );
    CREATE TABLE imgmigrate.records (
        address text COLLATE "C" PRIMARY KEY,
        repository text COLLATE "C" NOT NULL,
        source_repository text COLLATE "C" NOT NULL,
        status text NOT NULL,
        run text NOT NULL,
        plan_id text NOT NULL,
        document text NOT NULL
    );
    CREATE INDEX records_repository ON imgmigrate.records (repository, status);
    CREATE INDEX records_source ON imgmigrate.records (source_repository, status);
    CREATE INDEX records_run ON imgmigrate.records (run);
    CREATE INDEX records_plan ON imgmigrate.records (plan_id);
    CREATE TABLE imgmigrate.claims (
        address text COLLATE "C" NOT NULL,
        run text NOT NULL,
        position integer NOT NULL,
        document text NOT NULL,
        PRIMARY KEY (address, run)
    );
    INSERT INTO imgmigrate.state DEFAULT VALUES;
    INSERT INTO imgmigrate.format (version) VALUES (0);
    """,
)
# What keeps two from making them at once, for as long as the transaction takes ("imgm").
_MAKING = 0x696D676D
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


@dataclass(slots=True)
class Lease:
    """The hold of one writer: its `fence` is one more than that of whoever had it before.

    It ends `seconds` after its last renewal by the server's clock. `holder` is for people.
    """

    token: str
    seconds: float
    holder: Holder
    fence: int = 0


async def version_of(session: Session) -> int | None:
    """The version of its tables; None where there are none. StateError for one of the future."""
    # Not by to_regclass: behind a lock that was waited for it may tell of the time before.
    there = await session.row(
        "SELECT 1 FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace"
        " ON pg_namespace.oid = relnamespace WHERE nspname = $1 AND relname = 'format'",
        session.database.schema,
    )
    if there is None:
        return None
    found = await session.row("SELECT version FROM imgmigrate.format")
    version: int = found["version"] if found else 0
    if version > len(VERSIONS):
        raise StateError(
            f"state {session.database.place}: its tables are of version {version}, this imgmigrate"
            f" knows {len(VERSIONS)}",
            hint="use the imgmigrate that wrote it, or a newer one",
        )
    return version


async def make_tables(session: Session) -> None:
    """Make the tables, or bring them to this version; whoever else does so at once waits."""
    async with session.transaction():
        if await version_of(session) == len(VERSIONS):
            return
    async with session.transaction():
        await session.run("SELECT pg_advisory_xact_lock($1)", _MAKING)
        version = await version_of(session)
        schema = session.database.schema
        there = await session.row("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema)
        if there is None:
            await session.run(f'CREATE SCHEMA "{schema}"')  # its letters have been looked at
        for statements in VERSIONS[version or 0 :]:
            await session.run(statements)
        await session.run("UPDATE imgmigrate.format SET version = $1", len(VERSIONS))


async def acquire(session: Session, lease: Lease) -> Holder | None:
    """Take the lease, and return None; whoever has it, if it has not run out.

    Asked again after no answer, it finds its own token, and takes nothing from anybody.
    """
    async with session.transaction():
        taken = await session.row(
            "UPDATE imgmigrate.state SET token = $1, holder = $2,"
            " fence = fence + CASE WHEN token = $1 THEN 0 ELSE 1 END,"
            " expires_at = clock_timestamp() + make_interval(secs => $3)"
            " WHERE expires_at IS NULL OR expires_at <= clock_timestamp() OR token = $1"
            " RETURNING fence",
            lease.token,
            lease.holder.model_dump_json(exclude_none=True),
            lease.seconds,
        )
        if taken is not None:
            lease.fence = taken["fence"]
            return None
        found = await session.row("SELECT holder FROM imgmigrate.state")
    return _holder(found["holder"]) or lease.holder


async def release(session: Session, lease: Lease) -> None:
    """Let the lease go, if it is still ours."""
    async with session.transaction():
        await session.run(
            "UPDATE imgmigrate.state SET token = NULL, holder = NULL, expires_at = NULL"
            " WHERE fence = $1 AND token = $2",
            lease.fence,
            lease.token,
        )


async def read_lock(session: Session) -> Lock:
    """Tell who has a lease that has not run out by the server's clock."""
    async with session.transaction():
        if await version_of(session) is None:
            return Lock(is_held=False)
        found = await session.row(
            "SELECT holder FROM imgmigrate.state WHERE expires_at > clock_timestamp()"
        )
    return Lock(found is not None, _holder(found["holder"]) if found else None)


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
        sequence, head = await _own(session, lease)
        if changed.end is not None:
            await changed.write(session, sequence, head)
        await _renew(session, lease)
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
        await _own(session, lease)
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
        await _renew(session, lease)


async def take_away(session: Session) -> Holder | None:
    """Take the lease from whoever has it, and tell who that was; no line of theirs comes after."""
    async with session.transaction():
        found = await session.row("SELECT token, holder FROM imgmigrate.state FOR UPDATE")
        if found is None or found["token"] is None:
            return None
        await session.run(
            "UPDATE imgmigrate.state SET token = NULL, holder = NULL, expires_at = NULL,"
            " fence = fence + 1"
        )
    return _holder(found["holder"])


async def _own(session: Session, lease: Lease) -> tuple[int, str]:
    """Lock the state's row, and return the end of its history; StateLost if another has it."""
    # Whoever dies in here must not hold the row for as long as its connection seems to stand.
    await session.run(
        "SELECT set_config('idle_in_transaction_session_timeout', $1, true)",
        f"{max(1, int(lease.seconds * 1000))}",
    )
    found = await session.row(
        "SELECT fence, token, sequence, head FROM imgmigrate.state FOR UPDATE"
    )
    if found is None or (found["fence"], found["token"]) != (lease.fence, lease.token):
        raise StateLost(
            "another process has taken it over: the lease was not renewed in time",
            subject=f"state {session.database.place}",
            hint="what was recorded before is there; run the same command again once the other"
            " has ended",
        )
    return found["sequence"], found["head"]


async def _renew(session: Session, lease: Lease) -> None:
    await session.run(
        "UPDATE imgmigrate.state SET holder = $1,"
        " expires_at = clock_timestamp() + make_interval(secs => $2)",
        lease.holder.model_dump_json(exclude_none=True),
        lease.seconds,
    )


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


def _holder(text: str | None) -> Holder | None:
    try:
        return Holder.model_validate_json(text or "")
    except ValueError:
        return None
