"""Keep manifests that were read, by digest, in a folder of this machine: none is read twice.

Each file is the media type, a newline, and the raw bytes; what a file holds is verified on
every read, so a damaged or forged one is only a miss. Losing the folder costs requests.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from imgmigrate.files import make_folder, write_atomically
from imgmigrate.oci.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest

__all__ = ["ManifestCache"]

logger = logging.getLogger(__name__)

# A manifest is a few KB: this keeps some hundred thousand, in a folder nobody has to watch.
LARGEST_CACHE = 512 * 1024 * 1024


# Where nothing may be written: enough that a plan reads its manifests once.
LARGEST_MEMORY = 64 * 1024 * 1024


class ManifestCache:
    """Manifests by digest in one folder; a folder that cannot be used is no cache, no error.

    Without a folder those that were read first are kept in memory, up to `LARGEST_MEMORY` bytes.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: dict[Digest, Manifest] = {}
        self._room = LARGEST_MEMORY

    def get(self, digest: Digest) -> Manifest | None:
        """Return the manifest if it is here and sound."""
        if self._folder is None:
            return self._kept.get(digest)
        try:
            media_type, _, raw = self._path(self._folder, digest).read_bytes().partition(b"\n")
            return Manifest.parse(raw, media_type.decode("ascii"), expected=digest)
        except (OSError, ValueError):
            return None

    def put(self, manifest: Manifest) -> None:
        """Keep a manifest."""
        if self._folder is None:
            self._remember(manifest)
            return
        path = self._path(self._folder, manifest.digest)
        try:
            make_folder(path.parent)
            data = manifest.media_type.encode("ascii") + b"\n" + manifest.raw
            write_atomically(path, data, durable=False)
        except OSError as error:
            logger.debug("manifest %s is not cached: %s", manifest.digest, error)

    def prune(self, largest: int = LARGEST_CACHE) -> None:
        """Drop the files that were written first until at most `largest` bytes are left."""
        files = []
        for algorithm in _entries(self._folder) if self._folder is not None else ():
            for entry in _entries(algorithm.path):
                # Another process may prune, or finish a file, at the same time.
                with contextlib.suppress(OSError):
                    found = entry.stat()
                    files.append((found.st_mtime, found.st_size, entry.path))
        excess = sum(size for _, size, _ in files) - largest
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            excess -= size

    def _remember(self, manifest: Manifest) -> None:
        size = len(manifest.raw)
        if manifest.digest not in self._kept and size <= self._room:
            self._kept[manifest.digest] = manifest
            self._room -= size

    @staticmethod
    def _path(folder: Path, digest: Digest) -> Path:
        return folder / digest.algorithm / digest.hex


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
