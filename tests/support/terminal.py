"""The real command on a pseudo terminal of its own."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.support.cli import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["on_terminal", "read_terminal"]


@contextmanager
def on_terminal(
    folder: Path,
    *arguments: str | Path,
    environment: Mapping[str, str],
    stdout: int | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a command with its three streams on a terminal; give it and our end of that.

    `stdout` is where that goes instead. The command is killed at the end, if it still runs.
    """
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            command(*arguments),
            cwd=folder,
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            env={**os.environ, **environment},
        ) as process:
            os.close(theirs)
            try:
                yield process, ours
            finally:
                process.kill()
    finally:
        os.close(ours)


def read_terminal(descriptor: int) -> str:
    """Read until the other side is closed, which Linux tells as EIO."""
    pieces = []
    with suppress(OSError):
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
    return b"".join(pieces).decode()
