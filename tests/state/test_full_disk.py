"""A full disk: a small tmpfs in a mount namespace of its own, and what imitates one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import mounts
from tests.support.cli import TIMEOUT

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=mounts.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each way to have a small disk here."""
    return str(request.param)


def run_on(prefix: tuple[str, ...], folder: Path, when: str) -> dict[str, Any]:
    """Let a disk on `folder` fill up at a moment; return what `fill_disk.py` found."""
    module = (sys.executable, "-m", "tests.state.fill_disk", str(folder), when)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*prefix, *module],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def on_small_disk(folder: Path, when: str, kind: str) -> dict[str, Any]:
    """Let a disk of 256 KiB on `folder` fill up at a moment; return what was found."""
    with mounts.small_disk(folder, kind=kind) as disk:
        return run_on(disk.prefix, folder, when)


FILES = ["backups", "journal.jsonl", "lock", "snapshot.jsonl"]


def test_a_disk_that_is_full_before_the_run_is_named(tmp_path: Path, kind: str) -> None:
    """Nothing begins, the error names the path and the fix, and later it works."""
    found = on_small_disk(tmp_path, "before", kind)
    (error,) = found["errors"]
    assert f"state {tmp_path}" in error
    assert "No space left on device; free some space" in error
    assert found["files"] == FILES


def test_a_disk_that_fills_up_during_a_run_loses_no_record(tmp_path: Path, kind: str) -> None:
    """The failed record is reported, all earlier ones are whole, and the run can go on."""
    found = on_small_disk(tmp_path, "during", kind)
    (error,) = found["errors"]
    assert f"state {tmp_path}/state/journal.jsonl: cannot be written: No space left" in error
    assert found["after"]
    assert found["records"] == found["recorded"] + 1
    assert found["files"] == FILES


def test_a_compaction_without_room_costs_nothing(tmp_path: Path, kind: str) -> None:
    """The journal alone carries the state until there is room for a snapshot."""
    found = on_small_disk(tmp_path, "compaction", kind)
    (warning,) = found["errors"]
    assert warning == (
        f"state_not_compacted: state {tmp_path}/state: its journal could not be compacted: No space"
        " left on device; every record is safe, and the journal only grows until a run can compact"
        " it: free some space there"
    )
    assert found["after"]
    assert found["records"] == found["recorded"] + 1
    assert found["files"] == FILES


def test_a_read_only_disk_is_named(tmp_path: Path, kind: str) -> None:
    """A state that cannot be written says so, and how to choose another place."""
    (error,) = run_on(mounts.read_only(tmp_path, kind), tmp_path, "never")["errors"]
    assert f"state {tmp_path}/state: cannot be written: Read-only file system" in error
    assert "choose another folder (state.path, `state`)" in error
