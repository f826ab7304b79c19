"""Records, claims and a clock for the tests of the state."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgmigrate.oci.manifest import OCI_MANIFEST
from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.record import Claim, ImageRecord, Source, Status
from imgmigrate.state.sightings import Sighting, key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.writer import Writer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# Where sightings are made.
SOURCE = Repository("registry.old", "team/app")
RUN, PLAN = "run-1", "0123456789abcdef"


def digest(name: object) -> Digest:
    """A digest that differs for each name."""
    return Digest.of(str(name).encode())


def address(name: object) -> Reference:
    """An address that differs for each name."""
    return Reference.parse(f"registry.new/team/app:{name}")


def draft(name: object, content: object = "1", status: Status = Status.LIVE) -> ImageRecord:
    """A record as the engine hands it in."""
    return ImageRecord(
        address=address(name),
        source=Source(
            reference=Reference.parse(f"registry.old/team/app:{name}"), digest=digest(content)
        ),
        digest=digest(content),
        media_type=OCI_MANIFEST,
        at="",
        sequence=0,
        run="",
        plan_id="",
        status=status,
    )


def sighting(
    name: object,
    first: datetime,
    last: datetime | None = None,
    *,
    asked: datetime | None = None,
    is_planned: bool = False,
) -> Sighting:
    """What a source was seen to show from one time to another."""
    source, shown = key_of(SOURCE, digest(name))
    return Sighting(
        source=source,
        digest=shown,
        first_seen=first,
        last_seen=last or max(first, NOON),
        asked_at=asked,
        is_planned=is_planned,
    )


def claim(name: object, content: object = "1") -> Claim:
    """What a run is about to write."""
    return Claim(address=address(name), after=digest(content))


def local(folder: Path) -> LocalState:
    """A state whose clock stands at noon."""
    return LocalState(folder, clock=lambda: NOON)


@asynccontextmanager
async def a_run(state: LocalState, *claims: Claim, run: str = RUN) -> AsyncIterator[Writer]:
    """A begun run that nobody ends."""
    async with state.writer(command="imgmigrate apply plan.out") as writer:
        await writer.begin(run, PLAN, claims)
        yield writer


def same(one: StateInMemory, other: StateInMemory) -> bool:
    """Tell whether two views say the same."""
    return (
        (one.lineage, one.sequence, one.head, one.runs)
        == (other.lineage, other.sequence, other.head, other.runs)
        and (one.name, one.place) == (other.name, other.place)
        and dict(one.records) == dict(other.records)
        and dict(one.claims) == dict(other.claims)
    )
