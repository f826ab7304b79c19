"""What a store must be able to do, whatever it is made of (DESIGN section 4).

`repo` is always the path within the store; `ref` a tag or a digest. Every method raises
`StoreError`s that name the object; who called knows the side and adds it (`on_side`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from imgmigrate.errors import IntegrityError, Rejected, StoreError, TransientError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable

    from imgmigrate.events import RateLearnt
    from imgmigrate.oci.manifest import Descriptor, Manifest
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.stores.slots import Budget, News

__all__ = [
    "Damaged",
    "Mounted",
    "NoDeletes",
    "NoRanges",
    "OtherForm",
    "Room",
    "Store",
    "Stores",
    "TagMoved",
    "Upload",
]


class OtherForm(TransientError):
    """The store wants the blob in another form, which it knows now: send it again at once.

    Raised by an `Upload` instead of a refusal, a bounded number of times for a blob.
    """


class NoRanges(Rejected):
    """The store gives no part of this blob apart: read it from an offset to its end."""


class Damaged(IntegrityError):
    """What a layout's index names has other bytes, or is not there; `names` is what it says.

    A source like this is an error; a destination gets it again.
    """

    def __init__(self, subject: str, cause: str, names: Descriptor) -> None:
        self.names = names
        hint = "the layout is incomplete; fetch it again from where it came from"
        super().__init__(subject, cause, hint=hint)


class NoDeletes(Rejected):
    """The store deletes nothing of this kind, whatever its name."""


class TagMoved(StoreError):
    """Somebody else wrote the tag while a write of it was being tried; it shows `found` now."""

    def __init__(self, subject: str, found: Digest | None) -> None:
        self.found = found
        shows = found.short if found else "nothing"
        super().__init__(subject, f"it shows {shows} since, and was not written")


class Mounted(Struct, frozen=True):
    """The blob is in the repository now, without a byte sent."""


class Room(Struct, frozen=True):
    """What is free on the disk of a repository. `disk` tells disks apart, `free` is in bytes."""

    path: str
    disk: int
    free: int


class Upload(Protocol):
    """One blob on its way in. Whoever starts one ends it: `commit` or `abort`, exactly once.

    Bytes arrive through `write` in order; pieces of 256 KiB to 1 MiB are cheapest. `write`
    returns when the store is ready for more, so a slow store slows its source. The caller has
    checked size and digest before it writes the last piece; `commit` returns when the store
    has accepted the blob (a layout: when it is durable). `OtherForm` from either means to start
    anew at once; it is no failure. The first `held` bytes were there before: they are written
    like all others, and sent to nobody.
    """

    @property
    def held(self) -> int:
        """Bytes of an upload that broke and is gone on with."""

    async def write(self, piece: bytes) -> None:
        """Send the next piece."""

    async def commit(self) -> None:
        """Finish; on return the blob exists."""

    async def abort(self) -> None:
        """Give up and leave nothing behind; never raises a StoreError; safe after a failure."""


class Store(Protocol):
    """One registry host, or all OCI layouts together."""

    @property
    def identity(self) -> str:
        """The host[:port], or `oci:`; equal for equal stores, and an order among them."""

    @property
    def budget(self) -> Budget:
        """The slots that blob streams take."""

    @property
    def is_waiting(self) -> bool:
        """Whether whatever is asked of it waits now, for long: it rests, or limits its rate."""

    @property
    def is_resting(self) -> bool:
        """Whether nothing at all is done there now, for long: it is down, or wants a pause."""

    @property
    def mounts_need_manifest(self) -> bool:
        """Whether only blobs of committed manifests can be mounted (ECR)."""

    @property
    def mounts(self) -> bool:
        """Whether it is known to give a blob of one repository to another without its bytes."""

    @property
    def deletes_tags(self) -> bool:
        """Whether it is known to delete a tag by its name and to leave all other tags alone."""

    @property
    def takes_sparse(self) -> bool | None:
        """Whether it takes an index some of whose images it does not have; None: not known."""

    @property
    def is_metered(self) -> bool:
        """Whether a manifest read costs the user something scarce (Docker Hub pulls)."""

    async def list_repositories(self, glob: str) -> list[str]:
        """List every repository that a glob of paths matches, sorted. Never partial.

        Any StoreError if they cannot be listed; none is a list without entries.
        """

    async def list_tags(
        self, repo: str, *, skip: Callable[[str], object] | None = None
    ) -> list[str]:
        """List every valid tag; NotFound if there is no such repository. Never partial.

        `skip` is told, perhaps more than once, of each listed name that is no valid tag.
        """

    def lacks(self, repo: str) -> bool:
        """Tell whether an answer to `look` said that there is no such repository; asks nothing.

        Many registries do not say that, and a layout never does.
        """

    async def head(self, repo: str, ref: str, *, to_write: bool = False) -> Descriptor | None:
        """Describe a manifest by the cheapest question; None proves nothing.

        Some registries answer 404 to what they have (`look`). For what costs a round trip when
        it is believed, and nobody an image. `to_write`: asked with the right to push, as who is
        about to write there; registries hide from readers that a repository is not there yet.
        """

    async def look(
        self,
        repo: str,
        ref: str,
        *,
        is_new: bool = False,
        to_write: bool = False,
        keep: Callable[[Manifest], object] | None = None,
    ) -> Descriptor | None:
        """Describe what a tag shows now; None only if reading it says that it is not there.

        `is_new`: nothing that we know of is there, so its manifest is read at once where reads
        cost nothing, and `keep` is given it: one request tells all. Else it is read only if the
        cheapest question leaves a doubt. Archived if it is there and cannot be read.
        """

    async def manifest(self, repo: str, ref: str) -> Manifest:
        """Read a manifest; its bytes are verified when `ref` is a digest. NotFound if absent."""

    async def blob_exists(
        self, repo: str, digest: Digest, size: int | None = None, *, anew: bool = False
    ) -> bool:
        """Tell whether the repository holds the blob.

        A layout reads the bytes of what it has not read before, or with `anew` of everything;
        a file of another `size` is not the blob. A registry is believed.
        """

    async def room(self, repo: str) -> Room | None:
        """Tell what may still be written; None where nobody tells, as at a registry."""

    async def has_links(self, repo: str) -> bool:
        """Tell whether a mount takes no room, because a blob can be in two places at once."""

    async def sizes(self, repo: str, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Tell the sizes in bytes of those blobs that are there, as far as that is free to know.

        A registry tells nothing.
        """

    async def missing_parts(
        self, repo: str, ref: str, present: Callable[[Manifest], Manifest] | None = None
    ) -> tuple[Digest, ...]:
        """List the manifests and blobs that an image lacks, as far as that is free to know.

        A layout looks at its files' sizes, also at that of the manifest; a registry is believed
        to lack nothing. What `present` leaves out is absent on purpose. NotFound if there is no
        such image.
        """

    async def referrers(
        self, repo: str, digest: Digest, tags: Collection[str]
    ) -> tuple[Referrer, ...]:
        """List what refers to a manifest that is there, as the store says; nothing of it is read.

        By the API where there is one, and by those companion tags that `tags`, which are all that
        the repository lists, has. Any StoreError if it cannot be told: never a list that is not
        whole, and none only where that was the answer.
        """

    async def lists_referrers(self, repo: str, digest: Digest) -> bool:
        """Tell whether it finds by itself what refers to `digest`, a manifest that is there.

        Elsewhere whoever writes a referrer keeps a list of them under the fallback tag.
        """

    async def blob_size(self, repo: str, descriptor: Descriptor) -> int | None:
        """How many bytes of a blob a puller would get; None only if it is proved not to be there.

        Reads none of them. ProtocolError if the store does not tell.
        """

    def open_blob(
        self, repo: str, descriptor: Descriptor, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Stream a blob from `offset`, in pieces as they arrive; the caller verifies.

        One attempt: TransientError if it breaks or stalls midway, so that the caller can open
        again at the offset it has reached. Never yields bytes past `descriptor.size`, nor more
        than `length`; NoRanges before the first byte if exactly that part is not to be had.
        Closing the iterator (`aclose`) frees the connection.
        """

    async def start_upload(
        self, repo: str, descriptor: Descriptor, mount_from: str | None = None
    ) -> Mounted | Upload:
        """Begin an upload; with `mount_from` (a repo of this store) try a mount first.

        A refused mount has opened an upload session, or opens one now: never an error.
        """

    async def put_manifest(
        self,
        repo: str,
        ref: str,
        manifest: Manifest,
        *,
        still: Collection[Digest | None] | None = None,
    ) -> None:
        """Write `manifest.raw` under a tag or its digest; on return it is proved to be there.

        The caller has just read the tag, which shows one of `still`: TagMoved if it no longer
        does when the write has to be tried again, which may be minutes later.
        """

    async def delete(self, repo: str, ref: str) -> None:
        """Delete a tag, or a manifest by its digest with every tag that names it.

        A tag is only to be named where `deletes_tags`: elsewhere its manifest may go, and other
        tags with it. NotFound if it is not there, NoDeletes if the store never does this.
        """


class Stores(Protocol):
    """The stores of a run."""

    @property
    def news(self) -> News:
        """Tells when one of them begins or ceases to be waited for."""

    def of(self, repository: Repository) -> Store:
        """The store that holds a repository; ConfigError if its settings cannot be used.

        Also for one that the config of a stranger may not lead to.
        """

    def source_of(self, repository: Repository) -> Store:
        """The store to plan from: as `of`, but a layout's names are read as those of a source."""

    def requests(self) -> int:
        """How many requests were sent so far, each attempt and each login counted."""

    def rates(self) -> tuple[RateLearnt, ...]:
        """What is worth saying of registries that refused requests for their rate."""
