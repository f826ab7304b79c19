"""What the command line's tests share: a config, a runner, a terminal that answers."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.cli import main
from imgmigrate.events import Outcome, RunFinished
from imgmigrate.plan import Action
from tests.support.cli import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

    from imgmigrate.applying.apply import ApplyOptions
    from imgmigrate.config.model import Config
    from imgmigrate.events import Event, Receipt, Sink
    from imgmigrate.plan import Plan
    from imgmigrate.planning.planner import PlanOptions

T = TypeVar("T")
DOABLE = (*(each for each in Action if each.alters), Action.ADOPT, Action.FORGET)

CONFIG = """\
version: 1
images:
  - source: "oci:images/os:12"
    destination: "oci:bundle/os"
"""


class Cli:
    """Runs commands in a folder and keeps what they printed last."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        """Run one command and return its exit code."""
        self._capture.readouterr()
        code = _ended(arguments)
        self.out, self.err = self._capture.readouterr()
        return code

    def write_config(self, name: str = "imgmigrate.yaml") -> Path:
        """Write a config of one rule between two layouts."""
        path = self.folder / name
        path.write_text(CONFIG)
        return path


def _ended(arguments: Sequence[str]) -> int:
    """Run a command, which has an event loop of its own: beside that of a test in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return main(arguments)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(main, arguments).result()


class Terminal(io.StringIO):
    """A stdin that claims to be a terminal and holds prepared answers."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter."""
    command: Sequence[str] = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


@dataclass(slots=True)
class Engine:
    """Stands in for planning and applying: gives what a test prepared, keeps what it was asked."""

    plan: Plan
    result: RunFinished | None = None
    error: BaseException | None = None
    events: tuple[Event, ...] = ()
    planned: list[tuple[Config, PlanOptions]] = field(default_factory=list)
    applied: list[tuple[Config, Plan, ApplyOptions]] = field(default_factory=list)

    async def make_plan(self, config: Config, options: PlanOptions, *, sink: Sink) -> Plan:
        """Give the prepared plan."""
        self.planned.append((config, options))
        return self._answer(self.plan, sink)

    async def apply_plan(
        self, config: Config, plan: Plan, options: ApplyOptions, *, sink: Sink
    ) -> RunFinished:
        """Give the prepared result."""
        self.applied.append((config, plan, options))
        return self._answer(self.result or success(plan), sink)

    def _answer(self, answer: T, sink: Sink) -> T:
        for event in self.events:
            sink.emit(event)
        if self.error is not None:
            raise self.error
        return answer


def success(plan: Plan, *unfinished: Receipt) -> RunFinished:
    """The end of a run that did everything but `unfinished`."""
    done = sum(change.action in DOABLE for change in plan.changes) - len(unfinished)
    counts = {Outcome.APPLIED: done, Outcome.FAILED: len(unfinished)}
    return RunFinished("20261124T075602Z-9f3a", plan.plan_id, counts, 4096, 2.0, unfinished)
