"""What this machine keeps beside the state of a test: each test has a place of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["cached", "clear_cache"]


def cached() -> list[Path]:
    """Every file of the cache."""
    return [path for path in _folder().rglob("*") if path.is_file()]


def clear_cache() -> None:
    """Forget what was read, as whoever clears their cache does."""
    shutil.rmtree(_folder(), ignore_errors=True)


def _folder() -> Path:
    return Path(os.environ["IMGMIGRATE_CACHE_DIR"])
