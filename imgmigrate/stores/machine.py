"""Keep what this machine's runs learn of registries, in a private folder beside no state.

A state may be shared by a team, and what is kept here may name registries, rates and upload
sessions of one user on one machine: only that user can look inside. All of it is a hint that
costs requests when it is lost, so a folder that cannot be used is no error: nothing is kept.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

from imgmigrate.files import PRIVATE_FOLDER, make_folder, write_atomically

__all__ = ["LARGEST", "machine_folder", "recall", "remember"]

logger = logging.getLogger(__name__)

# Bytes of one file: thousands of hosts; what is larger was not written here.
LARGEST = 1024 * 1024


def machine_folder() -> Path | None:
    """Make the folder where there is none, and give it; None if it cannot be used.

    It is `IMGMIGRATE_MACHINE_DIR`, or `imgmigrate` in `XDG_STATE_HOME`, by default
    `~/.local/state` (XDG Base Directory Specification). It must be ours: what somebody else could
    write is not believed.
    """
    try:
        folder = _place()
        make_folder(folder)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            logger.debug("%s belongs to another user: nothing is kept there", folder)
            return None
        if stat.S_IMODE(found.st_mode) != PRIVATE_FOLDER:
            folder.chmod(PRIVATE_FOLDER)
    except (OSError, RuntimeError, ValueError) as error:  # no home, or a name that is none
        logger.debug("nothing is kept of what this machine learns: %s", error)
        return None
    return folder


def recall(name: str) -> Any:
    """Read what `remember` kept under a file's name; None if there is nothing sound."""
    folder = machine_folder()
    if folder is None:
        return None
    try:
        with (folder / name).open("rb") as file:
            data = file.read(LARGEST + 1)
        return None if len(data) > LARGEST else json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None


def remember(name: str, document: Any) -> None:
    """Keep a JSON document under a file's name, in place of the one before.

    Runs beside each other overwrite each other's: whoever writes reads before, and adds. What
    would be more than `LARGEST` bytes is not kept: whoever writes lets old things go.
    """
    folder = machine_folder()
    if folder is None:
        return
    data = json.dumps(document, separators=(",", ":")).encode()
    if len(data) > LARGEST:
        logger.debug("%s is not kept: %d bytes are too many", name, len(data))
        return
    try:
        write_atomically(folder / name, data, durable=False)
    except OSError as error:
        logger.debug("%s is not kept: %s", name, error)


def _place() -> Path:
    own, state = os.environ.get("IMGMIGRATE_MACHINE_DIR"), os.environ.get("XDG_STATE_HOME")
    if own:
        return Path(own).absolute()
    # A relative one is to be ignored (the specification).
    if state and os.path.isabs(state):
        return Path(state) / "imgmigrate"
    return Path.home() / ".local" / "state" / "imgmigrate"
