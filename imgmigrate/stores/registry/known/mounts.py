"""Remember between runs of this machine which registries mount blobs, for what a plan foretells.

Nobody decides by it whether a mount is tried: only what is said of the bytes to come. One refusal
is enough to forget it, and so are some weeks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.machine import recall, remember

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Mounting", "keep_mounting", "known_to_mount"]

FILE = "mounts.json"
# Seconds, two weeks: rights and registries change.
LONGEST = 14 * 24 * 3600.0
# Registries of which it is kept, those that were met last.
MOST_HOSTS = 500


class Mounting(Struct):
    """How many mounts one registry gave and refused in a run."""

    given: int = 0
    refused: int = 0


def known_to_mount(now: Callable[[], float] = time.time) -> frozenset[str]:
    """List the registries that gave every mount they were last asked for."""
    return frozenset(_read(now()))


def keep_mounting(seen: Mapping[str, Mounting], now: Callable[[], float] = time.time) -> None:
    """Note how mounts went; a registry that none was asked of stays as it was known."""
    asked = {host: each for host, each in seen.items() if each.given or each.refused}
    if not asked:
        return
    kept = _read(now())
    for host, each in asked.items():
        kept.pop(host, None)
        if not each.refused:
            kept[host] = now()
    remember(FILE, dict([*kept.items()][-MOST_HOSTS:]))


def _read(now: float) -> dict[str, float]:
    document = recall(FILE)
    entries = document.items() if isinstance(document, dict) else ()
    return {
        host: float(when)
        for host, when in entries
        if type(when) in (int, float) and 0 <= now - when <= LONGEST
    }
