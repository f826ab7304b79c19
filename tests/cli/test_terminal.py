"""The whole command on a real terminal, between two layouts."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import images, layouts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli

COMMAND = [sys.executable, "-m", "imgmigrate"]


def on_terminal(folder: Path, typed: str, *arguments: str) -> tuple[int, str, str]:
    """Run with stdin and stderr on a pseudo terminal: exit code, stdout, what was drawn."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=folder,
        env=environment,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        drawn = _read_all(ours)
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    return process.returncode, out, drawn


def _read_all(descriptor: int) -> str:
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux says EIO when the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces).decode()


@pytest.fixture
def folder(cli: Cli) -> Path:
    """A config, and a source layout with one image."""
    cli.write_config()
    layouts.write_layout(cli.folder / "images" / "os", "12", images.image("os"))
    return cli.folder


def test_yes_on_a_terminal_copies_under_a_live_display(folder: Path) -> None:
    """The plan and the result are on stdout; the display and the question on the terminal."""
    code, out, drawn = on_terminal(folder, "yes\n", "apply")
    assert code == 0
    assert out.startswith("Plan: 1 to copy.")
    assert "Apply complete: 1 done" in out
    assert "\x1b[" not in out
    assert "Only yes is accepted" in drawn
    assert "1 of 1 image done" in drawn
    layouts.assert_layout_holds(folder / "bundle" / "os", "12", images.image("os"))


def test_no_on_a_terminal_copies_nothing(folder: Path) -> None:
    """Any other answer leaves the destination and the state as they were."""
    code, out, drawn = on_terminal(folder, "no\n", "apply", "--no-color")
    assert code == 1
    assert out.startswith("Plan: 1 to copy.")
    assert "not applied; nothing was changed" in drawn
    assert not (folder / "bundle").exists()
