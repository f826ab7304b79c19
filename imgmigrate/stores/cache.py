"""Keep manifests that were read, by digest, in a folder of this machine: none is read twice.

Each file is the media type, a newline, and the raw bytes; what a file holds is verified on
every read, so a damaged, forged or half-written one is only a miss. Losing the folder costs
requests. What was put or read a moment ago is still in memory: a plan looks at each manifest
several times, and of thousands the reading and parsing would be a good part of its work.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from imgmigrate.files import PRIVATE_FILE, make_folder, write_all
from imgmigrate.oci.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest

__all__ = ["ManifestCache"]

logger = logging.getLogger(__name__)

# A manifest is a few KB: this keeps some hundred thousand, in a folder nobody has to watch.
LARGEST_CACHE = 512 * 1024 * 1024


# Of raw bytes: some ten thousand manifests, which parsed take a few times as much. Enough that a
# plan reads its manifests once, also where nothing may be written.
LARGEST_MEMORY = 64 * 1024 * 1024


class ManifestCache:
    """Manifests by digest in one folder; a folder that cannot be used is no cache, no error.

    Those that were met first are kept in memory too, up to `LARGEST_MEMORY` bytes.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        # The algorithms whose folders are known to be there.
        self._made: set[str] = set()
        self._kept: dict[Digest, Manifest] = {}
        self._room = LARGEST_MEMORY

    def get(self, digest: Digest) -> Manifest | None:
        """Return the manifest if it is here and sound."""
        kept = self._kept.get(digest)
        if kept is not None or self._folder is None:
            return kept
        try:
            with open(self._path(self._folder, digest), "rb") as file:
                media_type, _, raw = file.read().partition(b"\n")
            found = Manifest.parse(raw, media_type.decode("ascii"), expected=digest)
        except (OSError, ValueError):
            return None
        self._remember(found)
        return found

    def put(self, manifest: Manifest) -> None:
        """Keep a manifest."""
        self._remember(manifest)
        if self._folder is None:
            return
        algorithm = manifest.digest.algorithm
        try:
            if algorithm not in self._made:
                make_folder(self._folder / algorithm)
                self._made.add(algorithm)
            path = self._path(self._folder, manifest.digest)
            _write(path, manifest.media_type.encode("ascii") + b"\n" + manifest.raw)
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
    def _path(folder: Path, digest: Digest) -> str:
        return f"{folder}/{digest.algorithm}/{digest.hex}"


def _write(path: str, data: bytes) -> None:
    """Write in place: whoever reads a part of it has a miss, so no second name is needed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
