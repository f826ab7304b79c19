"""Keep plans in the tables beside a state: of each a row of what is known, and its bytes in pieces.

No lease is asked for and none is disturbed: nothing here touches the row of the lease, and a plan
is there whole or not at all, as saving is one transaction. The bytes are in pieces for each to be
one short statement, over whatever line: neither side ever holds a plan a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.clock import timestamp
from imgmigrate.errors import StateError
from imgmigrate.remedies import remedy
from imgmigrate.state.postgres.tables import has_table, make_tables, version_of
from imgmigrate.state.saved import SavedPlan, checked, damaged_plan, find_plan, kept, with_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from imgmigrate.state.postgres.database import Session

__all__ = ["list_plans", "note_run", "read_plan", "save_plans"]

# Bytes of a piece: a statement's minute is enough for it at 20 kB a second.
PIECE = 1024 * 1024
# Bytes of a plan: of two million rows. Who reads it has all of them in memory.
MOST = 1024 * PIECE


async def save_plans(session: Session, plans: Mapping[SavedPlan, bytes], *, now: datetime) -> None:
    """Save plans, and remove those whose time is over; the same plan twice is saved once."""
    for plan, data in plans.items():
        if len(data) > MOST:
            raise StateError(
                f"plan sha256:{plan.sha256}: it has {len(data):,} bytes, and a database keeps none"
                f" of more than {MOST:,}",
                subject=f"state {session.database.place}",
                hint=f"save it in a file: {remedy('plan', out='plan.out')}",
            )
    await make_tables(session)
    async with session.transaction():
        # By name, as two who save the same ones wait for each other.
        for plan, data in sorted(plans.items(), key=lambda each: each[0].sha256):
            await _save(session, plan, data)
        await _remove_old(session, now)


async def list_plans(session: Session) -> list[SavedPlan]:
    """Those that are kept, the oldest first; one whose row is damaged is none of them."""
    async with session.transaction(snapshot=True):
        return await _listed(session)


async def read_plan(session: Session, key: str) -> bytes:
    """Read and verify the bytes of a plan."""
    place = session.database.place
    async with session.transaction(snapshot=True):
        plan = find_plan(await _listed(session), key, place)
        row = await session.row("SELECT size FROM imgmigrate.plans WHERE sha256 = $1", plan.sha256)
        data = bytearray()
        for position in range(_pieces(row["size"])):
            piece = await session.row(
                "SELECT bytes FROM imgmigrate.plan_pieces WHERE sha256 = $1 AND position = $2",
                plan.sha256,
                position,
            )
            if piece is None:
                raise damaged_plan(plan, place, "a part of its bytes is not there")
            data += piece["bytes"]
            if len(data) > row["size"]:
                break
    return checked(plan, bytes(data), place)


async def note_run(session: Session, sha256: str, run: str, now: datetime) -> None:
    """Note the run that applied a plan; nothing if it is kept no more."""
    async with session.transaction():
        if not await _has_plans(session):
            return
        rows = await session.rows(
            "SELECT sha256, document FROM imgmigrate.plans WHERE sha256 = $1 FOR UPDATE", sha256
        )
        for plan in _plans(rows):
            await session.run(
                "UPDATE imgmigrate.plans SET document = $2 WHERE sha256 = $1",
                sha256,
                _document(with_run(plan, run, timestamp(now))),
            )


async def _save(session: Session, plan: SavedPlan, data: bytes) -> None:
    # First the row of the plan: whoever saves the same one waits here until this is done.
    await session.run(
        "INSERT INTO imgmigrate.plans (sha256, size, document) VALUES ($1, $2, $3)"
        " ON CONFLICT (sha256) DO UPDATE SET size = EXCLUDED.size, document = EXCLUDED.document",
        plan.sha256,
        len(data),
        _document(plan),
    )
    await session.run("DELETE FROM imgmigrate.plan_pieces WHERE sha256 = $1", plan.sha256)
    for position, start in enumerate(range(0, len(data), PIECE)):
        await session.run(
            "INSERT INTO imgmigrate.plan_pieces (sha256, position, bytes) VALUES ($1, $2, $3)",
            plan.sha256,
            position,
            data[start : start + PIECE],
        )


async def _remove_old(session: Session, now: datetime) -> None:
    """Remove the plans whose time is over, but none that was saved or applied again meanwhile."""
    rows = await session.rows("SELECT sha256, document FROM imgmigrate.plans")
    plans = _plans(rows)
    gone = {plan.sha256 for plan in plans} - {plan.sha256 for plan in kept(plans, now)}
    for row in rows:
        if row["sha256"] in gone:
            await session.run(
                "DELETE FROM imgmigrate.plans WHERE sha256 = $1 AND document = $2",
                row["sha256"],
                row["document"],
            )


async def _listed(session: Session) -> list[SavedPlan]:
    """Those that are kept, within a transaction."""
    if not await _has_plans(session):
        return []
    return _plans(await session.rows("SELECT sha256, document FROM imgmigrate.plans"))


async def _has_plans(session: Session) -> bool:
    """Tell whether the tables are of a version that keeps plans."""
    return await version_of(session) is not None and await has_table(session, "plans")


def _plans(rows: Iterable[Any]) -> list[SavedPlan]:
    found = []
    for row in rows:
        try:
            plan = SavedPlan.model_validate_json(row["document"])
        except ValueError:
            continue
        if plan.sha256 == row["sha256"]:
            found.append(plan)
    return sorted(found, key=lambda plan: plan.saved_at)


def _pieces(size: int) -> int:
    """How many pieces there are of so many bytes; more than are ever saved are not asked for."""
    return -(-min(size, MOST) // PIECE)


def _document(plan: SavedPlan) -> str:
    return plan.model_dump_json(exclude_none=True)
