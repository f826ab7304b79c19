"""Who holds a state in a database: one row, by the server's clock, with a fence that grows.

Whoever writes locks that row first (`own`), and sees that it is still its own until COMMIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StateLost
from imgmigrate.state.holder import Holder, Lock
from imgmigrate.state.postgres.tables import version_of

if TYPE_CHECKING:
    from imgmigrate.state.postgres.database import Session

__all__ = ["Lease", "acquire", "own", "read_lock", "release", "renew", "take_away"]


class Lease(Struct):
    """The hold of one writer: its `fence` is one more than that of whoever had it before.

    It ends `seconds` after its last renewal by the server's clock. `holder` is for people.
    """

    token: str
    seconds: float
    holder: Holder
    fence: int = 0


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


async def own(session: Session, lease: Lease) -> tuple[int, str]:
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


async def renew(session: Session, lease: Lease) -> None:
    """Let the lease begin anew, within a transaction that has seen that it is ours (`own`)."""
    await session.run(
        "UPDATE imgmigrate.state SET holder = $1,"
        " expires_at = clock_timestamp() + make_interval(secs => $2)",
        lease.holder.model_dump_json(exclude_none=True),
        lease.seconds,
    )


def _holder(text: str | None) -> Holder | None:
    try:
        return Holder.model_validate_json(text or "")
    except ValueError:
        return None
