"""Layouts as sources: what others named otherwise than a registry would is read, or told.

A destination is read by exact names alone: whoever pulls from it later asks for those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.events import NamesSkipped
from imgmigrate.oci.reference import LAYOUTS, Repository
from imgmigrate.stores.layout.store import LayoutStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.events import Sink
    from imgmigrate.stores.layout.index import Index

__all__ = ["LayoutSource"]

# Enough to see what kind of names they are; a layout may have thousands, of any length.
MOST_NAMES, LONGEST_NAME = 20, 200


class LayoutSource(LayoutStore):
    """Reads names with a path by their tag; emits `NamesSkipped` of folders that it cannot take."""

    def __init__(self, base: Path, sink: Sink) -> None:
        super().__init__(base)
        self._sink = sink
        self._told: set[str] = set()

    def _names(self, index: Index) -> Index:
        return index.by_path

    def _tell_skipped(self, repo: str, names: Sequence[str]) -> None:
        if names and repo not in self._told:
            self._told.add(repo)
            some = tuple(name[:LONGEST_NAME] for name in sorted(names)[:MOST_NAMES])
            self._sink.emit(NamesSkipped(Repository(LAYOUTS, repo), some, len(names)))
