"""The same where machines share the state: what a crash leaves is what was brought there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.state.base import Breakable
from imgmigrate.state.groups.pusher import Pusher
from tests.integration.contract.machine import Contract
from tests.support.states.kinds import backend

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.state.memory import StateInMemory
    from tests.integration.contract.machine import Snapshot
    from tests.support.states.kinds import States

__all__ = ["ContractElsewhere"]

NAME = "prod"


class ContractElsewhere(Contract):
    """A crash is that of a whole machine: what it had not brought yet is gone with it."""

    def __init__(self, states: States, folder: Path) -> None:
        self.states = states.fresh(folder)
        self.kind = backend(self.states, NAME, folder)
        super().__init__()
        self.patches.setenv("IMGMIGRATE_CACHE_DIR", str(self.folder / "cache"))

    def _watch_lines(self) -> None:
        """Note each line as it is put on its way."""
        write = Pusher.write

        def noted(journal: Pusher, sequence: int, previous: str, entry: dict[str, Any]) -> str:
            digest = write(journal, sequence, previous, entry)
            assert sequence == len(self.history.lines) + 1
            self.history.lines.append(entry)
            return digest

        self.patches.setattr(Pusher, "write", noted)

    def _freeze_state(self, copy: Path, lost: float) -> int:
        self.states.keep(NAME, copy)
        return 0

    def _restore_state(self, snapshot: Snapshot) -> int:
        """Put the copy there; the hold of whoever died is broken, not waited for."""
        self.states.put_back(NAME, snapshot.folder / "state")
        state = self.world.workspace.state
        assert isinstance(state, Breakable)
        self._run(state.break_lock())
        return self.states.sequence(NAME)

    def _look(self) -> StateInMemory:
        """Read all of it."""
        view = self._run(self.world.workspace.state.load())
        found: StateInMemory = view.state()
        return found
