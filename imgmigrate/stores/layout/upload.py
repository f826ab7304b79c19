"""A blob on its way into a layout: a temporary file that gets its name when it is whole."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from imgmigrate.errors import IntegrityError
from imgmigrate.files import in_thread, sync_data, write_all
from imgmigrate.stores.layout.proofs import Stamp
from imgmigrate.stores.layout.work import write

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.layout.folder import LayoutFolder

__all__ = ["LayoutUpload"]


class LayoutUpload:
    """A file that becomes a blob; see `Upload`."""

    held = 0

    def __init__(
        self, folder: LayoutFolder, subject: str, descriptor: Descriptor, file: int, path: str
    ) -> None:
        self._folder, self._subject, self._descriptor = folder, subject, descriptor
        self._file, self._path, self._written = file, path, 0

    async def write(self, piece: bytes) -> None:
        """Append a piece."""
        await write(self._subject, self._folder, lambda: write_all(self._file, piece))
        self._written += len(piece)

    async def commit(self) -> None:
        """Make the bytes durable, then give them the blob's name."""
        if self._written != self._descriptor.size:
            raise IntegrityError(
                self._subject, f"{self._written} bytes came, not {self._descriptor.size}"
            )

        def finish() -> None:
            sync_data(self._file)
            stamp = Stamp.of(self._file)
            self._close()
            self._folder.place(self._path, self._descriptor.digest, stamp)

        await write(self._subject, self._folder, finish)

    async def abort(self) -> None:
        """Close and remove the file."""
        await in_thread(self.discard)

    def discard(self) -> None:
        """Close and remove the file. Blocking."""
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
