"""One OCI layout as files: every blocking operation on it, and none that waits for a peer.

Knows image-spec `image-layout.md`; nothing here decides what to copy. Layouts come from
others: nothing inside is followed out of the folder, and only regular files count.
Temporary files stand in the layout's own folder, because `umoci gc` fails on any name in
`blobs/` that is no digest. Raises OSError for the system's refusals, StoreError for the rest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import stat
import tempfile
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import ProtocolError, TransientError
from imgmigrate.files import make_folder, sync_folder, write_all, write_atomically
from imgmigrate.oci.manifest import LARGEST_MANIFEST, OCI_INDEX
from imgmigrate.stores.layout_index import Index
from imgmigrate.stores.proofs import Proofs, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest

__all__ = ["PIECE", "LayoutFolder"]

# Layouts are handed around, so others may read them (umask permitting nothing more).
FILE_MODE = 0o644
FOLDER_MODE = 0o755
# Big enough that a thread's turn costs little, small enough for 64 streams: bytes.
PIECE = 512 * 1024
TEMPORARY = ".imgmigrate-"
# A running upload writes to its file; one untouched this long, in seconds, has lost its process.
ABANDONED = 24 * 3600
VERSION = "1.0.0"
ALGORITHMS = ("sha256", "sha512")
# 100,000 entries; more is no index but an attack: bytes.
LARGEST_INDEX = 64 * 1024 * 1024
# Another process holds the index for milliseconds; seconds.
LOCK_TIMEOUT, LOCK_POLL = 30.0, 0.02
# A file rewritten in place within the clock's grain looks unchanged: nanoseconds.
CLOCK_GRAIN = 100_000_000
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


class LayoutFolder:
    """A layout at `path`; `name` is what errors call it."""

    def __init__(self, path: Path, name: str, proofs: Proofs | None = None) -> None:
        self.path, self.name = path, name
        self.proofs = proofs or Proofs()
        self._index: tuple[tuple[int, int, int], Index] | None = None
        self._is_prepared = False

    def exists(self) -> bool:
        """Tell whether the layout is there; an empty folder is none yet.

        ProtocolError if something else is there.
        """
        try:
            raw = self._read("oci-layout", LARGEST_MANIFEST)
        except NotADirectoryError:
            raise ProtocolError(self.name, f"{self.path} is not a folder") from None
        if raw is None and self._is_empty():
            return False
        # Not empty: another process may have made the layout between the two looks.
        raw = self._read("oci-layout", LARGEST_MANIFEST) if raw is None else raw
        if raw is None:
            raise ProtocolError(
                self.name,
                f"{self.path} is not an OCI layout: it has no oci-layout file",
                hint="name a layout, or a folder that does not exist yet",
            )
        try:
            version = json.loads(raw).get("imageLayoutVersion")
        except (ValueError, AttributeError):
            version = None
        if not isinstance(version, str) or version.partition(".")[0] != "1":
            raise ProtocolError(
                self.name,
                f"{self.path} is an OCI layout of version {version!r}, not {VERSION}",
                hint="its file oci-layout must say so: see image-spec image-layout.md",
            )
        return True

    def prepare(self) -> None:
        """Make the layout if need be, and remove what killed runs left in it."""
        if self._is_prepared:
            return
        if not self.exists():
            make_folder(self.path, mode=FOLDER_MODE)
            version = json.dumps({"imageLayoutVersion": VERSION}, separators=(",", ":"))
            self._replace("oci-layout", version.encode(), FILE_MODE)
        self._sweep()
        self._is_prepared = True

    def forget(self) -> None:
        """Prepare again before the next write: something went wrong with the last."""
        self._is_prepared = False

    def index(self) -> Index:
        """Read `index.json`; an empty one where there is none yet."""
        try:
            found = (self.path / "index.json").stat()
        except FileNotFoundError:
            return Index(self.name, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._index and self._index[0] == stamp:
            return self._index[1]
        index = Index.parse(self.name, self._read("index.json", LARGEST_INDEX) or b"")
        if time.time_ns() - found.st_mtime_ns > CLOCK_GRAIN:
            self._index = stamp, index
        return index

    def tag(self, tag: str, descriptor: Descriptor) -> None:
        """Point a tag at a manifest, atomically, also beside other processes that do so."""
        with self._locked():
            index = self.index()
            if not index.shows(tag, descriptor):
                self._replace("index.json", index.tagged(tag, descriptor), self._mode())

    def untag(self, tag: str) -> bool:
        """Take a tag out of the index, atomically; False if it is not there."""
        with self._locked():
            index = self.index()
            if tag not in index.tags:
                return False
            self._replace("index.json", index.untagged(tag), self._mode())
            return True

    def read_blob(self, digest: Digest) -> bytes | None:
        """Read a whole blob that is a manifest; None if it is not there."""
        descriptor = self.open_blob(digest)
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            self._check_size(f"blob {digest}", os.fstat(descriptor).st_size, LARGEST_MANIFEST)
            return file.read()

    def open_blob(self, digest: Digest) -> int | None:
        """Open a blob for reading; None if it is not there, ProtocolError if it is no file."""
        folder = self._open_blobs(digest.algorithm)
        if folder is None:
            return None
        try:
            return _open_regular(digest.hex, folder)
        except FileNotFoundError:
            return None
        except _NotRegular:
            raise self._not_regular(digest) from None
        finally:
            os.close(folder)

    def _not_regular(self, digest: Digest) -> ProtocolError:
        return ProtocolError(
            self.name,
            f"blobs/{digest.algorithm}/{digest.hex} is not a regular file",
            hint="links out of a layout are not followed; put the blob itself there",
        )

    def temporary(self) -> tuple[int, str]:
        """Create a file in the layout for bytes on their way in."""
        self.prepare()
        descriptor, path = tempfile.mkstemp(dir=self.path, prefix=TEMPORARY)
        os.fchmod(descriptor, FILE_MODE)
        return descriptor, path

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Tell the sizes of those blobs that are there, in bytes; ProtocolError as `open_blob`."""
        wanted: defaultdict[str, list[Digest]] = defaultdict(list)
        for digest in digests:
            wanted[digest.algorithm].append(digest)
        found = {}
        for algorithm, names in wanted.items():
            folder = self._open_blobs(algorithm)
            if folder is None:
                continue
            try:
                for digest in names:
                    with contextlib.suppress(FileNotFoundError):
                        status = os.stat(digest.hex, dir_fd=folder, follow_symlinks=False)
                        if not stat.S_ISREG(status.st_mode):
                            raise self._not_regular(digest)
                        found[digest] = status.st_size
            finally:
                os.close(folder)
        return found

    def place(self, temporary: str, digest: Digest, stamp: Stamp | None = None) -> None:
        """Give a finished, synced file its blob's name, in the place of what has it now.

        `stamp` is how the file looks, if its bytes were hashed on their way in.
        """
        folder = self._make_blobs(digest.algorithm)
        try:
            os.rename(temporary, digest.hex, dst_dir_fd=folder)
        finally:
            os.close(folder)
        if stamp is not None:
            self.proofs.add(digest, stamp)

    def write_blob(self, digest: Digest, data: bytes) -> None:
        """Write a small blob whole; its name is durable after `sync_names`."""
        descriptor, path = self.temporary()
        try:
            with contextlib.closing(os.fdopen(descriptor, "wb", buffering=0)):
                write_all(descriptor, data)
                os.fsync(descriptor)
                stamp = Stamp.of(descriptor)
            self.place(path, digest, stamp)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def link_blob(self, other: LayoutFolder, digest: Digest) -> bool:
        """Take a blob from another layout by a hard link; False where links are refused.

        Whoever calls has proved it there. What has its name here is replaced: it is wrong.
        """
        self.prepare()
        source = other._open_blobs(digest.algorithm)
        if source is None:
            return False
        name = f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            os.link(digest.hex, self.path / name, src_dir_fd=source, follow_symlinks=False)
        except OSError:  # another device, or a file system without links: then it is copied
            return False
        finally:
            os.close(source)
        try:
            self.place(os.fspath(self.path / name), digest)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(self.path / name)
        return True

    def sync_names(self) -> None:
        """Make the names of all blobs written so far durable."""
        blobs = self.path / "blobs"
        for folder in (*(blobs / name for name in ALGORITHMS), blobs, self.path):
            with contextlib.suppress(FileNotFoundError):
                sync_folder(folder)

    def _read(self, name: str, limit: int) -> bytes | None:
        try:
            with (self.path / name).open("rb") as file:
                self._check_size(name, os.fstat(file.fileno()).st_size, limit)
                return file.read()
        except FileNotFoundError:
            return None

    def _check_size(self, what: str, size: int, limit: int) -> None:
        if size > limit:
            raise ProtocolError(self.name, f"{what} has {size} bytes; the limit is {limit}")

    def _replace(self, name: str, data: bytes, mode: int) -> None:
        write_atomically(self.path / name, data, mode=mode, prefix=TEMPORARY)

    def _mode(self) -> int:
        """Keep the rights that others gave `index.json`."""
        with contextlib.suppress(FileNotFoundError):
            return stat.S_IMODE((self.path / "index.json").stat().st_mode)
        return FILE_MODE

    def _is_empty(self) -> bool:
        try:
            return all(name.startswith(TEMPORARY) for name in os.listdir(self.path))
        except FileNotFoundError:
            return True

    def _sweep(self) -> None:
        oldest = time.time() - ABANDONED
        for entry in os.scandir(self.path):
            # Another process may sweep at the same time.
            with contextlib.suppress(OSError):
                if (
                    entry.name.startswith(TEMPORARY)
                    and entry.stat(follow_symlinks=False).st_mtime < oldest
                ):
                    os.unlink(entry.path)

    def _open_blobs(self, algorithm: str) -> int | None:
        """Open `blobs/<algorithm>` step by step, so that no link is followed."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            layout = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        opened = [layout]
        try:
            for name in ("blobs", algorithm):
                opened.append(os.open(name, flags, dir_fd=opened[-1]))
            return opened.pop()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise ProtocolError(
                self.name,
                f"blobs/{algorithm} is not a folder inside the layout",
                hint="links out of a layout are not followed; put the folder itself there",
            ) from None
        finally:
            for each in opened:
                os.close(each)

    def _make_blobs(self, algorithm: str) -> int:
        folder = self._open_blobs(algorithm)
        if folder is None:
            make_folder(self.path / "blobs" / algorithm, mode=FOLDER_MODE)
            folder = self._open_blobs(algorithm)
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return folder

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from the index; the lock is on the folder, so it leaves no file."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TransientError(
                        self.name, "another process keeps index.json locked"
                    ) from None
                time.sleep(LOCK_POLL)
            except OSError as error:
                # Some network file systems lock no folders: then the last writer wins.
                if error.errno not in _NO_LOCKS:
                    raise
                return
            else:
                return


class _NotRegular(Exception):
    """The name is a link, a folder or a device."""


def _open_regular(name: str, folder: int) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _NotRegular from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _NotRegular
    return descriptor
