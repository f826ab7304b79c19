"""A full disk, for real: a small tmpfs in a mount namespace that ends with its process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.cli import TIMEOUT

ROOT = Path(__file__).parents[2]


def on_small_disk(folder: Path, when: str, options: str = "size=256k") -> dict[str, Any]:
    """Let a disk mounted on `folder` fill up at a moment; return what `fill_disk.py` found."""
    script = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    shell = ["unshare", "-rm", "sh", "-c", script, str(folder)]
    module = [sys.executable, "-m", "tests.state.fill_disk", str(folder), when]
    done = subprocess.run(
        [*shell, *module], capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


FILES = ["backups", "journal.jsonl", "lock", "snapshot.jsonl"]


def test_a_disk_that_is_full_before_the_run_is_named(tmp_path: Path) -> None:
    """Nothing begins, the error names the path and the fix, and later it works."""
    found = on_small_disk(tmp_path, "before")
    (error,) = found["errors"]
    assert f"state {tmp_path}" in error
    assert "No space left on device; free some space" in error
    assert found["files"] == FILES


def test_a_disk_that_fills_up_during_a_run_loses_no_record(tmp_path: Path) -> None:
    """The failed record is reported, all earlier ones are whole, and the run can go on."""
    found = on_small_disk(tmp_path, "during")
    (error,) = found["errors"]
    assert f"state {tmp_path}/state/journal.jsonl: cannot be written: No space left" in error
    assert found["after"]
    assert found["records"] == found["recorded"] + 1
    assert found["files"] == FILES


def test_a_compaction_without_room_costs_nothing(tmp_path: Path) -> None:
    """The journal alone carries the state until there is room for a snapshot."""
    found = on_small_disk(tmp_path, "compaction")
    assert found["errors"] == []
    assert found["after"]
    assert found["records"] == found["recorded"] + 1
    assert found["files"] == FILES


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    """A state that cannot be written says so, and how to choose another place."""
    (error,) = on_small_disk(tmp_path, "never", "size=64k,ro")["errors"]
    assert f"state {tmp_path}/state: cannot be written: Read-only file system" in error
    assert "choose another folder (state.path, --state)" in error
