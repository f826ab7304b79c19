"""Open the files of a layout, which come from others.

Only regular files of the folder itself are opened: no link is followed, no device or pipe is
waited for, and never more is read than may be. Blocking. Raises OSError for the system's
refusals, ProtocolError for what is no such file.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from imgmigrate.errors import ProtocolError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["file_mode", "open_file", "open_folder", "open_regular", "read_file"]

# Layouts are handed around, so others may read them: what the umask leaves of this.
FILE_MODE = 0o644
_RIGHTS = 0o666
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotRegular(Exception):
    """The name is a link, a folder, a pipe or a device."""


def open_folder(path: Path) -> int:
    """Open a layout's folder, to open what is inside by its descriptor."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def open_regular(name: str, folder: int) -> int:
    """Open a regular file for reading; NotRegular for anything else."""
    # Looked at first: to open some devices is to do something.
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        raise NotRegular
    descriptor = os.open(name, _FLAGS, dir_fd=folder)
    # It may be another by now.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular
    return descriptor


def open_file(layout: Path, name: str, subject: str) -> int | None:
    """Open one of a layout's own files; None if it is not there.

    `subject` is what errors call the layout. NotADirectoryError if it is no folder.
    """
    try:
        folder = open_folder(layout)
    except FileNotFoundError:
        return None
    try:
        return open_regular(name, folder)
    except FileNotFoundError:
        return None
    except NotRegular:
        raise ProtocolError(
            subject,
            f"{layout / name} is not a regular file",
            hint="links, pipes and devices in a layout are not read; put the file itself there",
        ) from None
    finally:
        os.close(folder)


def read_file(descriptor: int, subject: str, what: str, limit: int) -> bytes:
    """Read an open file whole, and close it; ProtocolError if it has more than `limit` bytes."""
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        size = os.fstat(descriptor).st_size
        pieces: list[bytes] = []
        count = 0
        while size <= limit and count <= limit:
            # One byte more than it said: some files have no size, and some grow.
            piece = file.read(max(1, size + 1 - count))
            if not piece:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.append(piece)
            count += len(piece)
    said = size if size > limit else f"more than {limit}"
    raise ProtocolError(subject, f"{what} has {said} bytes; the limit is {limit}")


def file_mode(layout: Path) -> int:
    """Tell which rights the files of a layout have: those of its index, or of its first file.

    So whoever may read the index may read what it names, and nobody else.
    """
    for name in ("index.json", "oci-layout"):
        try:
            found = os.stat(layout / name, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode):
            return found.st_mode & _RIGHTS
    return FILE_MODE
