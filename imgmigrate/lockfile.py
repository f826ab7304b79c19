"""Lock a file, so that the lock ends with its process, however that ends.

The lock is flock(2) of a file that is open for writing: on NFS, where that is a byte-range
lock, other hosts see it, and a folder or a file open for reading cannot be locked (flock(2),
"NFS details"). There is no marker file to fall back to: one outlives a killed process and then
locks everybody out. What the system cannot lock is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HELD", "NoLocks", "try_lock"]

# Some file systems say EACCES where others say EAGAIN (fcntl(2)).
HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NoLocks(OSError):
    """The file system cannot lock this file; `strerror` is what the system says."""


def try_lock(path: Path, *, mode: int) -> int | None:
    """Lock the file at `path`, made with `mode` if need be; None if somebody else holds it.

    Closing the descriptor ends the lock; the file stays, since whoever waits may have it open.
    Raises NoLocks where there are no locks, OSError for what is no regular file and the
    system's other refusals.
    """
    descriptor = _open(path, mode)
    try:
        # Locked first and looked up then: between opening and locking the name may have gone to
        # another file, and whoever opens that one is not kept out by ours.
        if _lock(path, descriptor) and _is_there(path, descriptor):
            _prove(path)
            held, descriptor = descriptor, -1
            return held
        return None
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _prove(path: Path) -> None:
    """Refuse a file system that grants a lock to whoever asks: it would grant this one twice."""
    second = _open_existing(path)
    try:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    finally:
        os.close(second)
    raise NoLocks(errno.ENOLCK, "it grants the same lock to several at once", str(path))


def _lock(path: Path, descriptor: int) -> bool:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise NoLocks(error.errno, error.strerror, str(path)) from None
    return True


def _open(path: Path, mode: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return _open_existing(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
    except FileExistsError:
        return _open_existing(path)
    # Whoever may write beside it may lock it, whatever the umask of who came first.
    os.fchmod(descriptor, mode)
    return descriptor


def _open_existing(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | _FLAGS)
    except PermissionError:
        # Somebody else's: where flock is not emulated, reading is enough.
        return os.open(path, os.O_RDONLY | _FLAGS)


def _is_there(path: Path, descriptor: int) -> bool:
    """Tell whether the locked file still has its name: one that was removed locks nobody out."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
