"""Write the first line of a plan: what it was made from, and whether it is the whole."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

from imgmigrate import __version__
from imgmigrate.plan import Action, Filters, Header, StateBinding, Summary
from imgmigrate.state.lock import now, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.plan import Change
    from imgmigrate.state.record import State

__all__ = ["git_commit", "heading"]


async def heading(
    config: Config,
    state: State,
    changes: Sequence[Change],
    unchanged: int,
    *,
    filters: Filters,
    refresh_only: bool = False,
    undoes: str | None = None,
    notes: tuple[str, ...] = (),
) -> Header:
    """Sum a plan up and bind it to its config, its commit and its state.

    `notes` are what whoever reviews it must know of how the sources were read.
    """
    return Header(
        tool_version=__version__,
        created_at=timestamp(now()),
        config_sha256=config.sha256 or None,
        lock_sha256=config.lock_sha256 or None,
        git_commit=await asyncio.to_thread(git_commit, config.base),
        state=StateBinding(lineage=state.lineage, sequence=state.sequence, head=state.head),
        filters=filters,
        refresh_only=refresh_only,
        undoes=undoes,
        # Rows that are not of the rules are not of how the rules were read either.
        notes=notes if undoes or refresh_only else (*config.notes, *notes),
        complete=filters == Filters() and all(c.action is not Action.ERROR for c in changes),
        summary=Summary.of(changes, unchanged),
    )


def git_commit(folder: Path) -> str | None:
    """Name the commit that a folder is checked out at; None outside of git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
