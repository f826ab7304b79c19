"""What a full disk, a reader that left or a closed descriptor does to a command: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import TIMEOUT
from tests.support.images import image
from tests.support.layouts import layout_tags, write_layout
from tests.support.terminal import TERMINALS, open_terminal

if TYPE_CHECKING:
    from pathlib import Path

# Some sixty processes.
pytestmark = pytest.mark.slow

CONFIG = """\
version: 1
images: [{source: "oci:source", destination: "oci:bundle"}]
"""
TAGS = ("1", "2", "3")
APPLY = "apply --auto-approve"
# A shell's redirections.
BROKEN = (
    *(">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", ">&-", "2>&-"),
    *("<&- >&- 2>&-", "2>/dev/full >&-"),
)
LOST = [("", each) for each in BROKEN] + [
    ("--json", ">/dev/full"),
    ("--json", ">&- 2>&-"),
    ("--log-level debug", "2>/dev/full"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A config that copies three images from layout to layout."""
    (tmp_path / "imgmigrate.yaml").write_text(CONFIG)
    for tag in TAGS:
        write_layout(tmp_path / "source", tag, image(tag))
    return tmp_path


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line with a shell's redirections."""
    line = f"{sys.executable} -m imgmigrate {command}"
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, timeout=TIMEOUT
    )


@pytest.mark.parametrize(("form", "redirection"), LOST)
def test_an_apply_is_done_whatever_becomes_of_its_output(
    home: Path, redirection: str, form: str
) -> None:
    """Every image lands and is recorded; exit 0; no output in a file that took a free number."""
    ran = shell(home, f"{APPLY} {form} {redirection}")
    assert (ran.returncode, b"Traceback" in ran.stderr) == (0, False), ran.stderr
    assert set(layout_tags(home / "bundle")) == set(TAGS)
    assert shell(home, "plan --detailed-exitcode").returncode == 0
    journal = (home / "state/imgmigrate/snapshot.jsonl").read_text()
    assert "Apply complete" not in journal


@pytest.mark.parametrize("kind", TERMINALS)
@pytest.mark.parametrize("form", ["", "--json"])
def test_a_terminal_that_has_gone_does_not_stop_an_apply(home: Path, form: str, kind: str) -> None:
    """Its answer is an input or output error, which is neither a full disk nor a closed pipe."""
    master, slave, before = open_terminal("12", kind)
    os.close(master)
    arguments = [*before, sys.executable, "-m", "imgmigrate", *APPLY.split(), *form.split()]
    environment = {**os.environ, "HOME": str(home), "TERM": "xterm", "CI": ""}
    try:
        code = subprocess.run(
            arguments, cwd=home, env=environment, stdout=slave, stderr=slave, timeout=TIMEOUT
        ).returncode
    finally:
        os.close(slave)
    assert code == 0
    assert set(layout_tags(home / "bundle")) == set(TAGS)


def test_a_reader_of_the_log_that_leaves_does_not_stop_an_apply(home: Path) -> None:
    """`imgmigrate apply 2>&1 >/dev/null | true`."""
    ran = shell(home, f"{APPLY} 2>&1 >/dev/null | true; exit 0")
    assert ran.returncode == 0
    assert set(layout_tags(home / "bundle")) == set(TAGS)


@pytest.mark.parametrize(
    "command",
    [
        *("plan", "plan --json", "plan --detailed-exitcode", "show", "show --json", "status"),
        *("state list", "schema plan", "--help", "validate", "plan --explain oci:bundle:1"),
    ],
)
def test_what_only_prints_and_cannot_has_failed(home: Path, command: str) -> None:
    """Exit 1 and a sentence, no traceback: nobody takes an empty file for an answer."""
    assert shell(home, APPLY).returncode == 0
    ran = shell(home, f"{command} >/dev/full")
    assert ran.returncode == 1, ran.stderr
    assert b"stdout cannot be written: No space left on device" in ran.stderr
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", ">&-", "2>&-", "<&-"])
@pytest.mark.parametrize("command", ["plan --json", "show", "--help"])
def test_what_nobody_wants_to_read_is_no_failure(
    home: Path, command: str, redirection: str
) -> None:
    """A lost log and a closed descriptor leave the exit code alone."""
    ran = shell(home, f"{command} {redirection}")
    assert ran.returncode == 0, ran


@pytest.mark.parametrize(
    "command", ["plan --out plan.out", "pin", "init new.yaml", "state rm --auto-approve '**'"]
)
def test_what_leaves_a_file_or_a_record_is_done(home: Path, command: str) -> None:
    """Its exit code says what was done, and stderr that it could not be told."""
    assert shell(home, APPLY).returncode == 0
    ran = shell(home, f"{command} >/dev/full")
    assert (ran.returncode, b"stdout cannot be written" in ran.stderr) == (0, True)


def test_a_graver_exit_code_stays(home: Path) -> None:
    """Changes (2), and a usage error (64), are said although nothing could be printed."""
    assert shell(home, "plan --detailed-exitcode >/dev/full").returncode == 2
    assert shell(home, "plan --nonsense >/dev/full 2>/dev/full").returncode == 64
