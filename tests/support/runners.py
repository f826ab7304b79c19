"""Runners of a team: each a fresh clone of its repository, on a machine that has nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support import moves
from tests.support.branches import Upstream, git
from tests.support.cli import imgmigrate, write_config

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.states.kinds import States

__all__ = ["Runner", "commit_config", "runner"]


@dataclass(frozen=True, slots=True)
class Runner:
    """A machine with a clone in `folder`; whatever it keeps is beside that."""

    folder: Path
    given: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """Its own home, cache and machine, and what every runner is given."""
        own = {f"IMGMIGRATE_{name}_DIR": f"{self.folder}-{name}" for name in ("CACHE", "MACHINE")}
        return {**self.given, **own, "HOME": f"{self.folder}-home"}

    def run(self, *arguments: str, code: int = 0, **more: str) -> Ran:
        """Run a command to its end."""
        environment = {**self.environment, **more}
        return imgmigrate(self.folder, *arguments, code=code, env=environment)

    def start(self, *arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start one; it does not outlive the block."""
        return moves.start(self.folder, *arguments, env=self.environment)

    def runs(self) -> list[dict[str, Any]]:
        """The runs that `state log` tells of, the oldest first."""
        lines = map(json.loads, self.run("state", "log", "--json").out.splitlines())
        return [each for each in lines if each["type"] == "run"][::-1]


def runner(server: Upstream, folder: Path, states: States | None = None, *options: str) -> Runner:
    """Clone the repository on a new machine, which finds the states."""
    return Runner(server.clone(folder, *options), states.environment if states else {})


def commit_config(server: Upstream, folder: Path, rules: str, state: str, *hosts: str) -> None:
    """Push a config with such a state, from a clone of its author's."""
    clone = server.clone(folder)
    path = write_config(clone, rules, *hosts)
    path.write_text(f"{path.read_text()}{state}")
    (clone / ".gitignore").write_text("*.out\n")
    for words in (("add", "."), ("commit", "-qm", "images"), ("push", "-q", "origin", "HEAD:main")):
        git(clone, *words)
