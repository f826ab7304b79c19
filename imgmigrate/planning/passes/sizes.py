"""Say what a change costs: read the manifests of what would be copied, never its blobs.

A metered registry's pulls are not spent only to show a size; what is not known stays absent.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from imgmigrate.errors import StoreError
from imgmigrate.oci.bounds import Graph
from imgmigrate.plan import Action, Reason
from imgmigrate.planning.passes.platforms import chosen
from imgmigrate.stores.place import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.state.record import Filter, State
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["Measure", "Sizes"]

Sizes = Literal["auto", "always", "never"]


@dataclass(slots=True)
class Contents:
    """What a manifest consists of: blobs and manifests with their sizes in bytes."""

    blobs: dict[Digest, int] = field(default_factory=dict)
    manifests: dict[Digest, int] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()

    def add(self, manifest: Manifest) -> None:
        """Count one manifest and its own blobs; foreign layers do not travel."""
        self.manifests[manifest.digest] = len(manifest.raw)
        for blob in manifest.blobs:
            if not blob.is_foreign:
                self.blobs[blob.digest] = blob.size


@dataclass(frozen=True, slots=True)
class Measure:
    """Adds sizes, platforms and blob counts to the rows that write, where they can be known."""

    place: Callable[[Repository], Place]
    cache: ManifestCache
    state: State
    sizes: Sizes
    parallelism: int

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Read the manifests of what would be copied."""
        return await _measured(
            changes, self.place, self.cache, self.state, self.sizes, self.parallelism
        )


async def _measured(
    changes: Iterable[Change],
    place: Callable[[Repository], Place],
    cache: ManifestCache,
    state: State,
    sizes: Sizes,
    parallelism: int,
) -> list[Change]:
    changes = sorted(changes, key=lambda change: str(change.address))
    found: dict[Digest, Contents | None] = {}
    slots = asyncio.Semaphore(parallelism)

    async def look(digest: Digest, origin: Digest, change: Change, source: Place) -> None:
        async with slots:
            found[digest] = await _contents(source, origin, cache, sizes, change.filter)

    if sizes != "never":
        async with asyncio.TaskGroup() as group:
            for change in changes:
                if change.action.writes and change.source and change.after:
                    if change.after in found:
                        continue
                    found[change.after] = None
                    source = place(change.source.reference.repository)
                    group.create_task(look(change.after, change.source.digest, change, source))
    there = _already_there(changes, cache, state)
    return _share(changes, found, there, await _in_layouts(changes, found, place))


async def _contents(
    source: Place, top: Digest, cache: ManifestCache, sizes: Sizes, choice: Filter | None
) -> Contents | None:
    """Walk a manifest graph; None if some part of it is not known without paying for it."""
    contents, graph = Contents(), Graph()
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
        contents.add(manifest)
        if depth == 0:
            contents.platforms = manifest.platforms
        for child in manifest.children:
            if child.is_manifest:
                waiting.append((child.digest, depth + 1))
            else:
                contents.blobs[child.digest] = child.size
    return contents


def _already_there(
    changes: list[Change], cache: ManifestCache, state: State
) -> dict[str, set[Digest]]:
    """Blobs that our own images brought to the destination stores, as far as the cache knows.

    Nothing is known of a repository that something of ours is gone from, nor of a layout, which
    can be looked at.
    """
    repositories = {change.address.repository for change in changes if change.action.writes}
    repositories -= {change.address.repository for change in changes if change.tells_of_loss}
    known: dict[str, set[Digest]] = {}
    written = (each for each in repositories if not each.is_layout)
    for record in (record for repository in written for record in state.of(repository)):
        repository = record.address.repository
        waiting = [record.digest]
        while waiting:
            manifest = cache.get(waiting.pop())
            if manifest is not None:
                waiting += [child.digest for child in manifest.children if child.is_manifest]
                known.setdefault(repository.store, set()).update(
                    blob.digest for blob in manifest.blobs
                )
    return known


async def _in_layouts(
    changes: list[Change],
    found: dict[Digest, Contents | None],
    place: Callable[[Repository], Place],
) -> dict[Repository, set[Digest]]:
    """Blobs that the layouts to be written hold, in files of their size."""
    wanted: defaultdict[Repository, dict[Digest, int]] = defaultdict(dict)
    for change in changes:
        contents = found.get(change.after) if change.after and change.action.writes else None
        if contents is not None and change.address.repository.is_layout:
            wanted[change.address.repository].update(contents.blobs)
    held = {}
    for repository, blobs in wanted.items():
        layout = place(repository)
        try:
            sizes = await layout.store.sizes(layout.repo, blobs)
        except StoreError:  # applying will say it
            continue
        held[repository] = {each for each, size in sizes.items() if blobs[each] == size}
    return held


def _share(
    changes: list[Change],
    found: dict[Digest, Contents | None],
    there: dict[str, set[Digest]],
    layouts: dict[Repository, set[Digest]],
) -> list[Change]:
    """Charge each blob to the first change, by address, that brings it to a store."""
    measured = []
    for change in changes:
        contents = found.get(change.after) if change.after else None
        if not change.action.writes or contents is None:
            measured.append(change)
            continue
        known = there.setdefault(change.address.repository.store, set())
        here = known | layouts.get(change.address.repository, set())
        fresh = {digest: size for digest, size in contents.blobs.items() if digest not in here}
        known.update(fresh)
        # Its blobs are mounted, or where they have to be.
        is_near = change.action is Action.MOVE or change.is_near
        # What is written again is looked for blob by blob: only that tells what is missing.
        is_again = change.before == change.after and change.reason != Reason.INCOMPLETE
        moving = None if is_again else sum(fresh.values())
        measured.append(
            change.model_copy(
                update={
                    "size": sum(contents.blobs.values()) + sum(contents.manifests.values()),
                    "transfer_bytes": 0 if is_near else moving,
                    "platforms": contents.platforms or change.platforms,
                    "blobs": len(contents.blobs),
                }
            )
        )
    return measured
