"""Run the fake registry as a process, for tests of whole commands and of killed ones."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class FakeProcess:
    """A fake registry in another process."""

    host: str
    log: Path

    def requests(self) -> list[dict[str, Any]]:
        """Read the finished requests: the fields of `tests.fakes.registry.Request`."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]


@contextmanager
def run_fake(folder: Path, *options: str) -> Iterator[FakeProcess]:
    """Start one with command line `options`; it has a port when the block begins."""
    log = folder / "requests.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.registry", "--log", str(log), *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port.isdigit(), "the fake registry did not start"
            yield FakeProcess(f"127.0.0.1:{port}", log)
        finally:
            process.kill()
