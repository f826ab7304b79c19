"""Run the command under test: in this process for speed, or in one that is killed on the way."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgmigrate.cli import main
from tests.support.cli import TIMEOUT, command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.integration.chaos.front import Front

__all__ = [
    "Ran",
    "Row",
    "Saved",
    "documents",
    "read_plan",
    "run",
    "run_and_strike",
    "run_together",
]

# Seconds between looks whether a process was struck.
PAUSE = 0.02


@dataclass(frozen=True)
class Ran:
    """What a command said, and how it ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it said."""
        return self.out + self.err


def run(folder: Path, *arguments: str) -> Ran:
    """Run `imgmigrate ARGUMENTS` in `folder`."""
    files = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(each, "utf-8", write_through=True) for each in files)
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        # As a shell has it: the way that was taken, links and all.
        os.environ["PWD"] = str(folder)
        code = main(arguments)
    return Ran(arguments, code, *(each.getvalue().decode() for each in files))


def run_and_strike(
    folder: Path,
    front: Front,
    words: Sequence[str],
    environ: Mapping[str, str],
    meanwhile: Callable[[], object] = lambda: None,
) -> Ran:
    """Run it in a process that a front strikes; `meanwhile` is done while it stands still."""
    with _started(folder, words, environ) as process, ThreadPoolExecutor(1) as pool:
        front.victim = process.pid
        told = pool.submit(process.communicate, timeout=TIMEOUT)
        while not told.done() and not front.struck.wait(PAUSE):
            pass
        if front.struck.is_set() and front.blow is signal.SIGSTOP:
            try:
                front.wait()
                meanwhile()
            finally:
                process.send_signal(signal.SIGCONT)
        out, err = told.result()
    front.wait()
    return Ran(tuple(words), process.returncode, out, err)


def run_together(
    folder: Path, words: Sequence[str], environs: Sequence[Mapping[str, str]]
) -> list[Ran]:
    """Run the same in several processes at once, each with an environment of its own."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_started(folder, words, each)) for each in environs]
        pool = stack.enter_context(ThreadPoolExecutor(len(processes)))
        told = [pool.submit(each.communicate, timeout=TIMEOUT) for each in processes]
        return [
            Ran(tuple(words), process.wait(), *each.result())
            for process, each in zip(processes, told, strict=True)
        ]


def _started(
    folder: Path, words: Sequence[str], environ: Mapping[str, str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words, "--wait-for-registries", "0s"),
        cwd=folder,
        env={**os.environ, **environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True)
class Row:
    """One row of a saved plan."""

    address: str
    action: str
    reason: str
    after: str | None
    source: str | None
    # What is to stand in its image's stead, which goes.
    heir: str | None


@dataclass
class Saved:
    """A saved plan, read without the code that wrote it."""

    file: str
    header: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    @property
    def actions(self) -> set[str]:
        """Which actions there are."""
        return {row.action for row in self.rows}


def read_plan(path: Path) -> Saved:
    """Read a plan's file."""
    header, *rows, _ = documents(path.read_text())
    return Saved(path.name, header, [_row(row) for row in rows])


def _row(row: dict[str, Any]) -> Row:
    source = row["source"] and row["source"]["reference"]
    heir = row.get("moved_to") or row.get("kept_as")
    return Row(row["address"], row["action"], row["reason"], row["after"], source, heir)


def documents(text: str) -> list[dict[str, Any]]:
    """Read JSON Lines."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
