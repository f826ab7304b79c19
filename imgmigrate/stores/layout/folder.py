"""One OCI layout as files: every blocking operation on it, and none that waits for a peer.

Knows image-spec `image-layout.md`; nothing here decides what to copy. Layouts come from
others: nothing inside is followed out of the folder, and only regular files count.
Temporary files stand in the layout's own folder, because `umoci gc` fails on any name in
`blobs/` that is no digest. Raises OSError for the system's refusals, StoreError for the rest.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import tempfile
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import ProtocolError
from imgmigrate.files import make_folder, sync_folder, write_all
from imgmigrate.oci.manifest import LARGEST_MANIFEST, Manifest
from imgmigrate.stores.layout.files import (
    FILE_MODE,
    NotRegular,
    file_mode,
    open_file,
    open_folder,
    open_regular,
    read_file,
)
from imgmigrate.stores.layout.indexfile import LOCK, TEMPORARY, IndexFile
from imgmigrate.stores.layout.parts import missing_by_size
from imgmigrate.stores.layout.proofs import Proofs, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.layout.index import Index

__all__ = ["PIECE", "LayoutFolder"]

# Of a new layout, less the umask; see `file_mode` for what is there already.
FOLDER_MODE = 0o755
# Big enough that a thread's turn costs little, small enough for 64 streams: bytes.
PIECE = 512 * 1024
# A running upload writes to its file; one untouched this long, in seconds, has lost its process.
ABANDONED = 24 * 3600
VERSION = "1.0.0"
ALGORITHMS = ("sha256", "sha512")
# The real one has 31 bytes.
LARGEST_VERSION = 64 * 1024


class LayoutFolder:
    """A layout at `path`; `name` is what errors call it."""

    def __init__(self, path: Path, name: str, proofs: Proofs | None = None) -> None:
        self.path, self.name = path, name
        self._names = IndexFile(path, name, self._has_image)
        self.proofs = proofs or Proofs()
        self._is_prepared = False

    def exists(self) -> bool:
        """Tell whether the layout is there; an empty folder is none yet.

        ProtocolError if something else is there.
        """
        try:
            raw = self._read_version()
        except NotADirectoryError:
            raise ProtocolError(self.name, f"{self.path} is not a folder") from None
        if raw is None and self._is_empty():
            return False
        # Not empty: another process may have made the layout between the two looks.
        raw = self._read_version() if raw is None else raw
        if raw is None:
            raise ProtocolError(
                self.name,
                f"{self.path} is not an OCI layout: it has no oci-layout file",
                hint="name a layout, or a folder that does not exist yet",
            )
        try:
            version = json.loads(raw).get("imageLayoutVersion")
        except (ValueError, AttributeError, RecursionError):
            version = None
        if not isinstance(version, str) or version.partition(".")[0] != "1":
            raise ProtocolError(
                self.name,
                f"{self.path} is an OCI layout of version {version!r}, not {VERSION}",
                hint="its file oci-layout must say so: see image-spec image-layout.md",
            )
        return True

    def prepare(self) -> None:
        """Make the layout if need be, and remove what killed runs left in it.

        A layout that cannot be locked is refused now, before any byte is brought.
        """
        if self._is_prepared:
            return
        if not self.exists():
            make_folder(self.path, mode=FOLDER_MODE)
            self._write_version()
        with self._names.locked():
            self._sweep()
        self._is_prepared = True

    def forget(self) -> None:
        """Prepare again before the next write: something went wrong with the last."""
        self._is_prepared = False

    def index(self) -> Index:
        """Read `index.json`; an empty one where there is none yet."""
        return self._names.read()

    def tag(self, tag: str, descriptor: Descriptor) -> None:
        """Point a tag at a manifest, atomically, also beside other processes that do so."""
        self._names.tag(tag, descriptor)

    def untag(self, tag: str) -> bool:
        """Take a tag out of the index, atomically; False if it is not there."""
        return self._names.untag(tag)

    def restore_tags(self) -> None:
        """Put back what others took away of the tags that were written here."""
        self._names.restore()

    def read_blob(self, digest: Digest) -> bytes | None:
        """Read a whole blob that is a manifest; None if it is not there."""
        descriptor = self.open_blob(digest)
        if descriptor is None:
            return None
        return read_file(descriptor, self.name, f"blob {digest}", LARGEST_MANIFEST)

    def open_blob(self, digest: Digest) -> int | None:
        """Open a blob for reading; None if it is not there, ProtocolError if it is no file."""
        folder = self._open_blobs(digest.algorithm)
        if folder is None:
            return None
        try:
            return open_regular(digest.hex, folder)
        except FileNotFoundError:
            return None
        except NotRegular:
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
        os.fchmod(descriptor, file_mode(self.path))
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
            readers = os.stat(digest.hex, dir_fd=source, follow_symlinks=False).st_mode
            if file_mode(self.path) & ~readers:
                # Who may read this layout may not read that one's files.
                return False
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

    def _read_version(self) -> bytes | None:
        descriptor = open_file(self.path, "oci-layout", self.name)
        if descriptor is None:
            return None
        return read_file(descriptor, self.name, "oci-layout", LARGEST_VERSION)

    def _write_version(self) -> None:
        """Write the layout's first file, by whose rights those of all others go.

        Its own are what the umask, or the folder's default ACL, leaves.
        """
        data = json.dumps({"imageLayoutVersion": VERSION}, separators=(",", ":")).encode()
        path = self.path / f"{TEMPORARY}{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(path, self.path / "oci-layout")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        sync_folder(self.path)

    def _is_empty(self) -> bool:
        try:
            names = os.listdir(self.path)
            return all(name.startswith(TEMPORARY) or name == LOCK for name in names)
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
            layout = open_folder(self.path)
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
            if folder is not None:
                self._share(folder)
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return folder

    def _share(self, folder: int) -> None:
        """Let those look into a new folder who may read the layout's files."""
        readers = file_mode(self.path) & 0o444
        mode = stat.S_IMODE(os.fstat(folder).st_mode) & ~0o055
        os.fchmod(folder, mode | readers | readers >> 2)

    def _has_image(self, digest: Digest) -> bool:
        """Tell whether a manifest is there, and all that it reaches in files of their size."""
        raw = self.read_blob(digest)
        if raw is None or not digest.matches(raw):
            return False
        try:
            return not missing_by_size(self, Manifest.parse(raw, expected=digest))
        except (ProtocolError, ValueError):
            return False
