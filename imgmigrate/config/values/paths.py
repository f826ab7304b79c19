"""Resolve the paths of a config: relative to the config's folder. No I/O."""

from __future__ import annotations

import os.path
from pathlib import Path, PurePath

__all__ = ["default_place", "place_of", "resolve_path"]


def resolve_path(text: str, base: Path) -> Path:
    """Make a path absolute and normal; ValueError for what nobody would expand."""
    if text == "~" or text.startswith("~/"):
        msg = "~ is not expanded; write ${HOME}"
        raise ValueError(msg)
    return Path(os.path.normpath(base / text))


def default_place(config: PurePath) -> str:
    """Where the state of a config is if nobody says otherwise, seen from the config's folder."""
    return f"state/{config.stem}"


def place_of(folder: Path, base: Path, *, named: Path) -> str:
    """Say where a folder is as seen from a config's folder `base`, for people and other machines.

    `named` is how it was asked for: what was absolute stays so where it does not lie below, or
    two checkouts at different depths would call one folder by two names.
    """
    relative = Path(os.path.relpath(folder, base))
    is_elsewhere = relative.parts[:1] == ("..",)
    return (folder if named.is_absolute() and is_elsewhere else relative).as_posix()
