"""What was seen at sources, in a table of its own, and every statement about it.

Nobody holds the state for it, so none of these locks the state's row. Rows go in by the order of
their keys: two that add the same ones at once wait for each other, and never in a circle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from imgmigrate.state.postgres.tables import has_table
from imgmigrate.state.sightings import BEFORE, KEPT_DAYS, Sighting, Sightings, merged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence
    from datetime import datetime

    from imgmigrate.state.postgres.database import Session
    from imgmigrate.state.sightings import Key

__all__ = ["forget_sightings", "put_sightings", "read_sightings"]

# Rows of one statement, or of one answer.
BATCH = 5_000


async def read_sightings(
    session: Session, keys: Collection[Key] | None, now: datetime
) -> Sightings:
    """Read what is known of some digests, or of all, as of one moment."""
    async with session.transaction(snapshot=True):
        if not await has_table(session, "sightings"):
            return Sightings(now)
        found = [each async for rows in _rows(session, keys) for each in map(_sighting, rows)]
        planned = await session.row(
            "SELECT EXISTS (SELECT 1 FROM imgmigrate.sightings WHERE is_planned) AS is_planned"
        )
    return replace(Sightings.of(found, now), is_planned=planned["is_planned"])


async def put_sightings(session: Session, batch: Iterable[Sighting]) -> None:
    """Add sightings; of what is known the earliest first one stays, and the latest of the others.

    Rows that would say the same as before are not written.
    """
    known = merged(batch)
    rows = [known[key] for key in sorted(known)]
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        async with session.transaction():
            await session.run(
                "INSERT INTO imgmigrate.sightings AS known"
                " (source, digest, first_seen, last_seen, asked_at, is_planned)"
                " SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[],"
                " $4::timestamptz[], $5::timestamptz[], $6::boolean[])"
                " ON CONFLICT (source, digest) DO UPDATE SET"
                " first_seen = LEAST(known.first_seen, EXCLUDED.first_seen),"
                " last_seen = GREATEST(known.last_seen, EXCLUDED.last_seen),"
                " asked_at = GREATEST(known.asked_at, EXCLUDED.asked_at),"
                " is_planned = known.is_planned OR EXCLUDED.is_planned"
                " WHERE EXCLUDED.first_seen < known.first_seen"
                " OR EXCLUDED.last_seen > known.last_seen"
                " OR EXCLUDED.asked_at > COALESCE(known.asked_at, '-infinity')"
                " OR EXCLUDED.is_planned > known.is_planned",
                [each.source for each in some],
                [each.digest for each in some],
                [each.first_seen for each in some],
                [each.last_seen for each in some],
                [each.asked_at for each in some],
                [each.is_planned for each in some],
            )


async def forget_sightings(session: Session) -> None:
    """Drop those that were not seen for too long."""
    async with session.transaction():
        await session.run(
            "DELETE FROM imgmigrate.sightings"
            " WHERE last_seen < clock_timestamp() - make_interval(days => $1)",
            KEPT_DAYS,
        )


async def _rows(session: Session, keys: Collection[Key] | None) -> AsyncIterator[Sequence[Any]]:
    """The rows of some keys, or all, a batch at a time."""
    if keys is not None:
        ordered = sorted(keys)
        for start in range(0, len(ordered), BATCH):
            some = ordered[start : start + BATCH]
            yield await session.rows(
                "SELECT known.* FROM imgmigrate.sightings AS known"
                " JOIN unnest($1::text[], $2::text[]) AS asked (source, digest)"
                " USING (source, digest)",
                [source for source, _ in some],
                [digest for _, digest in some],
            )
        return
    last = ("", "")
    while rows := await session.rows(
        "SELECT * FROM imgmigrate.sightings WHERE (source, digest) > ($1, $2)"
        " ORDER BY source, digest LIMIT $3",
        *last,
        BATCH,
    ):
        yield rows
        last = rows[-1]["source"], rows[-1]["digest"]


def _sighting(row: Any) -> Sighting:
    # asyncpg takes the first of all times for -infinity, and gives it back without a zone.
    first = row["first_seen"]
    return Sighting(**{**row, "first_seen": first if first.tzinfo else BEFORE})
