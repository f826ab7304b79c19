"""Where a state is kept: what every kind of place promises, and the table of kinds.

To add a kind, write a class that keeps the promises of `StateStore` and give it a row in `KINDS`.
Nothing else of the program knows that there is more than one: it asks a `State` (`record.py`) and
writes through a `Writer` (`writer.py`), which a kind makes of a `View` and its own `Journal`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from msgspec import Struct

from imgmigrate.config.values.backends import Backend
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from imgmigrate.state.holder import Lock
    from imgmigrate.state.local.repair import Survey
    from imgmigrate.state.record import State
    from imgmigrate.state.saved import SavedPlan
    from imgmigrate.state.shared.depot import Depot
    from imgmigrate.state.sightings import Key, Sighting, Sightings
    from imgmigrate.state.view import View
    from imgmigrate.state.writer import Writer

__all__ = [
    "KINDS",
    "Breakable",
    "Names",
    "PlanKeeper",
    "Repairable",
    "SightingsKeeper",
    "StateStore",
    "glance",
    "open_state",
]


class StateStore(Protocol):
    """One state, which need not exist yet. Whatever may wait for a network is asynchronous.

    Its history is a chain of lines, each with a number and a hash (`head`) over all before it.
    A reader needs no lock and is never in a writer's way: it sees every line up to some point,
    and nothing of what follows. StateError wherever it is damaged or out of reach.
    """

    @property
    def place(self) -> str:
        """What people call it, for messages."""

    @property
    def identity(self) -> str:
        """What tells it from every other, however it is called; it never changes."""

    async def look(self) -> State:
        """Look at one consistent view; it is empty where no state exists yet."""

    async def load(self) -> View:
        """Read all of it, for who writes it down elsewhere; what it was is in the view's lines."""

    async def remembers(self, sequence: int, head: str) -> bool:
        """Tell whether line `sequence` with the hash `head` is in its history.

        Nothing, sequence 0, is in every history. The last 50 runs and the backups are remembered
        at least; older lines may be forgotten.
        """

    def writer(
        self, *, command: str, lock_timeout: float = 0
    ) -> AbstractAsyncContextManager[Writer]:
        """Hold it for writing, alone; StateLocked if another still does after `lock_timeout` s.

        However the block is left, and also when the process dies in it, every line that was
        durable stays and the hold ends. `command` is for those who have to wait.
        """

    async def lock(self) -> Lock:
        """Tell whether somebody holds it for writing now, and who says so."""

    async def backups(self) -> Sequence[str]:
        """Name what is kept of it as it was before it was compacted, the oldest first."""


@runtime_checkable
class Repairable(Protocol):
    """A state in files, which can be damaged, and mended, by line."""

    def survey(self) -> Survey:
        """Say what is wrong and what a repair would make of it, without a lock. Blocking."""

    async def repair(
        self, seen: Survey, *, command: str, lock_timeout: float = 0
    ) -> tuple[Path, ...]:
        """Do what a survey said; return where the bytes that were taken away are kept."""


@runtime_checkable
class Breakable(Protocol):
    """A state whose holder may be gone and leave it held, as no system ends its hold with it."""

    async def break_lock(self) -> Lock:
        """Take it from its holder, who can write no more; tell who that was."""


@runtime_checkable
class PlanKeeper(Protocol):
    """A state with plans beside it, each by the sha256 of its bytes.

    No hold is needed for that and none is disturbed, and a state need not exist yet. A plan is
    kept for 30 days after a run applied it or a later one was saved, the newest for ever. A key is
    a sha256 or its first 12 digits or more, with or without `sha256:` before it.
    """

    async def save_plan(self, data: bytes, *, plan_id: str, config: str | None) -> str:
        """Save the bytes of a plan durably, remove those whose time is over; return the sha256."""

    async def bring_plans(self, plans: Mapping[SavedPlan, bytes]) -> None:
        """Save plans that another place kept, durably, with what was known of them there."""

    async def read_plan(self, sha256: str) -> bytes:
        """Read and verify a plan by its key; UsageError if none is meant, StateError if damaged."""

    async def plans(self) -> Sequence[SavedPlan]:
        """List those that are kept, the oldest first, with the run of each that was noted."""

    async def note_run(self, sha256: str, run: str) -> None:
        """Note the run that applied a plan, as a state forgets its runs in time."""


@runtime_checkable
class SightingsKeeper(Protocol):
    """A state with a record beside it of what sources were seen to show, and since when.

    It is outside of the state's sequence and head: no hold is needed and none is disturbed, a state
    need not exist yet, and two that add at once both survive. Of a digest the earliest first
    sighting counts, whatever was added last. One that was not seen for 400 days may be forgotten.
    """

    async def sightings(self, keys: Collection[Key] | None = None) -> Sightings:
        """Read what is known of some digests, maybe of more; of all without `keys`.

        What is damaged counts as never seen, and says so; StateError if nothing can be read.
        """

    async def add_sightings(self, batch: Sequence[Sighting]) -> None:
        """Add sightings durably; those that are known already do no harm."""


class Names(Struct, frozen=True):
    """What may be typed of a state: its live addresses, sorted; runs and plans, the newest first.

    A plan is the sha256 by which it is kept beside the state.
    """

    addresses: list[str]
    runs: list[str]
    plans: list[str]


def _in_objects(backend: Backend) -> StateStore:
    from imgmigrate.state.shared.objects import open_objects

    return _shared(open_objects(backend), backend)


def _on_branch(backend: Backend) -> StateStore:
    from imgmigrate.state.shared.git.depot import GitDepot

    return _shared(GitDepot(backend), backend)


def _shared(depot: Depot, backend: Backend) -> StateStore:
    """The state in a depot; what that does not have yet is kept beside this machine's cache."""
    from imgmigrate.machine import cache_folder
    from imgmigrate.state.shared.store import SharedState

    return SharedState(depot, lease=backend.lease, spools=cache_folder(depot.identity))


def _postgres(backend: Backend) -> StateStore:
    from imgmigrate.state.postgres.store import PostgresState

    return PostgresState(backend)


# Shared states, by the scheme of their backend.
KINDS: dict[str, Callable[[Backend], StateStore]] = {
    "s3": _in_objects,
    "gs": _in_objects,
    "az": _in_objects,
    "git": _on_branch,
    "postgresql": _postgres,
    "postgres": _postgres,
}


def open_state(place: Path | Backend | str) -> StateStore:
    """Open the state of a folder or a backend; UsageError for a backend of no kind known here.

    Text is a URL or a path. Nothing is read or made yet.
    """
    if isinstance(place, str):
        place = Backend(place, Path.cwd()) if "://" in place else Path(place)
    if not isinstance(place, Backend):
        from imgmigrate.state.local.store import LocalState

        return LocalState(place)
    kind = KINDS.get(place.scheme)
    if kind is None:
        message = f"state {place}: {place.scheme} is no kind of state that this version knows"
        raise UsageError(message, hint="name a folder: state: {path: DIR}")
    return kind(place)


def glance(place: Path) -> Names:
    """Name what a state in a folder holds, quickly and unverified; nothing where there is none."""
    from imgmigrate.state.local.glance import addresses, plans, runs

    return Names(addresses(place), runs(place), plans(place))
