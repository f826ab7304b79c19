"""Where a state is kept: what every kind of place promises, and the table of kinds.

To add a kind, write a class that keeps the promises of `StateStore` and give it a row in `KINDS`.
Nothing else of the program knows that there is more than one: it asks a `State` (`record.py`) and
writes through a `Writer` (`writer.py`), which a kind makes of a `View` and its own `Journal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from imgmigrate.config.values.backends import Backend
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from imgmigrate.state.holder import Lock
    from imgmigrate.state.local.repair import Survey
    from imgmigrate.state.record import State
    from imgmigrate.state.view import View
    from imgmigrate.state.writer import Writer

__all__ = ["KINDS", "Names", "Repairable", "StateStore", "glance", "open_state"]


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


@dataclass(frozen=True, slots=True)
class Names:
    """What may be typed of a state: its live addresses, sorted, and its runs, the newest first."""

    addresses: list[str]
    runs: list[str]


def _postgres(backend: Backend) -> StateStore:
    from imgmigrate.state.postgres.store import PostgresState

    return PostgresState(backend)


# Shared states, by the scheme of their backend.
KINDS: dict[str, Callable[[Backend], StateStore]] = {
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
    from imgmigrate.state.local.glance import addresses, runs

    return Names(addresses(place), runs(place))
