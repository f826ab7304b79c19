"""A store in memory with switchable faults: for what is decided above the wire.

It keeps the promises of `stores.base.Store` and nothing else: blobs belong to repositories,
manifests are refused while their parts are missing (unless told otherwise), a mount needs the
blob in its origin.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import NotFound, Rejected, StoreError, TransientError
from imgmigrate.matching import parse_pattern
from imgmigrate.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.oci.referrers import Referrer, referrer_of
from imgmigrate.stores.base import Mounted, NoRanges, Room, Upload
from imgmigrate.stores.companions import find_by_tags, once_each
from imgmigrate.stores.slots import Budget, News

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable

    from imgmigrate.events import RateLearnt


def image(*layers: bytes, config: bytes = b"{}") -> tuple[Manifest, dict[Digest, bytes]]:
    """Build an OCI image of these blobs."""
    blobs = {Digest.of(data): data for data in (config, *layers)}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _describe("application/vnd.oci.image.config.v1+json", config),
        "layers": [_describe("application/vnd.oci.image.layer.v1.tar", data) for data in layers],
    }
    return Manifest.parse(json.dumps(document).encode()), blobs


def index(*children: Manifest, **fields: Any) -> Manifest:
    """Build an OCI index of these manifests."""
    entries = [_describe(child.media_type, child.raw) for child in children]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **fields}
    return Manifest.parse(json.dumps(document).encode())


def _describe(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data)}


@dataclass
class MemoryStore:
    """One registry in memory; `calls` counts verbs, `hooks` may raise or wait in them."""

    identity: str
    mounts_need_manifest: bool = False
    is_metered: bool = False
    is_waiting: bool = False
    is_resting: bool = False
    deletes_tags: bool = False
    refuses_mounts: bool = False
    # Some registries take a manifest whatever they lack of it.
    checks_parts: bool = True
    # Whether it takes an index without all of its images, and whether that is known.
    takes_sparse: bool | None = None
    is_sparse_taken: bool = False
    # What deleting answers where it is refused.
    refuses_deletes: StoreError | None = None
    refuses_ranges: bool = False
    # The referrers API of distribution-spec 1.1.
    has_referrers: bool = False
    # HEAD says 404 to everything, as Nexus behind some proxies does; reading works.
    denies_heads: bool = False
    # Tags that are listed although their manifests are gone.
    dangling: set[tuple[str, str]] = field(default_factory=set)
    # Tags that exist and that no list names.
    unlisted: set[tuple[str, str]] = field(default_factory=set)
    # Names that are listed beside the tags of a repository and are no valid tags.
    odd_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    piece: int = 4
    streams: int = 16
    tags: dict[tuple[str, str], Digest] = field(default_factory=dict)
    manifests: dict[tuple[str, Digest], Manifest] = field(default_factory=dict)
    blobs: dict[tuple[str, Digest], bytes] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    hooks: dict[str, Callable[[str, str], Any]] = field(default_factory=dict)
    open_streams: Counter[str] = field(default_factory=Counter)
    aborted: int = 0

    def __post_init__(self) -> None:
        self.budget = Budget(self.identity, self.streams)

    @property
    def mounts(self) -> bool:
        return not self.refuses_mounts

    def seed(
        self, repo: str, tag: str, top: Manifest, blobs: dict[Digest, bytes], *others: Manifest
    ) -> Digest:
        """Put an image here without counting it."""
        for manifest in (top, *others):
            self.manifests[repo, manifest.digest] = manifest
        self.blobs.update({(repo, digest): data for digest, data in blobs.items()})
        self.tags[repo, tag] = top.digest
        return top.digest

    async def _call(self, verb: str, repo: str, what: str) -> None:
        self.calls[verb] += 1
        self.log.append((verb, repo, what))
        await asyncio.sleep(0)
        if verb in self.hooks:
            answer = self.hooks[verb](repo, what)
            if asyncio.iscoroutine(answer):
                await answer

    async def list_repositories(self, glob: str) -> list[str]:
        await self._call("list_repositories", glob, "")
        pattern = parse_pattern(f"{self.identity}/{glob}")
        found = {repo for repo, _ in (*self.tags, *self.manifests)}
        return sorted(
            repo
            for repo in found
            if pattern.matches_reference(Reference(Repository(self.identity, repo)))
        )

    async def list_tags(
        self, repo: str, *, skip: Callable[[str], object] | None = None
    ) -> list[str]:
        await self._call("list_tags", repo, "")
        for name in self.odd_names.get(repo, ()):
            if skip is not None:
                skip(name)
        names = ({*self.tags} - self.unlisted) | self.dangling
        found = [tag for name, tag in names if name == repo]
        if not found and not any(name == repo for name, _ in self.manifests):
            raise NotFound(f"{self.identity}/{repo}", "not found (404)")
        return sorted(found)

    def lacks(self, repo: str) -> bool:
        return False

    async def head(self, repo: str, ref: str, *, to_write: bool = False) -> Descriptor | None:
        await self._call("head", repo, ref)
        found = None if self.denies_heads else self._find(repo, ref)
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
        if not is_new or self.is_metered:
            found = await self.head(repo, ref, to_write=to_write)
            if found is not None:
                return found
        try:
            manifest = await self.manifest(repo, ref)
        except NotFound:
            return None
        if keep is not None:
            keep(manifest)
        return manifest.descriptor

    async def manifest(self, repo: str, ref: str) -> Manifest:
        await self._call("manifest", repo, ref)
        found = self._find(repo, ref)
        if found is None:
            raise NotFound(f"{self.identity}/{repo}@{ref}", "not found (404)")
        return found

    def _find(self, repo: str, ref: str) -> Manifest | None:
        digest = self.tags.get((repo, ref), ref)
        return self.manifests.get((repo, Digest(digest)))

    async def blob_exists(
        self, repo: str, digest: Digest, size: int | None = None, *, anew: bool = False
    ) -> bool:
        await self._call("blob_exists", repo, digest)
        return (repo, digest) in self.blobs

    async def blob_size(self, repo: str, descriptor: Descriptor) -> int | None:
        await self._call("blob_size", repo, descriptor.digest)
        data = self.blobs.get((repo, descriptor.digest))
        return None if data is None else len(data)

    async def room(self, repo: str) -> Room | None:
        return None

    async def has_links(self, repo: str) -> bool:
        return True

    async def sizes(self, repo: str, digests: Iterable[Digest]) -> dict[Digest, int]:
        return {}

    async def missing_parts(
        self, repo: str, ref: str, present: Callable[[Manifest], Manifest] | None = None
    ) -> tuple[Digest, ...]:
        return ()

    async def referrers(
        self, repo: str, digest: Digest, tags: Collection[str]
    ) -> tuple[Referrer, ...]:
        await self._call("referrers", repo, digest)
        listed = []
        if self.has_referrers:
            here = [each for (name, _), each in self.manifests.items() if name == repo]
            told = [each for each in map(referrer_of, here) if each is not None]
            listed = [each for each in told if each.refers_to == digest]
        return once_each((*listed, *await find_by_tags(self, repo, digest, tags)))

    async def lists_referrers(self, repo: str, digest: Digest) -> bool:
        return self.has_referrers

    async def open_blob(
        self, repo: str, descriptor: Descriptor, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        part = "" if length is None else f"-{offset + length}"
        await self._call("open_blob", repo, f"{descriptor.digest}+{offset}{part}")
        if (repo, descriptor.digest) not in self.blobs:
            raise NotFound(f"{self.identity}/{repo}@{descriptor.digest}", "not found (404)")
        if length is not None and self.refuses_ranges:
            raise NoRanges(f"{self.identity}/{repo}@{descriptor.digest}", "it gives no ranges")
        data = self.blobs[repo, descriptor.digest]
        end = len(data) if length is None else offset + length
        for start in range(offset, end, self.piece):
            await self._call("read", repo, f"{descriptor.digest}+{start}")
            yield data[start : min(start + self.piece, end)]

    async def start_upload(
        self, repo: str, descriptor: Descriptor, mount_from: str | None = None
    ) -> Mounted | Upload:
        await self._call("mount" if mount_from else "start_upload", repo, descriptor.digest)
        if mount_from and not self.refuses_mounts:
            data = self.blobs.get((mount_from, descriptor.digest))
            if data is not None:
                self.blobs[repo, descriptor.digest] = data
                return Mounted()
        return MemoryUpload(self, repo, descriptor)

    async def put_manifest(
        self,
        repo: str,
        ref: str,
        manifest: Manifest,
        *,
        still: Collection[Digest | None] | None = None,
    ) -> None:
        await self._call("put_manifest", repo, ref)
        # Of what is absent on purpose a registry is not told.
        manifest = Manifest.parse(manifest.raw, manifest.media_type)
        missing = [blob.digest for blob in manifest.blobs if (repo, blob.digest) not in self.blobs]
        missing += [
            child.digest
            for child in manifest.children
            if (repo, child.digest) not in self.manifests
            and (repo, child.digest) not in self.blobs
            and not self.is_sparse_taken
        ]
        if missing and self.checks_parts:
            raise Rejected(
                f"{self.identity}/{repo}:{ref}",
                f"it lacks {missing[0]}",
                status=400,
                code="MANIFEST_BLOB_UNKNOWN",
            )
        self.manifests[repo, manifest.digest] = manifest
        if ref != manifest.digest:
            self.tags[repo, ref] = manifest.digest

    async def delete(self, repo: str, ref: str) -> None:
        await self._call("delete", repo, ref)
        if self.refuses_deletes is not None:
            raise self.refuses_deletes
        if (repo, ref) in self.tags:
            # By its name a tag goes alone only where that is said to be so.
            gone = self.tags.pop((repo, ref))
            if not self.deletes_tags:
                self._delete_manifest(repo, gone)
        elif (repo, Digest(ref)) in self.manifests:
            self._delete_manifest(repo, Digest(ref))
        else:
            raise NotFound(f"{self.identity}/{repo}@{ref}", "not found (404)")

    def _delete_manifest(self, repo: str, digest: Digest) -> None:
        del self.manifests[repo, digest]
        self.tags = {
            (name, tag): found
            for (name, tag), found in self.tags.items()
            if (name, found) != (repo, digest)
        }


@dataclass
class MemoryUpload:
    """An upload that keeps nothing until it is committed."""

    store: MemoryStore
    repo: str
    descriptor: Descriptor
    data: bytes = b""
    held: int = 0

    async def write(self, piece: bytes) -> None:
        await self.store._call("write", self.repo, self.descriptor.digest)
        self.data += piece

    async def commit(self) -> None:
        await self.store._call("commit", self.repo, self.descriptor.digest)
        if Digest.of(self.data) != self.descriptor.digest:
            raise Rejected(f"{self.store.identity}/{self.repo}", "digest invalid", status=400)
        self.store.blobs[self.repo, self.descriptor.digest] = self.data

    async def abort(self) -> None:
        self.store.aborted += 1


@dataclass
class MemoryStores:
    """What `open_stores` yields, over memory."""

    stores: dict[str, MemoryStore] = field(default_factory=dict)
    news: News = field(default_factory=News)

    def of(self, repository: Repository) -> MemoryStore:
        """Find or make the store of a host."""
        return self.stores.setdefault(repository.store, MemoryStore(repository.store))

    def requests(self) -> int:
        """Nothing is sent."""
        return 0

    def rates(self) -> tuple[RateLearnt, ...]:
        """Nothing is refused here."""
        return ()

    def source_of(self, repository: Repository) -> MemoryStore:
        """The same: only a layout's names differ by side."""
        return self.of(repository)


def fail_times(times: int, error: Callable[[], StoreError]) -> Callable[[str, str], None]:
    """Make a hook that raises `times` times, for each object apart."""
    seen: defaultdict[tuple[str, str], int] = defaultdict(int)

    def hook(repo: str, what: str) -> None:
        seen[repo, what] += 1
        if seen[repo, what] <= times:
            raise error()

    return hook


def broken(subject: str = "it") -> TransientError:
    """A failure that may pass."""
    return TransientError(subject, "connection reset")
