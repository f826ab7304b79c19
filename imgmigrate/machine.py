"""Keep what this machine's runs learn and read, in private folders beside no state.

A state may be shared by a team, and what is kept here may name registries, rates and upload
sessions of one user on one machine: only that user can look inside. So it is with what was read
once and holds for ever, which is kept apart for each state. All of it is a hint that costs
requests when it is lost, so a folder that cannot be used is no error: nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgmigrate.files import PRIVATE_FOLDER, make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LARGEST", "UNUSED_DAYS", "cache_folder", "machine_folder", "recall", "remember"]

logger = logging.getLogger(__name__)

# Bytes of one file: thousands of hosts; what is larger was not written here.
LARGEST = 1024 * 1024
# Days after which what was read for a state that nobody uses any more is dropped.
UNUSED_DAYS = 90
# Hex digits that tell the states of one machine apart.
_KEY = 16


def machine_folder() -> Path | None:
    """Make the folder where there is none, and give it; None if it cannot be used.

    It is `IMGMIGRATE_MACHINE_DIR`, or `imgmigrate` in `XDG_STATE_HOME`, by default
    `~/.local/state` (XDG Base Directory Specification). It must be ours: what somebody else could
    write is not believed.
    """
    return _own(_place)


def cache_folder(identity: str) -> Path | None:
    """Give the folder of what was read for one state; None if it cannot be used.

    It lies in `IMGMIGRATE_CACHE_DIR`, or in `imgmigrate` in `XDG_CACHE_HOME`, by default
    `~/.cache`. It need not exist yet, and whoever clears the cache does no harm. What nobody has
    used for `UNUSED_DAYS` goes.
    """
    folder = _own(_cache_place)
    if folder is None:
        return None
    name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:_KEY]
    _drop_unused(folder, name)
    return folder / name


def _own(place: Callable[[], Path]) -> Path | None:
    """Make a folder that nobody else can look into, or see that it is one."""
    try:
        folder = place()
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
    try:
        if not _place().is_dir():  # reading makes none
            return None
    except (OSError, RuntimeError, ValueError):
        return None
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


def _cache_place() -> Path:
    own, cache = os.environ.get("IMGMIGRATE_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).absolute()
    if cache and os.path.isabs(cache):
        return Path(cache) / "imgmigrate"
    return Path.home() / ".cache" / "imgmigrate"


def _drop_unused(folder: Path, name: str) -> None:
    """Note the use of one state's folder, and drop those that were not used for long.

    What has another kind of name was not made here, and stays.
    """
    with contextlib.suppress(OSError):
        os.utime(folder / name)
    with contextlib.suppress(OSError):
        oldest = time.time() - UNUSED_DAYS * 24 * 3600
        for each in folder.iterdir():
            is_ours = re.fullmatch(f"[0-9a-f]{{{_KEY}}}", each.name) is not None
            if is_ours and each.name != name and each.lstat().st_mtime < oldest:
                shutil.rmtree(each, ignore_errors=True)
