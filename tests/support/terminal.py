"""The real command on a pseudo terminal of its own; where there is none, on an imitated one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import imitation
from tests.support.cli import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TERMINALS", "has_terminals", "on_terminal", "open_terminal", "read_terminal"]


@cache
def has_terminals() -> bool:
    """Tell whether pseudo terminals can be had here; a container may have no devpts."""
    try:
        for descriptor in os.openpty():
            os.close(descriptor)
    except OSError:
        return False
    return True


# The ways to have a terminal here; a test that is cheap proves its rule on each.
TERMINALS = ("real", "imitated") if has_terminals() else ("imitated",)


def open_terminal(numbers: str, kind: str = TERMINALS[0]) -> tuple[int, int, list[str]]:
    """Open a terminal: our end, the command's, and what goes before the command.

    `numbers` are the command's descriptors that will be on it, such as 012.
    """
    if kind == "real":
        return *os.openpty(), []
    ours, theirs = socket.socketpair()
    shim = [sys.executable, str(Path(imitation.__file__)), "--terminal", numbers, "--"]
    return ours.detach(), theirs.detach(), shim


@contextmanager
def on_terminal(
    folder: Path,
    *arguments: str | Path,
    environment: Mapping[str, str],
    stdout: int | None = None,
    kind: str = TERMINALS[0],
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a command with its three streams on a terminal; give it and our end of that.

    `stdout` is where that goes instead. The command is killed at the end, if it still runs.
    """
    ours, theirs, before = open_terminal("012" if stdout is None else "02", kind)
    try:
        with subprocess.Popen(
            [*before, *command(*arguments)],
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
