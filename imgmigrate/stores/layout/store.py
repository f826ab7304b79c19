"""OCI image layouts on disk as one store: what skopeo, umoci and crane read and write.

One folder is one repository. Every file operation runs in a thread; what the files look like
is told by `folder.py` and `index.py`. A blob's bytes are durable when `commit`
returns; its name is when the `put_manifest` of any manifest returns, and no tag is ever
written before that: one folder sync serves all blobs of an image.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.errors import IntegrityError, NotFound, ProtocolError, Rejected
from imgmigrate.matching import literal_segments, parse_pattern
from imgmigrate.oci.manifest import Descriptor, Manifest
from imgmigrate.oci.reference import LAYOUTS, Digest
from imgmigrate.stores.base import Damaged, Mounted, NoDeletes, Room
from imgmigrate.stores.companions import find_by_tags, once_each
from imgmigrate.stores.layout.disk import can_link, look_at_disk
from imgmigrate.stores.layout.folder import PIECE, LayoutFolder
from imgmigrate.stores.layout.parts import Prover, missing_by_size, parts
from imgmigrate.stores.layout.proofs import Proofs
from imgmigrate.stores.layout.subjects import Subjects
from imgmigrate.stores.layout.upload import LayoutUpload
from imgmigrate.stores.layout.walk import Walk
from imgmigrate.stores.layout.work import run, worded, write
from imgmigrate.stores.permit import permitted
from imgmigrate.stores.slots import Budget

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Callable,
        Collection,
        Iterable,
        Sequence,
    )
    from pathlib import Path

    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.layout.index import Index

__all__ = ["LayoutStore"]

# Disks need no limit; this only keeps the number of open files far below any ulimit.
STREAMS = 64

T = TypeVar("T")


class LayoutStore:
    """All OCI layouts; `repo` is a path relative to `base`, or an absolute one."""

    identity = LAYOUTS
    mounts_need_manifest = False
    mounts = True
    deletes_tags = True
    # Parts may be missing (image-spec `image-layout.md`: "fulfilled by an external blob store").
    takes_sparse = True
    is_metered = False
    is_waiting = is_resting = False

    def __init__(self, base: Path, proofs: Proofs | None = None) -> None:
        """Take paths relative to `base`; `proofs` remembers which blobs were read already."""
        self._base, self._proofs = base, proofs or Proofs()
        self._prover = Prover()
        self._subjects = Subjects()
        self.budget = Budget(LAYOUTS, STREAMS)
        self._folders: dict[str, LayoutFolder] = {}
        # By layout: its `IndexFile` is changed by one thread at a time, and those who wait for
        # their turn here take up no thread.
        self._tagging: dict[str, asyncio.Lock] = {}

    async def list_repositories(self, glob: str) -> list[str]:
        """List the layouts below the folder that stands before the first wildcard."""
        pattern = parse_pattern(f"{LAYOUTS}{glob}")
        top = literal_segments(glob)
        is_absolute = glob.startswith("/")
        root = self._base / ("/".join(top) or ("/" if is_absolute else "."))

        walk = Walk(None if is_absolute else self._base, pattern, f"{LAYOUTS}{glob}")
        deepest = None if "**" in glob else glob.count("/") + 1 - len(top)

        def look() -> None:
            if not root.is_dir():
                raise NotFound(f"{LAYOUTS}{glob}", f"there is no folder {root}")
            walk.below(root, deepest)

        await run(f"{LAYOUTS}{glob}", root, look)
        self._tell_skipped(glob, walk.skipped)
        return sorted(walk.found)

    async def list_tags(
        self, repo: str, *, skip: Callable[[str], object] | None = None
    ) -> list[str]:
        """List every name in `index.json` that is a valid tag; NotFound if there is no layout."""
        folder = self._folder(repo)

        def read() -> Index:
            if not folder.exists():
                raise NotFound(folder.name, f"there is no layout at {folder.path}")
            return self._names(folder.index())

        names = await run(folder.name, folder.path, read)
        if skip is not None:
            for name in names.skipped:
                skip(name)
        return names.tags

    async def entries(self, repo: str) -> list[tuple[str | None, Descriptor | ProtocolError]]:
        """List every entry of `index.json`, with its name where that is a tag.

        What is no descriptor, and an index that is none, says why. NotFound if there is no layout.
        """
        folder = self._folder(repo)

        def read() -> list[tuple[str | None, Descriptor | ProtocolError]]:
            if not folder.exists():
                raise NotFound(folder.name, f"there is no layout at {folder.path}")
            try:
                if not (folder.path / "index.json").exists():
                    raise ProtocolError(folder.name, "its index.json is missing")
                return list(folder.index().entries())
            except ProtocolError as error:
                return [(None, error)]

        return await run(folder.name, folder.path, read)

    def lacks(self, repo: str) -> bool:
        """Tell nothing: a folder is made when something is written."""
        return False

    async def head(self, repo: str, ref: str, *, to_write: bool = False) -> Descriptor | None:
        """Describe a manifest from its own verified bytes; None if it is not there."""
        found = await self._find(repo, ref)
        return found.descriptor if found else None

    async def look(
        self,
        repo: str,
        ref: str,
        *,
        is_new: bool = False,
        to_write: bool = False,
        keep: Callable[[Manifest], object] | None = None,
    ) -> Descriptor | None:
        """Describe what a name shows: from its bytes, so `head` tells all; nothing is kept."""
        return await self.head(repo, ref, to_write=to_write)

    async def manifest(self, repo: str, ref: str) -> Manifest:
        """Read and verify a manifest; NotFound if it is not there."""
        found = await self._find(repo, ref)
        if found is None:
            raise NotFound(_subject(repo, ref), "there is no such manifest in this layout")
        return found

    async def blob_exists(
        self, repo: str, digest: Digest, size: int | None = None, *, anew: bool = False
    ) -> bool:
        """Tell whether the layout holds the blob, byte for byte; see `Store`."""
        folder, subject = self._folder(repo), _subject(repo, digest)
        with worded(subject, folder.path):
            return await self._prover.has(folder, digest, size, anew=anew)

    async def room(self, repo: str) -> Room | None:
        """Look at the disk of the layout, or of the folder that it is to be made in."""
        folder = self._folder(repo)
        return await run(folder.name, folder.path, lambda: look_at_disk(folder.path))

    async def has_links(self, repo: str) -> bool:
        """Try to make a link where the layout is, or is to be made."""
        folder = self._folder(repo)
        return await run(folder.name, folder.path, lambda: can_link(folder.path))

    async def sizes(self, repo: str, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Look at the sizes of blobs' files."""
        folder = self._folder(repo)
        return await run(folder.name, folder.path, lambda: folder.sizes(digests))

    async def missing_parts(
        self, repo: str, ref: str, present: Callable[[Manifest], Manifest] | None = None
    ) -> tuple[Digest, ...]:
        """List what is not there of an image, by the sizes of its files; see `Store`."""
        folder, subject = self._folder(repo), _subject(repo, ref)

        def look() -> tuple[Digest, ...]:
            try:
                manifest = _read_manifest(folder, subject, ref, self._names)
            except Damaged as error:
                return (error.names.digest,)
            if manifest is None:
                raise NotFound(subject, "there is no such manifest in this layout")
            return missing_by_size(folder, present(manifest) if present else manifest)

        return await run(subject, folder.path, look)

    async def blob_size(self, repo: str, descriptor: Descriptor) -> int | None:
        """How large the blob's file is; None if there is none."""
        folder = self._folder(repo)

        def look() -> int | None:
            file = folder.open_blob(descriptor.digest) if folder.exists() else None
            if file is None:
                return None
            try:
                return os.fstat(file).st_size
            finally:
                os.close(file)

        return await run(_subject(repo, descriptor.digest), folder.path, look)

    async def referrers(
        self, repo: str, digest: Digest, tags: Collection[str]
    ) -> tuple[Referrer, ...]:
        """List what the index has about a manifest, with a name or without."""
        folder, subject = self._folder(repo), _subject(repo, digest)

        def look() -> tuple[Referrer, ...]:
            return self._subjects.of(folder, folder.index(), digest) if folder.exists() else ()

        with_subject = await run(subject, folder.path, look)
        by_tags = await find_by_tags(self, repo, digest, tags)
        return once_each((*with_subject, *by_tags))

    async def lists_referrers(self, repo: str, digest: Digest) -> bool:
        """Keep lists under tags, as for a registry without the API: most readers know those."""
        return False

    async def open_blob(
        self, repo: str, descriptor: Descriptor, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Stream a blob from `offset`; IntegrityError if its file has another size."""
        end = descriptor.size if length is None else offset + length
        folder, subject = self._folder(repo), _subject(repo, descriptor.digest)
        here = partial(run, subject, folder.path)
        file = await here(lambda: _open(folder, subject, descriptor), discard=os.close)
        try:
            while offset < end:
                count = min(PIECE, end - offset)
                piece = await here(partial(os.pread, file, count, offset))
                if not piece:
                    raise IntegrityError(subject, f"the file ended at byte {offset}")
                offset += len(piece)
                yield piece
        finally:
            os.close(file)

    async def start_upload(
        self, repo: str, descriptor: Descriptor, mount_from: str | None = None
    ) -> Mounted | Upload:
        """Begin a file; with `mount_from` try a hard link first, else a copy.

        Only a blob that was proved to be right in both layouts, or in the other, is mounted.
        """
        if mount_from is not None and mount_from != repo:
            folder, other = self._folder(repo), self._folder(mount_from)
            digest, size = descriptor.digest, descriptor.size
            if await self.blob_exists(repo, digest, size):
                return Mounted()
            if await self.blob_exists(mount_from, digest, size):
                subject = _subject(repo, digest)
                if await write(subject, folder, lambda: folder.link_blob(other, digest)):
                    return Mounted()
                if await self._copy(repo, descriptor, mount_from):
                    return Mounted()
        return await self._begin(repo, descriptor)

    async def _begin(self, repo: str, descriptor: Descriptor) -> LayoutUpload:
        folder, subject = self._folder(repo), _subject(repo, descriptor.digest)

        def begin() -> LayoutUpload:
            return LayoutUpload(folder, subject, descriptor, *folder.temporary())

        return await write(subject, folder, begin, discard=LayoutUpload.discard)

    async def _copy(self, repo: str, descriptor: Descriptor, mount_from: str) -> bool:
        """Copy a blob from another layout; False if it changed while it was read."""
        upload = await self._begin(repo, descriptor)
        hasher = descriptor.digest.hasher()
        try:
            async with aclosing(self.open_blob(mount_from, descriptor)) as pieces:
                async for piece in pieces:
                    hasher.update(piece)
                    await upload.write(piece)
            is_right = hasher.hexdigest() == descriptor.digest.hex
            if is_right:
                await upload.commit()
        except (IntegrityError, NotFound):
            is_right = False
        finally:
            await upload.abort()
        return is_right

    async def put_manifest(
        self,
        repo: str,
        ref: str,
        manifest: Manifest,
        *,
        still: Collection[Digest | None] | None = None,
    ) -> None:
        """Write a manifest's blob and, under a tag, its entry in `index.json`; both durable.

        Refused as a registry refuses it while the layout lacks some part of the image. At once,
        so `still` is not asked for.
        """
        folder, subject = self._folder(repo), _subject(repo, ref)
        digest = manifest.digest
        if not digest.matches(manifest.raw) or (_is_digest(ref) and ref != digest):
            raise IntegrityError(subject, f"the manifest's bytes do not have the digest {digest}")
        await self._check_parts(folder, subject, manifest)
        is_there = await self.blob_exists(repo, digest, len(manifest.raw))

        def put() -> None:
            if not is_there:
                folder.write_blob(digest, manifest.raw)
            folder.sync_names()
            folder.proofs.save()

        # The tag last: a crash leaves blobs that nothing names, never a name without its blobs.
        await write(subject, folder, put)
        if not _is_digest(ref):
            async with self._tagging.setdefault(folder.name, asyncio.Lock()):
                await permitted()
                await write(subject, folder, lambda: folder.tag(ref, manifest.descriptor))

    async def _check_parts(self, folder: LayoutFolder, subject: str, manifest: Manifest) -> None:
        """Refuse a manifest of which the layout lacks a part, or holds other bytes."""

        def look() -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
            folder.exists()  # or it is something else, and the error says so
            return parts(folder, manifest)

        blobs, lacking = await run(subject, folder.path, look)
        with worded(subject, folder.path):
            lacking = (*lacking, *await self._prover.missing(folder, blobs))
        if lacking:
            more = f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
            raise Rejected(
                subject,
                f"the layout does not hold {lacking[0].digest}{more} of its parts",
                hint="if something takes blobs out of it, stop that; apply the same plan again",
                code="MANIFEST_BLOB_UNKNOWN",
            )

    async def delete(self, repo: str, ref: str) -> None:
        """Take a tag out of `index.json`, durably; a manifest by its digest is not deleted."""
        folder, subject = self._folder(repo), _subject(repo, ref)
        if _is_digest(ref):
            raise NoDeletes(subject, "only names are taken out of a layout", hint="use umoci gc")

        def remove() -> bool:
            return folder.exists() and folder.untag(ref)

        async with self._tagging.setdefault(folder.name, asyncio.Lock()):
            await permitted()
            if not await write(subject, folder, remove):
                raise NotFound(subject, "there is no such name in this layout")

    async def aclose(self) -> None:
        """Put back the tags that others, who take no lock, have taken from the layouts' indexes.

        A StoreError names the first layout where that cannot be done.
        """
        for folder in self._folders.values():
            await run(folder.name, folder.path, folder.restore_tags)

    def _names(self, index: Index) -> Index:
        """Choose how names are read."""
        return index

    def _tell_skipped(self, repo: str, names: Sequence[str]) -> None:
        """Take note of names that cannot be taken; of a destination nobody wants to know."""

    def _folder(self, repo: str) -> LayoutFolder:
        if repo not in self._folders:
            path, name = self._base / repo, f"{LAYOUTS}{repo}"
            self._folders[repo] = LayoutFolder(path, name, self._proofs)
        return self._folders[repo]

    async def _find(self, repo: str, ref: str) -> Manifest | None:
        folder, subject = self._folder(repo), _subject(repo, ref)
        names = self._names
        read = partial(_read_manifest, folder, subject, ref, names)
        return await run(subject, folder.path, read)


def _read_manifest(
    folder: LayoutFolder, subject: str, ref: str, names: Callable[[Index], Index]
) -> Manifest | None:
    if not folder.exists():
        return None
    index = names(folder.index())
    if _is_digest(ref):
        digest, entry = Digest.parse(ref), None
        media_type = index.media_type(digest)
    else:
        entry = index.find(ref)
        if entry is None:
            return None
        digest, media_type = entry.digest, entry.media_type
    raw = folder.read_blob(digest)
    if raw is None and entry is None:
        return None
    if raw is None or (entry and entry.size != len(raw)):
        found = "no such blob" if raw is None else f"{len(raw)} bytes"
        raise Damaged(
            subject,
            f"index.json lists {digest}, and there is {found} in blobs/",
            entry or Descriptor(media_type or "", digest, len(raw or b"")),
        )
    if not digest.matches(raw):
        cause = f"its bytes do not have the digest {digest}"
        raise Damaged(subject, cause, entry or Descriptor(media_type or "", digest, len(raw)))
    try:
        return Manifest.parse(raw, media_type, expected=digest)
    except ValueError as error:
        raise ProtocolError(subject, str(error)) from None


def _open(folder: LayoutFolder, subject: str, descriptor: Descriptor) -> int:
    file = folder.open_blob(descriptor.digest) if folder.exists() else None
    if file is None:
        raise NotFound(subject, "there is no such blob in this layout")
    size = os.fstat(file).st_size
    if size != descriptor.size:
        os.close(file)
        raise IntegrityError(subject, f"its file has {size} bytes, not {descriptor.size}")
    return file


def _is_digest(ref: str) -> bool:
    return ":" in ref


def _subject(repo: str, ref: str) -> str:
    return f"{LAYOUTS}{repo}{'@' if _is_digest(ref) else ':'}{ref}"
