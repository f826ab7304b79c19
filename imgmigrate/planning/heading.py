"""Write the first line of a plan: what it was made from, and whether it is the whole."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

from imgmigrate import __version__
from imgmigrate.clock import now, timestamp
from imgmigrate.plan import Action, Ends, Filters, Header, StateBinding, Summary
from imgmigrate.rules.joins import ends_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.config.values.shares import Share
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
    unwanted: int = 0,
    refresh_only: bool = False,
    undoes: str | None = None,
    max_delete: Share | None = None,
    notes: tuple[str, ...] = (),
) -> Header:
    """Sum a plan up and bind it to its config, its commit and its state.

    `notes` are what whoever reviews it must know of how the sources were read.
    """
    bound = StateBinding()
    if state.is_known:
        bound = StateBinding(
            lineage=state.lineage,
            sequence=state.sequence,
            head=state.head,
            name=config.name or None,
            place=config.place or None,
        )
    # What a stranger's checkout tells git to run is not run.
    commit = None if config.is_untrusted else await asyncio.to_thread(git_commit, config.base)
    return Header(
        tool_version=__version__,
        created_at=timestamp(now()),
        config=_named(config.path) if config.name else None,
        config_sha256=config.sha256 or None,
        ends=_ends(config) if config.is_oneshot and not undoes else None,
        lock_sha256=config.lock_sha256 or None,
        git_commit=commit,
        state=bound,
        stateless=not state.is_known,
        filters=filters,
        refresh_only=refresh_only,
        undoes=undoes,
        # Rows that are not of the rules are not of how the rules were read either.
        notes=notes if undoes or refresh_only else (*config.notes, *notes),
        max_delete=None if max_delete is None else str(max_delete),
        complete=filters == Filters() and all(c.action is not Action.ERROR for c in changes),
        summary=Summary.of(changes, unchanged, unwanted),
    )


def _named(path: Path) -> str:
    """The config's path as commands elsewhere can repeat it: what is of this machine stays here."""
    is_near = not path.is_absolute() and ".." not in path.parts
    return path.as_posix() if is_near else path.name


def _ends(config: Config) -> Ends:
    source, destinations = ends_of(config.globs[0] if config.globs else config.rules[0])
    return Ends(source=source, destinations=destinations)


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
