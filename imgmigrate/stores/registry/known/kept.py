"""Keep what write tests found out, for the runs of this machine; and correct quirks by it.

Answers grow old: a registry is updated, or allows another user less. After `LONGEST` days nobody
believes them any more. None of it decides what is right, only which way is tried first.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate import __version__
from imgmigrate.machine import recall, remember
from imgmigrate.stores.registry.known.facts import improved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.stores.registry.quirks import Quirks

__all__ = ["LONGEST", "Kept", "improved_here", "keep", "kept"]

FILE = "registries.json"
# Days. A hosted registry changes a few times a year.
LONGEST = 90
# The newest ones; a few KB each at most.
MOST = 200
_FORMAT = 1


class Kept(Struct, frozen=True):
    """What was found out about a registry, when, by which version and in which repository."""

    at: datetime
    version: str
    repository: str
    facts: Mapping[str, str]


def keep(host: str, repository: str, facts: Mapping[str, str], now: datetime) -> bool:
    """Keep what was found out, in place of what was before; False if nothing can be kept."""
    entries = _entries()
    entries.pop(host, None)
    entries[host] = {
        "at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "repository": repository,
        "facts": dict(facts),
    }
    remember(FILE, {"format": _FORMAT, "registries": dict([*entries.items()][-MOST:])})
    found = kept(host, now)
    return found is not None and found.facts == dict(facts)


def kept(host: str, now: datetime | None = None) -> Kept | None:
    """Look up what is known here of a registry; None if that is nothing, or too old."""
    found = _parsed(_entries().get(host))
    age = (now or datetime.now(UTC)) - found.at if found else None
    # One from tomorrow was written under another clock: who knows how old it is.
    return found if age is not None and timedelta(days=-1) < age < timedelta(LONGEST) else None


def improved_here(host: str, row: Quirks) -> Quirks:
    """Correct a registry's row of the quirk table by what this machine knows of it."""
    found = kept(host)
    return row if found is None else improved(row, found.facts)


def _entries() -> dict[str, Any]:
    document = recall(FILE)
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        return {}
    found = document.get("registries")
    return dict(found) if isinstance(found, dict) else {}


def _parsed(entry: Any) -> Kept | None:
    try:
        at = datetime.fromisoformat(entry["at"])
        facts = entry["facts"]
        texts = (entry["version"], entry["repository"], *facts, *facts.values())
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    if at.tzinfo is None or not all(isinstance(text, str) for text in texts):
        return None
    return Kept(at, entry["version"], entry["repository"], facts)
