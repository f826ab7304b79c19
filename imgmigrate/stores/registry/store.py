"""A registry as a `Store`: the verbs of the distribution API over one host.

Holds nothing but what the verbs share; each verb is in a module of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.events import RateLearnt
from imgmigrate.stores.companions import find_by_tags, once_each
from imgmigrate.stores.registry import blobs, manifests
from imgmigrate.stores.registry.listing import pages as listing
from imgmigrate.stores.registry.listing.archive import Archive
from imgmigrate.stores.registry.listing.catalog import Catalog
from imgmigrate.stores.registry.listing.referrers import Referrers
from imgmigrate.stores.registry.quotas import ALL, Kind
from imgmigrate.stores.registry.uploads.start import Uploads
from imgmigrate.stores.registry.wire.remote import Remote
from imgmigrate.stores.slots import News

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor, Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.stores.base import Mounted, Room, Upload
    from imgmigrate.stores.registry.http.session import Http
    from imgmigrate.stores.registry.known.mounts import Mounting
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.stores.slots import Budget

__all__ = ["RegistryStore"]

# Fewer refusals than these cost nothing that anybody would notice.
WORTH_SAYING = 10


class RegistryStore:
    """One registry by its host[:port]; `settings` looks up the config of a repository of it."""

    def __init__(
        self,
        host: str,
        settings: Callable[[str | None], RegistryConfig],
        http: Http,
        sink: Sink,
        *,
        on_rate_limit: OnRateLimit = "wait",
        clock: Clock | None = None,
        is_met: Callable[[], bool] = lambda: True,
        news: News | None = None,
        known: Mapping[frozenset[Kind], float] | None = None,
        mounts: bool = False,
        written_at: Callable[[str | None], str | None] = lambda _: None,
    ) -> None:
        """`mounts`: earlier runs saw it mount what was asked for; the rest is as for a `Remote`."""
        self._remote = Remote(
            host,
            settings,
            http,
            sink,
            on_rate_limit=on_rate_limit,
            clock=clock,
            is_met=is_met,
            news=news or News(),
            known=known,
            written_at=written_at,
        )
        self._uploads = Uploads(self._remote)
        self._mounts = mounts
        self._catalog = Catalog(self._remote)
        self._referrers = Referrers(self._remote)
        self._archive = Archive(self._remote) if self._remote.quirks.archives else None

    @property
    def identity(self) -> str:
        """The host[:port] as users write it."""
        return self._remote.host

    @property
    def remote(self) -> Remote:
        """The registry itself, for what is no verb of stores."""
        return self._remote

    @property
    def budget(self) -> Budget:
        """The slots of its blob streams."""
        return self._remote.budget

    @property
    def is_waiting(self) -> bool:
        """Whether it rests, or has more to do than it allows in some seconds."""
        return self._remote.is_waiting

    @property
    def is_resting(self) -> bool:
        """Whether it is down, asks for a pause, or has no pulls left."""
        return self._remote.is_resting

    @property
    def mounts_need_manifest(self) -> bool:
        """Whether only blobs of committed manifests can be mounted."""
        return self._remote.quirks.mounts_need_manifest

    @property
    def mounts(self) -> bool:
        """Whether a write test, or a run of late, saw it mount what was asked for."""
        return self._remote.quirks.mounts or self._mounts

    @property
    def mounting(self) -> Mounting:
        """How mounts went in this run."""
        return self._uploads.mounting

    @property
    def deletes_tags(self) -> bool:
        """Whether a tag is deleted by its name, and nothing else with it."""
        return self._remote.quirks.deletes_tags

    @property
    def takes_sparse(self) -> bool | None:
        """Whether its row, or a write test, says that it takes a sparse index."""
        return self._remote.quirks.takes_sparse

    @property
    def is_metered(self) -> bool:
        """Whether manifest reads are counted against the user."""
        return self._remote.quirks.is_metered

    def rates(self) -> tuple[RateLearnt, ...]:
        """What was learnt of its limits, where requests were refused often enough to say so."""
        learnt = self._remote.limits.learnt()
        return tuple(
            RateLearnt(
                self.identity,
                "" if kinds == ALL else " and ".join(each.value for each in Kind if each in kinds),
                rate.found,
                rate.refusals,
            )
            for kinds, rate in learnt.items()
            if rate.found is not None and rate.refusals >= WORTH_SAYING
        )

    async def list_repositories(self, glob: str) -> list[str]:
        """List every repository that a glob of paths matches."""
        return await self._catalog.find(glob)

    async def list_tags(
        self, repo: str, *, skip: Callable[[str], object] | None = None
    ) -> list[str]:
        """List every valid tag; NotFound if there is no such repository."""
        return await listing.list_tags(self._remote, repo, skip=skip)

    def lacks(self, repo: str) -> bool:
        """Tell whether the registry said that it has no such repository."""
        return repo in self._remote.lacking

    async def head(self, repo: str, ref: str, *, to_write: bool = False) -> Descriptor | None:
        """Describe a manifest; None, which proves nothing, if it is said not to be there."""
        return await manifests.head(self._remote, repo, ref, to_write=to_write)

    async def look(
        self,
        repo: str,
        ref: str,
        *,
        is_new: bool = False,
        to_write: bool = False,
        keep: Callable[[Manifest], object] | None = None,
    ) -> Descriptor | None:
        """Describe what a tag shows; None only if reading it says that it is not there."""
        found = await manifests.look(
            self._remote, repo, ref, is_new=is_new, to_write=to_write, keep=keep
        )
        if found is None and self._archive is not None:
            await self._archive.check(repo, ref)
        return found

    async def manifest(self, repo: str, ref: str) -> Manifest:
        """Read and verify a manifest."""
        return await manifests.read_manifest(self._remote, repo, ref)

    async def blob_exists(
        self, repo: str, digest: Digest, size: int | None = None, *, anew: bool = False
    ) -> bool:
        """Tell whether the repository holds the blob, as it says."""
        return await blobs.blob_exists(self._remote, repo, digest)

    async def blob_size(self, repo: str, descriptor: Descriptor) -> int | None:
        """How many bytes of a blob a puller would get; None if it is not there."""
        return await blobs.blob_size(self._remote, repo, descriptor)

    async def room(self, repo: str) -> Room | None:
        """Tell nothing: a registry says when it is full."""
        return None

    async def has_links(self, repo: str) -> bool:
        """A mount takes no room in any registry."""
        return True

    async def sizes(self, repo: str, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Tell nothing: each would cost a request."""
        return {}

    async def missing_parts(
        self, repo: str, ref: str, present: Callable[[Manifest], Manifest] | None = None
    ) -> tuple[Digest, ...]:
        """Believe: each part would cost a request."""
        return ()

    async def referrers(
        self, repo: str, digest: Digest, tags: Collection[str]
    ) -> tuple[Referrer, ...]:
        """List what refers to a manifest, by the API and by companion tags."""
        by_api = await self._referrers.of(repo, digest)
        return once_each((*by_api, *await find_by_tags(self, repo, digest, tags)))

    async def lists_referrers(self, repo: str, digest: Digest) -> bool:
        """Tell whether the repository has the referrers API; asked once."""
        return await self._referrers.are_listed(repo, digest)

    def open_blob(
        self, repo: str, descriptor: Descriptor, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Stream a blob, or `length` bytes of it, from `offset`; one attempt."""
        return blobs.open_blob(self._remote, repo, descriptor, offset, length)

    async def start_upload(
        self, repo: str, descriptor: Descriptor, mount_from: str | None = None
    ) -> Mounted | Upload:
        """Mount a blob or begin its upload."""
        return await self._uploads.start(repo, descriptor, mount_from)

    async def put_manifest(
        self,
        repo: str,
        ref: str,
        manifest: Manifest,
        *,
        still: Collection[Digest | None] | None = None,
    ) -> None:
        """Write a manifest and prove it."""
        await manifests.put_manifest(self._remote, repo, ref, manifest, still=still)

    async def delete(self, repo: str, ref: str) -> None:
        """Delete a tag, or a manifest with all its tags."""
        await manifests.delete(self._remote, repo, ref)
