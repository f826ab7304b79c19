"""Say what is wrong with a state folder, and what to do about it.

Pure: it turns system errors and damage into `StateError`s; nobody else words them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from imgmigrate.errors import StateError
from imgmigrate.remedies import remedy
from imgmigrate.state.lines.sealing import explain

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.state.lines.journal import Damage

__all__ = [
    "damaged",
    "damaged_journal",
    "grown",
    "intruded",
    "torn",
    "unlockable",
    "unreadable",
    "unwritable",
]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def unwritable(path: Path, error: OSError) -> StateError:
    """Explain why a file of the state cannot be written."""
    if error.errno in _FULL:
        hint = "free some space there and run the same command again; what is recorded is intact"
    elif error.errno in _FORBIDDEN:
        hint = "make it writable for this user, or choose another folder (state.path, `state`)"
    else:
        hint = "check the folder, or choose another one (state.path, `state`)"
    return StateError(f"state {path}: cannot be written: {_cause(error)}", hint=hint)


def torn(path: Path, kept: Path) -> str:
    """Say that a journal ended in the middle of a line, and what became of it."""
    return (
        f"state {path}: a crash tore its last line, which is cut off and kept in {kept}; every"
        " record before it is safe, and the next apply settles what was in doubt"
    )


def unlockable(path: Path, error: OSError) -> StateError:
    """Explain why a state is not written where nothing keeps a second writer out."""
    return StateError(
        f"state {path}: its file system cannot lock it: {_cause(error)}",
        hint="put the state where files can be locked (state.path, `state`); an NFS mount needs"
        " its lock service",
    )


def intruded(path: Path) -> StateError:
    """Stop when another process writes the journal that is locked for us."""
    return StateError(
        f"state {path}: another process writes it, although it is locked",
        hint="its file system grants a lock to several at once (NFS mounted with nolock?): let"
        " one process write it, or choose another folder (state.path, `state`)",
    )


def unreadable(path: Path, error: OSError) -> StateError:
    """Explain why a file of the state cannot be read."""
    return StateError(
        f"state {path}: cannot be read: {_cause(error)}",
        hint="check the folder and its rights, or choose another one (state.path, `state`)",
    )


def damaged(path: Path, cause: str, hint: str) -> StateError:
    """Refuse a file that does not say what we wrote."""
    return StateError(f"state {path}: {cause}", hint=hint)


def damaged_journal(path: Path, damage: Damage) -> StateError:
    """Refuse a journal that is damaged before its tail."""
    return damaged(
        path,
        f"damaged at line {damage.line}, byte {damage.offset}: {damage.cause}",
        f"restore the file from your own backup; or {remedy('state', 'repair', dry_run=True)}"
        " shows what a cut at this byte would lose",
    )


def grown(folder: Path, error: OSError | ValueError) -> str:
    """Explain why a journal was not compacted, what that means, and what to do."""
    if not isinstance(error, OSError):
        cause, fix = explain(error), f"look with {remedy('state', 'repair', dry_run=True)}"
    elif error.errno in _FULL:
        cause, fix = _cause(error), "free some space there"
    else:
        cause, fix = _cause(error), "make the folder and what is in it writable for this user"
    return (
        f"state {folder}: its journal could not be compacted: {cause}; every record is safe, and"
        f" the journal only grows until a run can compact it: {fix}"
    )


def _cause(error: OSError) -> str:
    return error.strerror or str(error)
