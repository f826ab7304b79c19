"""Remember where uploads of large blobs stand, so that one that breaks can go on there.

Only of registries that are known to keep a session through a broken request (`quirks.py`), and
in the private folder of this machine's runs, so that a next run can go on as well. An address is
the registry's own, at its own origin: it says where, never to whom anything may be sent. It is
taken away when it is tried, so one that is refused is tried once.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

from imgmigrate.machine import recall, remember
from imgmigrate.stores.registry.http.urls import same_origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.oci.reference import Digest

__all__ = ["KEPT_FROM", "KeptSessions"]

# Bytes of a blob: what is less is sent again as soon as it is asked for.
KEPT_FROM = 8 * 1024 * 1024
# Registries purge what nobody goes on with: distribution after a week, others within a day.
KEPT_FOR = 86_400.0
# Sessions of all registries, and characters of one address (with its state some hundred).
MOST, LONGEST = 100, 4096
FILE = "uploads.json"


class _Kept(Struct, frozen=True):
    """One session; `at` is when it was kept, `process` who is at it on which `machine`."""

    origin: str
    repo: str
    digest: str
    location: str
    at: float
    process: int
    machine: str


class KeptSessions:
    """Those of one registry; `origin` is asked for each time, since it may be found out late."""

    def __init__(
        self, origin: Callable[[], str], *, is_on: bool, now: Callable[[], float] = time.time
    ) -> None:
        self._origin, self.is_on, self._now = origin, is_on, now
        # Also where there is no folder.
        self._own: dict[tuple[str, str], str] = {}

    def keep(self, repo: str, digest: Digest, location: str) -> None:
        """Remember a session, if it is where our credentials go anyway."""
        is_usable = same_origin(location, self._origin()) and len(location) <= LONGEST
        if not self.is_on or not is_usable:
            return
        self._own[repo, digest] = location
        kept = _Kept(
            self._origin(), repo, digest, location, self._now(), os.getpid(), socket.gethostname()
        )
        self._write([*self._others(repo, digest), kept])

    def take(self, repo: str, digest: Digest) -> str | None:
        """Give the address of a session that nobody is at, and forget it."""
        if not self.is_on:
            return None
        own = self._own.pop((repo, digest), None)
        found = [kept for kept in self._read() if self._is(kept, repo, digest)]
        free = [kept.location for kept in found if not _is_alive(kept)]
        if found and (own or free):
            self._write(self._others(repo, digest))
        return own or (free[-1] if free else None)

    def forget(self, repo: str, digest: Digest) -> None:
        """Forget a session of this run: the blob is there, or it cannot be gone on with."""
        if self._own.pop((repo, digest), None) is not None:
            self._write(self._others(repo, digest))

    def _is(self, kept: _Kept, repo: str, digest: str) -> bool:
        return (kept.origin, kept.repo, kept.digest) == (self._origin(), repo, digest)

    def _others(self, repo: str, digest: str) -> list[_Kept]:
        return [kept for kept in self._read() if not self._is(kept, repo, digest)]

    def _read(self) -> list[_Kept]:
        """What is kept, as far as it is sound and not too old."""
        document = recall(FILE)
        entries = document.get("sessions") if isinstance(document, dict) else None
        found = [_parsed(entry) for entry in entries] if isinstance(entries, list) else []
        now = self._now()
        return [kept for kept in found if kept is not None and now - KEPT_FOR < kept.at <= now]

    def _write(self, sessions: list[_Kept]) -> None:
        remember(FILE, {"sessions": [asdict(kept) for kept in sessions[-MOST:]]})


def _parsed(entry: Any) -> _Kept | None:
    try:
        kept = _Kept(**entry)
    except TypeError:
        return None
    texts = (kept.origin, kept.repo, kept.digest, kept.location, kept.machine)
    is_sound = all(isinstance(text, str) for text in texts) and type(kept.process) is int
    if not is_sound or type(kept.at) not in (int, float) or len(kept.location) > LONGEST:
        return None
    try:
        return kept if same_origin(kept.location, kept.origin) else None
    except ValueError:
        return None


def _is_alive(kept: _Kept) -> bool:
    """Tell whether who keeps a session may still be at it."""
    if kept.machine != socket.gethostname():
        return True  # a home that several machines share: nobody can tell
    try:
        os.kill(kept.process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
