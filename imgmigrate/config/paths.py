"""Resolve the paths of a config: relative to the config's folder. No I/O."""

from __future__ import annotations

import os.path
from pathlib import Path

__all__ = ["resolve_path"]


def resolve_path(text: str, base: Path) -> Path:
    """Make a path absolute and normal; ValueError for what nobody would expand."""
    if text == "~" or text.startswith("~/"):
        msg = "~ is not expanded; write ${HOME}"
        raise ValueError(msg)
    return Path(os.path.normpath(base / text))
