"""Disks that are small or read-only, mounted where the machine allows it, else imitated."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import imitation
from tests.support.cli import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KINDS", "Disk", "can_mount", "read_only", "small_disk"]

_UNITS = {"k": 1024, "m": 1024 * 1024}
# Words of a command before the command, so that it sees the disk.
Prefix = tuple[str, ...]


@cache
def can_mount() -> bool:
    """Tell whether a user namespace may be made here, and mount."""
    with tempfile.TemporaryDirectory() as folder:
        shell = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", folder]
        try:
            return subprocess.run(shell, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False


# The ways to have a disk here; a test that is cheap proves its rule in each.
KINDS = ("mounted", "imitated") if can_mount() else ("imitated",)


@dataclass(frozen=True, slots=True)
class Disk:
    """A small file system of its own on `folder`, seen by commands behind `prefix` only.

    On an imitated one everybody sees the files, and only those commands its limits.
    """

    folder: Path
    prefix: Prefix
    size: int | None  # bytes; None: mounted, the kernel knows

    def shell(self, script: str) -> None:
        """Run a script in the folder."""
        prefix = self.prefix if self.size is None else ()
        shell = [*prefix, "sh", "-c", f'cd "$0" && {script}', str(self.folder)]
        subprocess.run(shell, check=True, stderr=subprocess.DEVNULL, timeout=TIMEOUT)

    def fill(self, spare: int = 0) -> None:
        """Take every byte that is left, but for `spare` bytes."""
        if self.size is None:
            self.shell("cat /dev/zero > ballast || true")
            self.shell(f"truncate --size=-{spare} ballast")
        else:
            free = imitation.free_bytes(str(self.folder), self.size)
            self.shell(f"truncate --size={max(0, free - spare)} ballast")

    def free(self) -> None:
        """Give them back."""
        self.shell("rm ballast")


@contextmanager
def small_disk(folder: Path, size: str = "256k", kind: str = KINDS[0]) -> Iterator[Disk]:
    """Lay a small disk on a folder for as long as the block lasts."""
    folder.mkdir(exist_ok=True)
    if kind == "imitated":
        count = int(size[:-1]) * _UNITS[size[-1]]
        yield Disk(folder, _imitated("--disk", str(folder), str(count)), count)
        return
    script = f'mount -t tmpfs -o size={size} none "$0" && echo ready && exec cat'
    with subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            enter = ("nsenter", "--target", str(holder.pid), "--user", "--preserve-credentials")
            # Entering keeps the old namespace's working directory, which does not see the disk.
            shell = ("sh", "-c", 'cd "$0" && exec "$@"', os.fspath(folder.parent))
            yield Disk(folder, (*enter, "--mount", *shell), None)
        finally:
            holder.kill()


def read_only(folder: Path, kind: str = KINDS[0]) -> Prefix:
    """Let a command see a folder as on a read-only disk."""
    if kind == "imitated":
        return _imitated("--read-only", str(folder))
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ("unshare", "-rm", "sh", "-c", script, str(folder))


def _imitated(*options: str) -> Prefix:
    return (sys.executable, str(Path(imitation.__file__)), *options, "--")
