"""Say what a change costs: read the manifests of what would be copied, never its blobs' bytes.

A metered registry's pulls are not spent only to show a size; what is not known stays absent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from imgmigrate.errors import StoreError
from imgmigrate.oci.bounds import Graph
from imgmigrate.oci.platforms import IndexForm
from imgmigrate.plan import Action
from imgmigrate.planning.passes.platforms import chosen
from imgmigrate.planning.passes.traffic import loads_of
from imgmigrate.stores.place import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.planning.passes.traffic import Load
    from imgmigrate.state.record import Filter, State
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["Measure", "Sizes"]

Sizes = Literal["auto", "always", "never"]
# What is written, what is left out of it, and whether foreign layers go along.
_Image = tuple["Digest", "Filter | None", bool]


class Contents(Struct):
    """What a manifest consists of: blobs and manifests with their sizes in bytes."""

    blobs: dict[Digest, int] = field(default_factory=dict)
    manifests: dict[Digest, int] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    skipped: set[Digest] = field(default_factory=set)

    def add(self, manifest: Manifest, graph: Graph) -> None:
        """Count one manifest and its own blobs; foreign layers travel only where they are to."""
        self.manifests[manifest.digest] = len(manifest.raw)
        self.blobs.update((blob.digest, blob.size) for blob in graph.blobs(manifest))
        self.skipped.update(each.digest for each in manifest.blobs)
        self.skipped -= self.blobs.keys()


class Measure(Struct, frozen=True):
    """Adds sizes, platforms and blob counts to the rows that write, where they can be known."""

    place: Callable[[Repository], Place]
    cache: ManifestCache
    state: State
    sizes: Sizes
    parallelism: int
    is_part: bool

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Read the manifests of what would be copied."""
        return await _measured(
            changes,
            self.place,
            self.cache,
            self.state,
            self.sizes,
            self.parallelism,
            is_part=self.is_part,
        )


async def _measured(
    changes: Iterable[Change],
    place: Callable[[Repository], Place],
    cache: ManifestCache,
    state: State,
    sizes: Sizes,
    parallelism: int,
    *,
    is_part: bool,
) -> list[Change]:
    changes = sorted(changes, key=lambda change: str(change.address))
    found: dict[_Image, Contents | None] = {}
    slots = asyncio.Semaphore(parallelism)

    async def look(image: _Image, origin: Digest, source: Place) -> None:
        async with slots:
            found[image] = await _contents(source, origin, cache, sizes, *image[1:])

    if sizes != "never":
        async with asyncio.TaskGroup() as group:
            for change in changes:
                if _is_measured(change) and change.source and change.after:
                    image = _image(change, change.after)
                    if image in found:
                        continue
                    found[image] = None
                    source = place(change.source.reference.repository)
                    group.create_task(look(image, change.source.digest, source))
    measured = [
        (change, contents)
        for change in changes
        if _is_measured(change)
        and change.after
        and (contents := found.get(_image(change, change.after)))
    ]
    rows = [(change, contents.blobs) for change, contents in measured]
    loads = await loads_of(rows, changes, place, cache, state, parallelism, is_part=is_part)
    described = {
        change.address: _described(change, contents, load)
        for (change, contents), load in zip(measured, loads, strict=True)
    }
    return [described.get(change.address, change) for change in changes]


def _is_measured(change: Change) -> bool:
    """Tell whether a row sends an image: what only completes one says itself what it sends."""
    return change.action.writes and change.action is not Action.REFER


def _image(change: Change, after: Digest) -> _Image:
    return after, change.filter, bool(change.copies_foreign)


async def _contents(
    source: Place,
    top: Digest,
    cache: ManifestCache,
    sizes: Sizes,
    choice: Filter | None,
    takes_foreign: bool,
) -> Contents | None:
    """Walk a manifest graph; None if some part of it is not known without paying for it."""
    contents, graph = Contents(), Graph(takes_foreign=takes_foreign)
    waiting = [(top, 0)]
    while waiting:
        digest, depth = waiting.pop()
        if digest in contents.manifests:
            continue
        if sizes == "auto" and source.store.is_metered:
            manifest = cache.get(digest)
            if manifest is None:
                return None
        else:
            try:
                manifest = await read_manifest(source, digest, cache)
            except StoreError:  # applying will say it; a size is not worth an error
                return None
        try:
            manifest = chosen(manifest, choice) if depth == 0 else manifest
            graph.enter(manifest, depth)
        except ValueError:  # likewise
            return None
        if depth == 0:
            contents.platforms = manifest.platforms
        is_unwrapped = choice is not None and choice.form is IndexForm.UNWRAP and manifest.is_index
        if depth > 0 or not is_unwrapped:
            contents.add(manifest, graph)
        for child in manifest.children:
            if child.is_manifest:
                waiting.append((child.digest, depth + 1))
            else:
                contents.blobs[child.digest] = child.size
    return contents


def _described(change: Change, contents: Contents, load: Load) -> Change:
    """Write into a row what its image consists of, and what has to be sent of it.

    Of what goes along nobody asks whether it is there; where an image moves it is.
    """
    sent: int | None = load.sent
    along: int | None = 0
    if change.referrers and change.action is not Action.MOVE:
        along = change.referrer_bytes
        sent = None if along is None else load.sent + along
    return change.model_copy(
        update={
            "size": sum(contents.blobs.values()) + sum(contents.manifests.values()),
            "transfer_bytes": sent,
            "unsure_bytes": load.unsure + (along or 0) or None,
            "spared_bytes": load.spared,
            "platforms": contents.platforms or change.platforms,
            "blobs": len(contents.blobs),
            "skipped_layers": len(contents.skipped) or None,
        }
    )
