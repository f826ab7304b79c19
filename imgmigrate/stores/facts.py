"""Keep what holds for a digest for ever: one file of `digest fact` lines in this machine's cache.

A digest never changes what it names, so such a fact is read once. Losing the file costs requests,
and a folder that cannot be used is no error.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

from imgmigrate.files import make_folder, write_atomically
from imgmigrate.oci.reference import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Facts"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Facts(Generic[T]):
    """Facts by digest in one file; `parse` raises ValueError for a text that is none.

    Without a path nothing is kept.
    """

    def __init__(
        self, path: Path | None, parse: Callable[[str], T], show: Callable[[T], str]
    ) -> None:
        self._path, self._parse, self._show = path, parse, show

    def read(self) -> dict[Digest, T]:
        """Read the file; a line that makes no sense is one that is not there. Blocking."""
        if self._path is None:
            return {}
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except (OSError, ValueError):
            return {}
        found = {}
        for line in lines:
            digest, _, text = line.partition(" ")
            try:
                found[Digest.parse(digest)] = self._parse(text)
            except ValueError:
                continue
        return found

    def add(self, fresh: Mapping[Digest, T]) -> bool:
        """Write new facts beside those in the file; False if it cannot be written. Blocking."""
        if self._path is None:
            return False
        # Another process may have written meanwhile.
        merged = {**self.read(), **fresh}
        lines = "".join(f"{digest} {self._show(merged[digest])}\n" for digest in sorted(merged))
        try:
            make_folder(self._path.parent)
            write_atomically(self._path, lines.encode(), durable=False)
        except OSError as error:
            logger.debug("%s is not kept: %s", self._path, error)
            return False
        return True
