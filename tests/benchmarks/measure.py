"""Run one command as a process of its own, and read what it did from the servers' logs."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bookkeeping import REPORT, Spent
from tests.benchmarks.corpus import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.benchmarks.corpus import Corpus
    from tests.benchmarks.relay import Relay
    from tests.support.docker_registry import Access, DockerRegistry

__all__ = ["Ends", "Results", "Run", "Step", "measure"]

ROOT = Path(__file__).parents[2]
# One measured command may take this long, in seconds, before it counts as failed.
LONGEST = 900

_UPLOADED = re.compile(r"[?&]digest=(sha256(?:%3A|:)[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Ends:
    """The servers between which a run copies; `relay` is before the only destination."""

    source: DockerRegistry | None = None
    destinations: Sequence[DockerRegistry] = ()
    corpus: Corpus | None = None
    relay: Relay | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One command: seconds, MiB at most, requests to each side, bytes of blobs."""

    wall: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0
    source: int = 0
    destination: int = 0
    read: int = 0
    sent: int = 0
    wire: int = 0


@dataclass(slots=True)
class Run:
    """The commands that a tool needs for a work, one after the other.

    `spent` is what the journal and the events of the last command took, if that was measured.
    """

    steps: list[Step] = field(default_factory=list)
    unique: int = 0
    failed: bool = False
    spent: Spent = field(default_factory=Spent)

    @property
    def wall(self) -> float:
        """Seconds of all commands."""
        return sum(step.wall for step in self.steps)

    @property
    def cpu(self) -> float:
        """CPU seconds of all commands, their children's included."""
        return sum(step.cpu for step in self.steps)

    @property
    def peak(self) -> float:
        """The largest resident memory in MiB."""
        return max((step.peak for step in self.steps), default=0.0)

    @property
    def source(self) -> int:
        """Requests to the source."""
        return sum(step.source for step in self.steps)

    @property
    def destination(self) -> int:
        """Requests to the destinations."""
        return sum(step.destination for step in self.steps)

    @property
    def read(self) -> float:
        """Bytes of blobs read at the source, by unique bytes."""
        return sum(step.read for step in self.steps) / self.unique

    @property
    def sent(self) -> float:
        """Bytes of blobs committed at the destinations, by unique bytes."""
        return sum(step.sent for step in self.steps) / self.unique

    @property
    def wire(self) -> float:
        """All bytes that the relay carried to the destination, by unique bytes."""
        return sum(step.wire for step in self.steps) / self.unique


class Results:
    """What was measured: all rounds of each work and tool."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], list[Run]] = {}

    def add(self, work: str, tool: str, run: Run) -> None:
        """Keep one round."""
        self._runs.setdefault((work, tool), []).append(run)

    def of(self, work: str, tool: str) -> list[Run]:
        """All rounds of a tool at a work; none, if one of them failed or it was not measured."""
        runs = self._runs.get((work, tool), [])
        return [] if any(run.failed for run in runs) else runs

    def median(self, work: str, tool: str, value: Callable[[Run], float]) -> float | None:
        """The median of a value of a run, None without runs."""
        runs = self.of(work, tool)
        return statistics.median(map(value, runs)) if runs else None


def measure(
    commands: list[list[str]], folder: Path, ends: Ends, environ: Mapping[str, str] | None = None
) -> Run:
    """Run commands in a folder, with more in their environment, until one fails."""
    run = Run(unique=ends.corpus.unique_bytes if ends.corpus else 1)
    before = _look(ends)
    for each in commands:
        step = _timed(each, folder, environ or {})
        if step is None:
            run.failed = True
            break
        after = _look(ends)
        run.steps.append(after.since(before, step, ends.corpus))
        before = after
    report = folder / REPORT
    if report.exists():
        run.spent = Spent(**json.loads(report.read_text()))
        report.unlink()
    return run


@dataclass(frozen=True, slots=True)
class _Seen:
    """The logs as they were at a moment."""

    source: list[Access]
    destinations: list[list[Access]]
    wire: int

    def since(self, before: _Seen, step: Step, corpus: Corpus | None) -> Step:
        """Complete a step with what came after a moment."""
        source = self.source[len(before.source) :]
        new = [
            line
            for now, then in zip(self.destinations, before.destinations, strict=True)
            for line in now[len(then) :]
        ]
        return Step(
            step.wall,
            step.cpu,
            step.peak,
            len(source),
            len(new),
            _read(source),
            _sent(new, corpus.blobs if corpus else {}),
            self.wire - before.wire,
        )


def _look(ends: Ends) -> _Seen:
    return _Seen(
        ends.source.access_log() if ends.source else [],
        [each.access_log() for each in ends.destinations],
        ends.relay.carried()[0] if ends.relay else 0,
    )


def _read(log: list[Access]) -> int:
    """Count the bytes of blobs that were given out, whole or in part."""
    return sum(
        line.sent
        for line in log
        if line.method == "GET" and "/blobs/" in line.path and line.status in (200, 206)
    )


def _sent(log: list[Access], sizes: dict[str, int]) -> int:
    """Count the bytes of blobs that were committed; a mount is none."""
    found = (
        _UPLOADED.search(line.target)
        for line in log
        if line.method in ("PUT", "POST") and line.status == 201
    )
    return sum(sizes[each[1].replace("%3A", ":")] for each in found if each)


# As where it is installed: modules are compiled once, not in each run.
_ENVIRON = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
_ENVIRON["PYTHONPATH"] = str(ROOT)
# Below the folder that a command runs in: each begins with what its own steps have read.
_ENVIRON |= {"IMGMIGRATE_CACHE_DIR": "cache", "IMGMIGRATE_MACHINE_DIR": "machine"}


def _timed(command: list[str], folder: Path, environ: Mapping[str, str]) -> Step | None:
    """Run a command to its end; None if it failed or took too long.

    Through `time`, a small process: a child's peak starts at the size of who forked it.
    """
    report = folder / "time"
    timed = ["time", "--format", "%e %U %S %M", "--output", str(report), *command]
    with subprocess.Popen(
        timed,
        cwd=folder,
        env={**_ENVIRON, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            _, errors = process.communicate(timeout=LONGEST)
        except BaseException as error:
            # What `time` started ends with it.
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise
    if process.returncode != 0:
        print(f"{' '.join(command[:6])}: {errors.decode()[-2000:]}", file=sys.stderr)
        return None
    wall, user, system, peak = report.read_text().split()[-4:]
    return Step(float(wall), float(user) + float(system), int(peak) * 1024 / MIB)
