"""A run that is killed in the middle of a large layer: the next one sends only what is missing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, in_thread
from tests.support import images
from tests.support.cli import TIMEOUT, write_config
from tests.support.registries import assert_equal

if TYPE_CHECKING:
    from pathlib import Path

# The command, for which a registry is known to keep uploads of any size. Arguments are its host,
# and the bytes of bodies after which it kills itself; 0: never.
_COMMAND = """
import os, re, signal, sys
from imgmigrate.stores.registry import quirks
from imgmigrate.stores.registry.uploads import start as uploads
from imgmigrate.stores.registry.uploads.sending import Sending

host, left, write = sys.argv.pop(1), int(sys.argv.pop(1)), Sending.write
row = (re.compile(re.escape(host)), quirks.Quirks(keeps_uploads=True))
quirks._ROWS = (row, *quirks._ROWS)
uploads.KEPT_FROM = 1_000_000

async def counted(self, piece):
    global left
    await write(self, piece)
    left -= len(piece)
    if -len(piece) < left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)

Sending.write = counted
from imgmigrate.cli import main
sys.exit(main())
"""
SIZE = 8 * 1024 * 1024


@pytest.mark.integration
def test_upload_goes_on_after_kill_9(tmp_path: Path) -> None:
    """By what the registry holds of each layer, asked for once; all arrive, nothing is kept."""
    image = images.image("large", size=SIZE)
    with in_thread(FakeRegistry()) as old, in_thread(FakeRegistry()) as new:
        old.put_image("a", "1", image)
        rule = f'  - {{source: "{old.host}/a:1", destination: "{new.host}/a"}}'
        write_config(tmp_path, rule, old.host, new.host)
        assert _apply(tmp_path, new.host, SIZE // 2) == -signal.SIGKILL
        assert not new.tags("a")
        assert _apply(tmp_path, new.host, 0) == 0
        assert_equal(new.image("a", "1"), image)
        assert not new.storage.sessions
        asked = new.matching("GET", "/uploads/")
        resumed = [one for one in new.matching("PATCH", "/uploads/") if one.status == 202]
        assert [one.status for one in asked] == [204] * len(resumed)
        offsets = []
        for one in resumed:
            first, end = map(int, one.headers.get("content-range", "0-0").split("-"))
            assert one.received == end + 1 - first
            offsets.append(first)
        assert max(offsets) > 0
    kept = next((tmp_path / "machine").glob("uploads.json"))
    assert json.loads(kept.read_text()) == {"sessions": []}


def _apply(folder: Path, host: str, bytes_: int) -> int:
    arguments = ["-c", _COMMAND, host, str(bytes_), "apply", "--auto-approve"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMGMIGRATE_MACHINE_DIR", str(folder / "machine"))
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            check=False,
            capture_output=True,
            timeout=TIMEOUT,
        )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode
