"""The file `index.json` of one layout, changed beside others who change it too.

Other imgmigrates are kept out by a lock on a file of its own: on NFS only a file can be locked,
and other tools leave unknown files alone. skopeo, umoci and crane take no lock, and write back
what they read up to minutes before. So a change is made only of what was read last, it is looked
at afterwards, and what another writer took back is put in again with the next change, or at the
end.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from typing import TYPE_CHECKING

from imgmigrate.errors import Rejected, TransientError
from imgmigrate.files import sync_folder, write_all
from imgmigrate.lockfile import NoLocks, try_lock
from imgmigrate.oci.manifest import OCI_INDEX
from imgmigrate.stores.layout.files import file_mode, open_file, read_file
from imgmigrate.stores.layout.index import LARGEST_INDEX, Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest

__all__ = ["CLOCK_GRAIN", "LOCK", "TEMPORARY", "IndexFile"]

TEMPORARY = ".imgmigrate-"
# It stays where it is: to remove a lock's file is to let two in. Not a temporary name.
LOCK = ".imgmigrate.lock"
NAME = "index.json"
# Another process holds the index for milliseconds; seconds.
LOCK_TIMEOUT, LOCK_POLL = 30.0, 0.02
# Each time somebody without a lock was quicker.
ATTEMPTS = 10
# A file rewritten in place within the clock's grain looks unchanged: nanoseconds.
CLOCK_GRAIN = 100_000_000

# Device, inode, size and time of change: equal for the same bytes.
Stamp = tuple[int, int, int, int]


class IndexFile:
    """`index.json` of the layout at `path`; `name` is what errors call the layout.

    `has_image` tells whether an image is there, whole: no name is put back without it.
    Any thread may `read`; one at a time may change it.
    """

    def __init__(self, path: Path, name: str, has_image: Callable[[Digest], bool]) -> None:
        self._path, self._name, self._has_image = path, name, has_image
        self._seen: tuple[Stamp, Index] | None = None
        # What this process has written last, and every name that it wrote and did not take out.
        self._own: Stamp | None = None
        self._written: dict[str, Descriptor] = {}

    def read(self) -> Index:
        """Read it; an empty index where there is none yet."""
        return self._read()[0]

    def tag(self, tag: str, descriptor: Descriptor) -> None:
        """Point a tag at a manifest; on return the file shows it.

        TransientError if somebody else undoes it as often as it is tried, Rejected if the file
        system has no locks.
        """

        def change(index: Index, lost: dict[str, Descriptor]) -> bytes | None:
            if index.shows(tag, descriptor) and not lost:
                return None
            return index.tagged({**lost, tag: descriptor})

        self._change(change, without=tag)
        # After the file was seen to show it: what was never there is not put back.
        self._written[tag] = descriptor

    def untag(self, tag: str) -> bool:
        """Take a tag out; False if it is not there."""
        # Before the file is changed: then nothing puts it back.
        self._written.pop(tag, None)
        return self._change(lambda index, _: index.untagged(tag) if index.has(tag) else None)

    def restore(self) -> None:
        """Put back what others took away of the names that were written here."""
        if self._written and self._stamp() != self._own:
            self._change(lambda index, lost: index.tagged(lost) if lost else None)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other imgmigrates from it; Rejected where nothing can."""
        descriptor = self._lock()
        try:
            yield
        finally:
            os.close(descriptor)

    def _change(
        self,
        change: Callable[[Index, dict[str, Descriptor]], bytes | None],
        *,
        without: str | None = None,
    ) -> bool:
        """Write what `change` makes of the index, until it is seen there; False for None."""
        wrote = False
        for _ in range(ATTEMPTS):
            with self.locked():
                # Read under the lock: that keeps other imgmigrates from writing until it is
                # replaced, and the stamp tells of those whom no lock keeps out.
                index, stamp = self._read()
                data = change(index, self._lost(index, stamp, without))
                if data is None:
                    return wrote
                if self._write(data, stamp):
                    return True
                wrote = True
            time.sleep(LOCK_POLL)
        raise TransientError(
            self._name,
            f"{NAME} is written all the time by somebody else, who takes back what is written",
            hint="let one tool at a time write to this layout",
        )

    def _lost(
        self, index: Index, stamp: Stamp | None, without: str | None
    ) -> dict[str, Descriptor]:
        """Find our names that another writer took back, if their images are still there, whole.

        A layout whose index is gone was taken away as a whole.
        """
        if stamp is None or stamp == self._own:
            return {}
        return {
            tag: descriptor
            for tag, descriptor in self._written.items()
            if tag != without and not index.has(tag) and self._has_image(descriptor.digest)
        }

    def _read(self) -> tuple[Index, Stamp | None]:
        descriptor = open_file(self._path, NAME, self._name)
        if descriptor is None:
            empty = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
            return Index(self._name, empty), None
        stamp = _stamp(os.fstat(descriptor))
        if self._seen and self._seen[0] == stamp:
            os.close(descriptor)
            return self._seen[1], stamp
        index = Index.parse(self._name, read_file(descriptor, self._name, NAME, LARGEST_INDEX))
        if time.time_ns() - stamp[-1] > CLOCK_GRAIN:
            self._seen = stamp, index
        return index, stamp

    def _write(self, data: bytes, before: Stamp | None) -> bool:
        """Replace the file if it is as it was read; tell whether the new one is there then."""
        mode = file_mode(self._path)
        descriptor, temporary = tempfile.mkstemp(dir=self._path, prefix=TEMPORARY)
        # Open to the end: while it is, no other file can have its inode.
        with contextlib.closing(os.fdopen(descriptor, "wb", buffering=0)):
            try:
                write_all(descriptor, data)
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
                if self._stamp() != before:
                    return False
                os.replace(temporary, self._path / NAME)
                temporary = ""
            finally:
                if temporary:
                    with contextlib.suppress(OSError):
                        os.unlink(temporary)
            sync_folder(self._path)
            self._own = _stamp(os.fstat(descriptor))
            return self._stamp() == self._own

    def _stamp(self) -> Stamp | None:
        # Opened, not looked at by its name: on NFS only that asks the server again.
        descriptor = open_file(self._path, NAME, self._name)
        if descriptor is None:
            return None
        try:
            return _stamp(os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def _lock(self) -> int:
        path, deadline = self._path / LOCK, time.monotonic() + LOCK_TIMEOUT
        mode = _lock_mode(os.stat(self._path).st_mode)
        while True:
            try:
                descriptor = try_lock(path, mode=mode)
            except NoLocks as error:
                raise Rejected(
                    self._name,
                    f"its file system cannot lock {path}: {error.strerror}",
                    hint="without a lock two writers lose each other's tags; choose a folder where"
                    " files can be locked (an NFS mount needs its lock service)",
                ) from None
            if descriptor is not None:
                return descriptor
            if time.monotonic() > deadline:
                raise TransientError(self._name, f"another process keeps {NAME} locked")
            time.sleep(LOCK_POLL)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _lock_mode(folder: int) -> int:
    """Whoever may write in the folder may lock, and nobody else can hold us up."""
    mode = stat.S_IRUSR | stat.S_IWUSR
    for writes, rights in ((stat.S_IWGRP, 0o060), (stat.S_IWOTH, 0o006)):
        mode |= rights if folder & writes else 0
    return mode
