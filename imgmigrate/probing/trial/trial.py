"""The write test: what is asked of a registry, in which order, and how all of it goes away.

Order matters. Blobs are mounted before any manifest names them, since that is the question; lists
are read while there is something in them; deleting is tried last, and what it teaches is how to
clean up. One question that fails costs its own answer and no other, but an image that cannot be
pushed at all ends the test. Cleaning up happens whatever ended it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.errors import AccessDenied, AuthenticationError, NotFound, StoreError, UsageError
from imgmigrate.oci.reference import is_tag
from imgmigrate.probing.probe import TIMEOUTS
from imgmigrate.probing.trial import questions, uploads
from imgmigrate.probing.trial.ground import Blob, Ground, image
from imgmigrate.redaction import printable
from imgmigrate.stores.base import NoDeletes
from imgmigrate.stores.registry import manifests
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.known.facts import Found, Left, Topic
from imgmigrate.stores.registry.listing.pages import Listing, list_names
from imgmigrate.stores.registry.store import RegistryStore
from imgmigrate.stores.registry.uploads.sessions import opened
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Repository
    from imgmigrate.stores.registry.wire.remote import Remote
    from imgmigrate.workspace import Workspace

__all__ = ["siblings_of", "try_out", "write_test"]

# Seconds that a server has to see that a connection broke.
SETTLE = 2.0
# Seconds for cleaning up after a signal; the process has five.
FAREWELL = 4.0

Answers = dict[Topic, str]
Settled = Callable[[], Awaitable[object]]


def siblings_of(repo: str) -> tuple[str, str]:
    """Name a second repository: beside the first, or below it where what is beside is others'."""
    return f"{repo}-mount", f"{repo}/mount"


async def _settle() -> None:
    await asyncio.sleep(SETTLE)


async def write_test(config: Config | Workspace, repository: Repository, *, sink: Sink) -> Found:
    """Test a repository of a registry, as the config says how to reach it (`try_out`)."""
    async with open_workspace(config, sink=sink, timeouts=TIMEOUTS).stores() as stores:
        store = stores.of(repository)
        if not isinstance(store, RegistryStore):
            msg = f"{repository} is of no registry"
            raise TypeError(msg)
        return await try_out(store, repository.path)


async def try_out(store: RegistryStore, repo: str, *, settled: Settled = _settle) -> Found:
    """Write to an empty repository, see what the registry does, and clean up.

    UsageError if the repository is not empty; StoreError if no image can be pushed to it. `settled`
    waits until the server has seen that a connection broke.
    """
    remote = store.remote
    await _check_empty(remote, repo)
    trial = _Trial(Ground(remote, repo), settled)
    try:
        await trial.run()
    except asyncio.CancelledError:
        with suppress(TimeoutError, StoreError):
            async with asyncio.timeout(FAREWELL):
                await trial.clean_up()
        raise
    except StoreError:
        await trial.clean_up()
        raise
    left = await trial.clean_up()
    ground = trial.ground
    return Found(trial.facts, trial.unknown, left, ground.blobs, ground.sibling)


class _Trial:
    """One test: the answers so far, and what they were found with."""

    def __init__(self, ground: Ground, settled: Settled) -> None:
        self.ground, self._settled = ground, settled
        self.facts: Answers = {}
        self.unknown: Answers = {}

    async def run(self) -> None:
        """Ask everything."""
        ground = self.ground
        config, layer = await ground.push_image()
        await self._ask_of_uploads()
        is_early = await self._mounts_early(layer)
        shown = image(config, layer)
        first, second, moving = (ground.new_tag() for _ in range(3))
        for tag in (first, second, moving):
            await _needed(ground, shown, tag)
        await self._ask(partial(self._mount, layer, is_early=is_early), Topic.MOUNT)
        await self._ask_of_names(shown.descriptor, moving, config, layer)
        await self._ask_of_deletes(shown.descriptor, (first, second), config, layer)

    async def _ask_of_uploads(self) -> None:
        ground = self.ground
        await self._ask(partial(uploads.in_one_put, ground), Topic.ONE_PUT)
        await self._ask(partial(uploads.in_one_post, ground), Topic.ONE_POST)
        await self._ask(partial(uploads.in_chunks, ground), Topic.CHUNKS, Topic.LEAST_CHUNK)
        await self._ask(partial(uploads.status, ground), Topic.UPLOAD_STATUS)
        await self._ask(partial(uploads.survives, ground, self._settled), Topic.BROKEN_UPLOAD)

    async def _mounts_early(self, layer: Blob) -> bool:
        """Find a second repository, and mount what no manifest names yet."""
        with suppress(StoreError):
            self.ground.sibling = await _sibling(self.ground)
            return self.ground.sibling is not None and await uploads.mounts(self.ground, layer)
        return False

    async def _mount(self, layer: Blob, *, is_early: bool) -> Answers:
        if self.ground.sibling is None:
            return {Topic.MOUNT: "untried"}
        if is_early:
            return {Topic.MOUNT: "yes"}
        is_late = await uploads.mounts(self.ground, layer)
        return {Topic.MOUNT: "after_manifest" if is_late else "no"}

    async def _ask_of_names(
        self, shown: Descriptor, moving: str, config: Blob, layer: Blob
    ) -> None:
        ground = self.ground
        await self._ask(partial(uploads.ranges, ground, layer), Topic.RANGES, Topic.BLOB_HOST)
        await self._ask(partial(questions.heads, ground, moving), Topic.HEAD)
        await self._ask(partial(questions.absence, ground), Topic.ABSENT)
        await self._ask(
            partial(questions.missing, ground, config, shown),
            Topic.MISSING_BLOB,
            Topic.SPARSE_INDEX,
        )
        await self._ask(
            partial(questions.referrers, ground, shown, config, layer),
            Topic.REFERRERS,
            Topic.SUBJECT,
            Topic.REFERRERS_TAG,
        )
        await self._ask(
            partial(questions.moved_tag, ground, moving, config, layer), Topic.MOVED_TAG
        )
        await self._ask(partial(questions.pages, ground), Topic.TAG_PAGES, Topic.LARGEST_PAGE)
        await self._ask(partial(questions.catalog, ground), Topic.CATALOG)

    async def _ask_of_deletes(
        self, shown: Descriptor, tags: tuple[str, str], config: Blob, layer: Blob
    ) -> None:
        ground = self.ground
        await self._ask(partial(questions.deleted_tag, ground, shown, *tags), Topic.DELETED_TAG)
        tagged, untagged = image(config, layer), image(config, layer)

        async def deleted_digest() -> Answers:
            await _needed(ground, tagged, ground.new_tag())
            await _needed(ground, untagged)
            return await questions.deleted_digest(ground, tagged.descriptor, untagged.descriptor)

        await self._ask(deleted_digest, Topic.DELETED_DIGEST)

    async def _ask(self, question: Callable[[], Awaitable[Answers]], *topics: Topic) -> None:
        """Ask one question; what kept it from being answered is kept instead."""
        try:
            self.facts |= await question()
        except StoreError as error:
            self.unknown |= dict.fromkeys(topics, error.cause)

    async def clean_up(self) -> tuple[Left, ...]:
        """Delete what was put, in the order in which it can be deleted; what stays, and why.

        A tag is deleted by its name only where that is known to leave others alone, or where its
        manifest cannot go before it: all of them are ours.
        """
        ground, causes = self.ground, dict[str, str]()
        by_name = self.facts.get(Topic.DELETED_TAG) == "alone" or (
            Topic.DELETED_TAG not in self.facts and ground.remote.quirks.deletes_tags
        )
        refs = [*(ground.tags if by_name else ()), *reversed(ground.digests)]
        for ref in refs:
            try:
                await manifests.delete(ground.remote, ground.repo, ref)
            except NotFound:
                continue
            except NoDeletes as error:
                causes |= dict.fromkeys(refs, error.cause)
                break
            except StoreError as error:
                causes[ref] = error.cause
        return tuple([left async for left in self._left(causes)])

    async def _left(self, causes: Mapping[str, str]) -> AsyncIterator[Left]:
        """Look for what is there still; a manifest is named by a tag where it has one."""
        ground, named = self.ground, set[str]()
        for ref in (*ground.tags, *ground.digests):
            try:
                shown = await ground.shows(ref)
            except StoreError as error:
                yield Left(ground.repo, ref, error.cause)
                continue
            if shown is None or (shown in named and ref == shown):
                continue
            named.add(shown)
            yield Left(
                ground.repo, ref, causes.get(ref) or causes.get(shown) or "it is there still"
            )


async def _needed(ground: Ground, manifest: Blob, ref: str | None = None) -> None:
    """Put a manifest without which there is no test."""
    answer = await ground.put(manifest, ref)
    if isinstance(answer, StoreError):
        raise answer


async def _check_empty(remote: Remote, repo: str) -> None:
    """Refuse a repository that may be somebody's."""
    subject = f"{remote.host}/{repo}"
    for access in (Access(repo), Access(repo, push=True)):
        listing = Listing(subject, f"/v2/{repo}/tags/list", access, "tags", "tag list", is_tag)
        try:
            tags = await list_names(remote, listing)
        except NotFound:
            return
        except (AccessDenied, AuthenticationError):
            # Registries hide from readers that a repository is not there yet.
            if access.push:
                raise
            continue
        if tags:
            noun = "a tag" if len(tags) == 1 else f"{len(tags):,} tags"
            message = f"{subject} holds {noun}, among them {printable(tags[0])}: it is not ours"
            raise UsageError(message, hint="name a repository that is not there, or is empty")
        return


async def _sibling(ground: Ground) -> str | None:
    """Find a second repository of ours that we may write to; None if there is none."""
    remote, most = ground.remote, ground.remote.quirks.most_segments
    for name in siblings_of(ground.repo):
        if most is not None and name.count("/") >= most:
            continue
        try:
            await _check_empty(remote, name)
            call = ground.call("POST", "", accepts=frozenset({202}), access=Access(name, push=True))
            answer = await ground.ask(replace(call, target=f"/v2/{name}/blobs/uploads/"))
        except (StoreError, UsageError):
            continue
        if isinstance(answer, StoreError):
            continue
        session = opened(remote, name, Blob.random().descriptor, answer)
        if session is not None:
            await session.cancel()
        return name
    return None
