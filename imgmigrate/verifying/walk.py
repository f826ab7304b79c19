"""Walk one image as a puller does: its tag, its manifests, its blobs, each where it should be.

And what goes along with it: each signature or SBOM is read by its digest or its tag, and what it
refers to has to show it, in the registry's list or in that under the fallback tag.

Reads only. What several images of a repository share is asked for once: whoever comes first
asks, the others wait for the answer. Answers are values, failures too, so that one image's
trouble ends no other's. Whoever waits for an answer holds no slot: no two can wait for
each other.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field

from imgmigrate.errors import (
    IntegrityError,
    NotFound,
    ProtocolError,
    StoreError,
    on_side,
)
from imgmigrate.oci.bounds import Graph
from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.stores.resumed import is_right
from imgmigrate.stores.slots import hold
from imgmigrate.verifying.verdict import Fault, Findings, Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.state.record import Carried, Filter
    from imgmigrate.stores.place import Place
    from imgmigrate.verifying.verdict import Part

__all__ = ["Walk", "each"]

T = TypeVar("T")
# Parts of one image that are asked for at once; the images beside it have theirs.
PARTS_AT_ONCE = 16
# Of what is whole; never added to.
_CLEAN = Findings()


class Walk(Struct):
    """Walks images of one repository; `slots` limits the requests of the whole run."""

    place: Place
    slots: asyncio.Semaphore
    sink: Sink
    deep: bool
    # Distinct blobs that were looked at, and their bytes.
    blobs: int = 0
    size: int = 0
    referrers: int = 0
    _answers: dict[Hashable, asyncio.Future[Findings] | Findings] = field(default_factory=dict)

    async def image(
        self,
        address: Reference,
        digest: Digest | None,
        size: int | None = None,
        choice: Filter | None = None,
        *,
        takes_foreign: bool = False,
    ) -> Findings:
        """Find what is wrong with the image at an address, which should have this digest.

        What `choice` leaves out of a sparse index is not looked for, and layers that are not to be
        distributed only where the image `takes_foreign` ones.
        """
        findings = Findings()
        part: Part = "manifest"
        try:
            top = await self._read(address.target)
        except NotFound:
            findings.add(Fault(Kind.ABSENT, part, digest))
        except StoreError as error:
            await self._judge_top(error, digest, findings)
        else:
            part = _part(top)
            if digest is not None and not digest.matches(top.raw):
                findings.add(Fault(Kind.CHANGED, part, digest, found=top.digest))
            elif size is not None and size != len(top.raw):
                findings.add(Fault(Kind.SIZE, part, digest, size, str(len(top.raw))))
            else:
                top = choice.present(top) if choice else top
                graph = Graph(takes_foreign=takes_foreign)
                findings.join(await self._below(top, graph, 0))
        return findings

    async def part(self, descriptor: Descriptor) -> Findings:
        """Find what is wrong with something that only a digest names."""
        return await self._child(descriptor, Graph(), 0)

    async def along(self, carried: Iterable[Carried]) -> Findings:
        """Find what is wrong with what goes along with an image that is there."""
        subjects: defaultdict[Digest, list[Carried]] = defaultdict(list)
        for one in carried:
            subjects[one.refers_to].append(one)
        findings = Findings()
        jobs = [partial(self._about, subject, tuple(all_)) for subject, all_ in subjects.items()]
        for found in await each(jobs, PARTS_AT_ONCE):
            findings.join(found)
        return findings

    async def _about(self, subject: Digest, carried: tuple[Carried, ...]) -> Findings:
        look = partial(self._look_at_all_about, subject, carried)
        return await self._once(("about", subject, carried), look)

    async def _look_at_all_about(self, subject: Digest, carried: tuple[Carried, ...]) -> Findings:
        """Look at what refers to one manifest, and at the list that is to name all of it."""
        self.referrers += len(carried)
        findings = Findings()
        listable: list[Carried] = []
        jobs = [partial(self._referrer, one) for one in carried]
        for one, found in zip(carried, await each(jobs, PARTS_AT_ONCE), strict=True):
            findings.join(found.of(one))
            if one.tag is None and found.error is None and not _lacks(found, one.digest):
                listable.append(one)
        if not listable:
            return findings
        try:
            listed = await self._listed(subject, {one.digest for one in listable})
        except StoreError as error:
            findings.error = findings.error or error
            return findings
        for one in listable:
            if one.digest not in listed:
                fault = Fault(Kind.UNLISTED, "manifest", one.digest, one.size, referrer=one)
                findings.add(fault)
        return findings

    async def _referrer(self, carried: Carried) -> Findings:
        """Look at a signature or the like; one that is gone is not also called unlisted."""
        wanted = Descriptor(carried.media_type, carried.digest, carried.size)
        if carried.tag is None:
            return await self._child(wanted, Graph(), 0)
        found: Digest | None = None
        try:
            shown = await self._read(carried.tag)
        except NotFound:
            pass
        except StoreError as error:
            return await self._child(wanted, Graph(), 0) if self._is_damage(error) else _not(error)
        else:
            if carried.digest.matches(shown.raw):
                return await self._below(shown, Graph(), 0)
            found = shown.digest
        findings = Findings()
        findings.join(await self._child(wanted, Graph(), 0))
        if not _lacks(findings, carried.digest):
            findings.add(
                Fault(Kind.UNLISTED, "manifest", carried.digest, carried.size, found=found)
            )
        return findings

    async def _listed(self, subject: Digest, wanted: set[Digest]) -> set[Digest]:
        """What a destination lists of a manifest; its fallback tag is read where that counts."""
        store, repo = self.place.store, self.place.repo
        async with self.slots:
            with on_side("destination"):
                found = await store.referrers(repo, subject, ())
                listed = {one.descriptor.digest for one in found}
                if not wanted <= listed and not await store.lists_referrers(repo, subject):
                    found = await store.referrers(repo, subject, (fallback_tag(subject),))
                    listed |= {one.descriptor.digest for one in found}
        return listed

    async def _judge_top(
        self, error: StoreError, digest: Digest | None, findings: Findings
    ) -> None:
        """Tell a layout's tag whose manifest is gone from one that cannot be read."""
        if not self._is_damage(error):
            findings.error = error
            return
        kind, found = Kind.DAMAGED, error.cause
        if digest is not None and self.place.repository.is_layout:
            try:
                await self._read(digest)
            except NotFound:
                kind, found = Kind.MISSING, ""
            except StoreError:
                pass  # damaged it is
        findings.add(Fault(kind, "manifest", digest, found=found or None))

    async def _below(self, manifest: Manifest, graph: Graph, depth: int) -> Findings:
        """Look at all that a manifest refers to; layers that nobody distributes left out."""
        findings = Findings()
        try:
            graph.enter(manifest, depth)
        except ValueError as error:
            findings.error = ProtocolError(f"{self.place.repository}@{manifest.digest}", str(error))
            return findings
        jobs = [partial(self._blob, blob) for blob in graph.blobs(manifest)]
        jobs += [partial(self._child, child, graph, depth + 1) for child in manifest.children]
        for found in await each(jobs, PARTS_AT_ONCE):
            findings.join(found)
        return findings

    async def _child(self, child: Descriptor, graph: Graph, depth: int) -> Findings:
        return await self._once(
            (child.digest, child.size, graph.takes_foreign),
            partial(self._look_at_child, child, graph, depth),
        )

    async def _look_at_child(self, child: Descriptor, graph: Graph, depth: int) -> Findings:
        findings = Findings()
        try:
            manifest = await self._read(child.digest)
        except (NotFound, ProtocolError) as error:
            if not child.is_manifest:
                # An index may list blobs (BuildKit caches): what is no manifest is one.
                return await self._blob(child)
            if isinstance(error, NotFound):
                findings.add(Fault(Kind.MISSING, "manifest", child.digest, child.size))
            else:
                self._judge(error, "manifest", child, findings)
        except StoreError as error:
            self._judge(error, "manifest", child, findings)
        else:
            if child.size != len(manifest.raw):
                found = str(len(manifest.raw))
                findings.add(Fault(Kind.SIZE, _part(manifest), child.digest, child.size, found))
            findings.join(await self._below(manifest, graph, depth))
        return findings

    async def _blob(self, blob: Descriptor) -> Findings:
        key = ("blob", blob.digest, blob.size)
        return await self._once(key, partial(self._look_at_blob, blob))

    async def _look_at_blob(self, blob: Descriptor) -> Findings:
        findings = Findings()
        self.blobs += 1
        self.size += blob.size
        try:
            with on_side("destination"):
                fault = await (self._hash(blob) if self.deep else self._measure(blob))
        except NotFound:
            findings.add(Fault(Kind.MISSING, "blob", blob.digest, blob.size))
        except StoreError as error:
            self._judge(error, "blob", blob, findings)
        else:
            if fault is not None:
                findings.add(fault)
        return findings

    async def _measure(self, blob: Descriptor) -> Fault | None:
        async with self.slots:
            size = await self.place.store.blob_size(self.place.repo, blob)
        if size is None:
            return Fault(Kind.MISSING, "blob", blob.digest, blob.size)
        if size != blob.size:
            return Fault(Kind.SIZE, "blob", blob.digest, blob.size, str(size))
        return None

    async def _hash(self, blob: Descriptor) -> Fault | None:
        """Read every byte; memory is a piece's, whatever the blob's size."""
        if not blob.size:  # nothing would be asked for
            return await self._measure(blob)
        async with hold(self.place.store.budget.read):
            is_whole = await is_right(self.place, blob, self.sink, side="destination")
        if not is_whole:
            return Fault(Kind.DAMAGED, "blob", blob.digest, blob.size, "its bytes are others")
        return None

    def _judge(self, error: StoreError, part: Part, wanted: Descriptor, findings: Findings) -> None:
        if self._is_damage(error):
            fault = Fault(Kind.DAMAGED, part, wanted.digest, wanted.size, error.cause)
            findings.add(fault)
        else:
            findings.error = error

    def _is_damage(self, error: StoreError) -> bool:
        """Tell whether what is there is wrong, and not whether it can be asked for.

        A layout has no server in between: what breaks its specification is broken on disk.
        """
        if isinstance(error, IntegrityError):
            return True
        return isinstance(error, ProtocolError) and self.place.repository.is_layout

    async def _read(self, ref: str) -> Manifest:
        async with self.slots:
            with on_side("destination"):
                return await self.place.store.manifest(self.place.repo, ref)

    async def _once(self, key: Hashable, look: Callable[[], Awaitable[Findings]]) -> Findings:
        """Look once, however many ask; a failure that is no finding ends the whole run."""
        known = self._answers.get(key)
        if known is not None:
            return known if isinstance(known, Findings) else await asyncio.shield(known)
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        try:
            findings = await look()
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except Exception as error:
            answer.set_exception(error)
            answer.exception()  # whoever waits is told too, and nobody has to
            raise
        answer.set_result(findings)
        # A repository may have a hundred thousand parts, nearly all of them whole.
        self._answers[key] = findings if findings.faults or findings.error else _CLEAN
        return findings


async def each(jobs: Iterable[Callable[[], Awaitable[T]]], most: int) -> list[T]:
    """Do all jobs, `most` at a time; results are in the order of the jobs."""
    jobs = list(jobs)
    results: dict[int, T] = {}
    waiting = iter(enumerate(jobs))

    async def work() -> None:
        for number, job in waiting:
            results[number] = await job()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(most, len(jobs))):
            group.create_task(work())
    return [results[number] for number in range(len(jobs))]


def _not(error: StoreError) -> Findings:
    return Findings(error=error)


def _lacks(findings: Findings, digest: Digest) -> bool:
    return any(fault.kind is Kind.MISSING and fault.digest == digest for fault in findings.faults)


def _part(manifest: Manifest) -> Part:
    return "index" if manifest.is_index else "manifest"
