"""A locked file keeps others out, and nothing but a lock of the system's counts as one."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from imgmigrate.lockfile import NoLocks, try_lock

if TYPE_CHECKING:
    from pathlib import Path


def test_one_holds_it_at_a_time(tmp_path: Path) -> None:
    """A second one is refused until the first has closed it; the file stays."""
    path = tmp_path / "lock"
    held = try_lock(path, mode=0o600)
    assert held is not None
    assert try_lock(path, mode=0o600) is None
    os.close(held)
    again = try_lock(path, mode=0o600)
    assert again is not None
    os.close(again)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_of_a_file_that_was_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cleans up between open and lock must not let two of us in."""
    path, flock = tmp_path / "lock", fcntl.flock

    def removed_first(descriptor: int, operation: int) -> None:
        path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    assert try_lock(path, mode=0o600) is None


@pytest.mark.parametrize(
    "number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EINVAL, errno.EIO]
)
def test_what_cannot_be_locked_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The system's reason comes through, and nothing but an empty file is left behind."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(NoLocks) as caught:
        try_lock(tmp_path / "lock", mode=0o600)
    assert caught.value.strerror == os.strerror(number)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert (tmp_path / "lock").read_bytes() == b""


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_every_word_for_held_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Network file systems word it otherwise than local ones."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert try_lock(tmp_path / "lock", mode=0o600) is None


@pytest.mark.parametrize("kind", ["fifo", "link", "dangling", "folder"])
def test_only_a_regular_file_is_locked(tmp_path: Path, kind: str) -> None:
    """What somebody put in its place is neither opened for ever nor followed."""
    path, other = tmp_path / "lock", tmp_path / "other"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(other)
    if kind == "link":
        other.write_bytes(b"somebody's")
    with pytest.raises(OSError, match=r"not a regular file|symbolic links|Is a directory"):
        try_lock(path, mode=0o600)
    assert other.exists() == (kind == "link")


def test_a_file_system_that_grants_every_lock_is_none_that_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock counts only where a second one is refused."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(NoLocks, match="to several at once"):
        try_lock(tmp_path / "lock", mode=0o600)
