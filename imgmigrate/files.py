"""Write files so that a crash leaves the old one or the new one, and only we can read it.

Every file that imgmigrate writes goes through here, or is made durable by what stands here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
import sys
import tempfile
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor
    from pathlib import Path

__all__ = [
    "copy_or_link",
    "in_thread",
    "is_stream",
    "make_folder",
    "sync_data",
    "sync_folder",
    "write_all",
    "write_atomically",
    "write_output",
]

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
COPY_PIECE = 1 << 20
# Where a name stands for a descriptor of this process: /dev/stdout and /dev/fd/N lead there.
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/([0-9]{1,10})(?:/task/[0-9]{1,10})?/fd")
MOST_LINKS = 40

T = TypeVar("T")


def write_atomically(
    path: Path,
    data: bytes | Iterable[bytes],
    *,
    mode: int = PRIVATE_FILE,
    prefix: str | None = None,
    durable: bool = True,
) -> None:
    """Replace `path` by `data`, whole or in pieces, durably; OSError leaves it as it was.

    A killed process may leave a file beside it whose name starts with `prefix`. What can be
    had again, and is verified when read, need not be `durable`.
    """
    prefix = f".{path.name}." if prefix is None else prefix
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_folder(path.parent)


def write_output(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Write what a user wants at `path`; OSError leaves a file as it was.

    A file is replaced whole, and one that a link leads to in its place: the link stays. A
    device, a pipe or a socket is written into as it stands, and so is a descriptor of ours
    (/dev/stdout), whatever it leads to. A pipe waits for its reader.
    """
    number = _descriptor_named(path)
    if number is not None:
        write_all(number, data)
        return
    try:
        kind = os.stat(path).st_mode
    except FileNotFoundError:
        kind = stat.S_IFREG
    if stat.S_ISSOCK(kind):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(data)
    elif not stat.S_ISREG(kind):
        _write_into(path, data)
    else:
        target = type(path)(os.path.realpath(path))
        try:
            write_atomically(target, data, mode=mode)
        except OSError as error:
            # A file that is mounted into a container cannot be replaced, only written.
            if error.errno != errno.EBUSY:
                raise
            _write_into(target, data, os.O_TRUNC)


def is_stream(path: Path) -> bool:
    """Tell whether output goes into `path` as it stands, rather than into a file there."""
    if _descriptor_named(path) is not None:
        return True
    try:
        kind = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(kind) or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)


def _write_into(path: Path, data: bytes, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC | flags)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _descriptor_named(path: Path) -> int | None:
    """Follow links to the name of an open descriptor; None if they lead anywhere else.

    Opening that name again would begin at the start of a file, and fails for a socket.
    """
    name = os.fspath(path)
    for _ in range(MOST_LINKS):
        folder, last = os.path.split(name)
        folder = os.path.realpath(folder)
        found = _DESCRIPTORS.fullmatch(folder)
        if found and found[1] in (None, str(os.getpid())) and last.isdecimal():
            return int(last)
        name = os.path.join(folder, last)
        if not os.path.islink(name):
            return None
        name = os.path.join(folder, os.readlink(name))
    return None


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: one call where the system takes it whole; OSError may leave a part."""
    count = os.write(descriptor, data)
    while count < len(data):
        count += os.write(descriptor, memoryview(data)[count:])


def sync_data(descriptor: int) -> None:
    """Make a file's bytes and size durable."""
    if sys.platform == "darwin":
        import fcntl

        # macOS: fsync leaves the bytes in the drive's cache.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        os.fsync(descriptor)
    else:
        os.fdatasync(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, *, mode: int = PRIVATE_FOLDER) -> None:
    """Create a folder and its parents, durably; only its owner may look inside."""
    missing = list(takewhile(lambda each: not each.exists(), (path, *path.parents)))
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def copy_or_link(source: Path, target: Path) -> None:
    """Give a finished file a second name; a copy where links are refused or cross devices.

    FileExistsError if `target` is there. The name is durable once its folder is synced.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        with source.open("rb") as file:
            write_atomically(target, iter(lambda: file.read(COPY_PIECE), b""))


async def in_thread(
    work: Callable[[], T],
    executor: Executor | None = None,
    *,
    discard: Callable[[T], object] | None = None,
) -> T:
    """Run blocking `work` off the event loop; a cancelled caller still waits for its end.

    So nothing runs on behind a caller that has closed files or released a lock. A result that
    the cancelled caller does not get, and that must not be left open, is given to `discard`.
    """
    import asyncio  # here: reading a config needs this module, and no loop

    future = asyncio.get_running_loop().run_in_executor(executor, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        # Asking for the error tells asyncio that somebody knows of it: else it is logged.
        if future.exception() is None and discard is not None:
            discard(future.result())
        raise
