"""The whole command on a real terminal, between two layouts."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import images, layouts
from tests.support.cli import TIMEOUT
from tests.support.terminal import TERMINALS, on_terminal, read_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli


def run_typing(folder: Path, kind: str, typed: str, *arguments: str) -> tuple[int, str, str]:
    """Run with stdin and stderr on a pseudo terminal: exit code, stdout, what was drawn."""
    environment, stdout = {"TERM": "xterm", "COLUMNS": "80"}, subprocess.PIPE
    started = on_terminal(folder, *arguments, environment=environment, stdout=stdout, kind=kind)
    with started as (process, terminal):
        os.write(terminal, typed.encode())
        drawn = read_terminal(terminal)
        assert process.stdout is not None
        out = process.stdout.read().decode()
        return process.wait(TIMEOUT), out, drawn


@pytest.fixture(params=TERMINALS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each way to have a terminal here."""
    return str(request.param)


@pytest.fixture
def folder(cli: Cli) -> Path:
    """A config, and a source layout with one image."""
    cli.write_config()
    layouts.write_layout(cli.folder / "images" / "os", "12", images.image("os"))
    return cli.folder


def test_yes_on_a_terminal_copies_under_a_live_display(folder: Path, kind: str) -> None:
    """The plan and the result are on stdout; the display and the question on the terminal."""
    code, out, drawn = run_typing(folder, kind, "yes\n", "apply")
    assert code == 0
    assert out.startswith("Plan: 1 to copy.")
    assert "Apply complete: 1 copied" in out
    assert "\x1b[" not in out
    assert "Only yes is accepted" in drawn
    assert "1 of 1 image done" in drawn
    layouts.assert_layout_holds(folder / "bundle" / "os", "12", images.image("os"))


def test_no_on_a_terminal_copies_nothing(folder: Path, kind: str) -> None:
    """Any other answer leaves the destination and the state as they were."""
    code, out, drawn = run_typing(folder, kind, "no\n", "apply", "--no-color")
    assert code == 1
    assert out.startswith("Plan: 1 to copy.")
    assert "not applied; nothing was changed" in drawn
    assert not (folder / "bundle").exists()
