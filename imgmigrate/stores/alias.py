"""Tell which names may be of one place: a registry may have many, and so may a folder.

Two hosts with the same path may be one repository (a CNAME, another port, localhost and
127.0.0.1), and nothing short of a write to one of them tells. Folders tell: by their real path,
and where they are mounted twice by their inode.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from imgmigrate.oci.reference import Repository

__all__ = ["place_key"]


def place_key(repository: Repository, base: Path) -> Hashable:
    """Make a key that is equal for two names if they may be of one place.

    `base` is what layouts are relative to. Of a registry it is the path, whatever the host.
    """
    if not repository.is_layout:
        return repository.path
    folder = os.path.realpath(os.path.join(base, repository.path))
    try:
        found = os.stat(folder)
    except OSError:  # it is not there yet
        return ("oci", folder)
    return ("oci", found.st_dev, found.st_ino)
