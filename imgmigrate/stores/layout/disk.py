"""The disk that a layout is on, or is to be made on: what is free there, and what it can do."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from imgmigrate.stores.base import Room
from imgmigrate.stores.layout.indexfile import TEMPORARY

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["can_link", "look_at_disk"]


def look_at_disk(path: Path) -> Room | None:
    """Tell what is free where a folder is, or will be; None if the file system does not say."""
    path = _nearest(path)
    found = os.statvfs(path)
    if not found.f_blocks:
        return None
    return Room(os.fspath(path), path.stat().st_dev, found.f_bavail * found.f_frsize)


def can_link(path: Path) -> bool:
    """Try to make a link there: only that tells (exFAT has none, some mounts forbid them)."""
    path = _nearest(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=path, prefix=TEMPORARY)
    except OSError:  # writing will say it
        return False
    os.close(descriptor)
    try:
        os.link(name, f"{name}-link")
        os.unlink(f"{name}-link")
    except OSError:
        return False
    finally:
        os.unlink(name)
    return True


def _nearest(path: Path) -> Path:
    """The folder, or the one that it is to be made in."""
    return next(each for each in (path, *path.absolute().parents) if each.is_dir())
