"""The tables of a state, which are made here and brought to this version; none is read here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import StateError

if TYPE_CHECKING:
    from imgmigrate.state.postgres.database import Session

__all__ = ["VERSIONS", "has_table", "make_tables", "version_of"]

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
    """
    CREATE TABLE imgmigrate.sightings (
        source text COLLATE "C" NOT NULL,
        digest text COLLATE "C" NOT NULL,
        first_seen timestamptz NOT NULL,
        last_seen timestamptz NOT NULL,
        asked_at timestamptz,
        is_planned boolean NOT NULL DEFAULT false,
        PRIMARY KEY (source, digest)
    );
    """,
    """
    CREATE TABLE imgmigrate.plans (
        sha256 text COLLATE "C" PRIMARY KEY,
        size bigint NOT NULL,
        document text NOT NULL
    );
    CREATE TABLE imgmigrate.plan_pieces (
        sha256 text COLLATE "C" NOT NULL REFERENCES imgmigrate.plans ON DELETE CASCADE,
        position integer NOT NULL,
        bytes bytea NOT NULL,
        PRIMARY KEY (sha256, position)
    );
    """,
)
# What keeps two from making them at once, for as long as the transaction takes ("imgm").
_MAKING = 0x696D676D


async def version_of(session: Session) -> int | None:
    """The version of its tables; None where there are none. StateError for one of the future."""
    if not await has_table(session, "format"):
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


async def has_table(session: Session, name: str) -> bool:
    """Tell whether a table is there: those of a later version may not be yet."""
    # Not by to_regclass: behind a lock that was waited for it may tell of the time before.
    there = await session.row(
        "SELECT 1 FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace"
        " ON pg_namespace.oid = relnamespace WHERE nspname = $1 AND relname = $2",
        session.database.schema,
        name,
    )
    return there is not None


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
