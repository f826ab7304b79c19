"""Name what a state holds at a glance, for who types: quick, and never an error.

Nothing is verified and no model is loaded, so a damaged line may hide one name or show one too
many: nothing is decided by what this says.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["addresses", "plans", "runs"]

# Bytes of a file that are read: a million records would take longer than anybody waits.
MOST_READ = 64 * 1024 * 1024
_SHA256 = re.compile("[0-9a-f]{64}")


def addresses(folder: Path) -> list[str]:
    """The addresses with a live record, sorted."""
    live: dict[str, None] = {}
    for line in _lines(folder):
        kind, address = _kind(line), _after(line, b'"address":"')
        # Lines of the snapshot that say nothing of the kind are tombstones, or claims.
        if kind in ("snapshot", "record") and b'"status":"live"' in line:
            live[address] = None
        elif kind in ("record", "remove"):
            live.pop(address, None)
        elif kind == "move" and address in live:
            del live[address]
            live[_after(line, b'"to":"')] = None
    return sorted(live)


def runs(folder: Path) -> list[str]:
    """The names of the runs that it remembers, the newest first."""
    found: dict[str, None] = {}
    for line in _lines(folder):
        if line.startswith(b'{"format_version":'):
            with suppress(ValueError, TypeError, KeyError, AttributeError):
                found |= {str(run["run"]): None for run in json.loads(line).get("runs", ())}
        elif _kind(line) == "begin":
            found[_after(line, b'"run":"')] = None
    return list(reversed(found))


def plans(folder: Path) -> list[str]:
    """The sha256 of the plans that are kept there, the newest first."""
    found: list[tuple[float, str]] = []
    with suppress(OSError):
        found.extend(
            (path.stat().st_mtime, path.stem)
            for path in (folder / "plans").glob("*.json")
            if _SHA256.fullmatch(path.stem)
        )
    return [sha256 for _, sha256 in sorted(found, reverse=True)]


def _lines(folder: Path) -> Iterator[bytes]:
    """The lines of the snapshot, then those of the journal."""
    for name in ("snapshot.jsonl", "journal.jsonl"):
        with suppress(OSError), (folder / name).open("rb") as file:
            yield from file.readlines(MOST_READ)


def _kind(line: bytes) -> str:
    """What a journal's line is; `snapshot` for any of the snapshot."""
    return _after(line, b'"kind":"') if line.startswith(b'{"sequence":') else "snapshot"


def _after(line: bytes, key: bytes) -> str:
    """The text behind the first `key`; none of the names that are asked for holds an escape."""
    return line.partition(key)[2].partition(b'"')[0].decode(errors="replace")
