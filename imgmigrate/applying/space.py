"""Compare what a run writes to layouts with what is free on their disks, before the first byte.

A disk that is full after hours is found out in seconds. What a row needs is counted only as far
as it is known without a request, and what can be shared by links is counted once, so that no run
is refused that would fit.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.errors import NoRoom, StoreError
from imgmigrate.oci.bounds import Graph
from imgmigrate.stores.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.plan import Change
    from imgmigrate.state.record import State
    from imgmigrate.stores.base import Room, Stores
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["check_space"]

KIB = 1024
FINE_BELOW = 64 * KIB * KIB


class _Disk(Struct):
    """A disk and the rows that write to layouts on it."""

    room: Room
    rows: list[Change] = field(default_factory=list)


async def check_space(
    changes: Sequence[Change], stores: Stores, cache: ManifestCache, state: State
) -> None:
    """Raise ImgmigrateError if a disk cannot take what is to be written to its layouts."""
    space = _Space(stores, cache, state)
    for disk in await space.disks(changes):
        most = [change.size for change in disk.rows]
        if None not in most and sum(size or 0 for size in most) <= disk.room.free:
            continue
        need = await space.need(disk)
        if need > disk.room.free:
            message = (
                f"{disk.room.path}: {_printed(need)} are to be written to layouts there, and "
                f"{_printed(disk.room.free)} are free; nothing was written"
            )
            hint = "free some space, or apply a part of the plan with `target`"
            raise NoRoom(message, hint=hint)


class _Space(Struct, frozen=True):
    stores: Stores
    cache: ManifestCache
    state: State

    async def disks(self, changes: Iterable[Change]) -> list[_Disk]:
        """Sort the rows that write to layouts by the disks that these are on."""
        rows: defaultdict[Repository, list[Change]] = defaultdict(list)
        for change in changes:
            if change.address.repository.is_layout and change.action.writes:
                rows[change.address.repository].append(change)
        disks: dict[int, _Disk] = {}
        for repository, group in rows.items():
            place = self._place(repository)
            try:
                room = await place.store.room(place.repo)
            except StoreError:  # writing will say it
                continue
            if room is not None:
                disks.setdefault(room.disk, _Disk(room)).rows += group
        return list(disks.values())

    async def need(self, disk: _Disk) -> int:
        """Sum up, in bytes, what the layouts of a disk lack."""
        wanted: defaultdict[Repository, dict[Digest, int]] = defaultdict(dict)
        for change in disk.rows:
            if not change.is_near:
                wanted[change.address.repository].update(await self._contents(change))
        lacking = {
            repository: await self._without(parts, repository)
            for repository, parts in wanted.items()
        }
        need = sum(sum(parts.values()) for parts in lacking.values())
        if need <= disk.room.free or not await self._has_links(disk):
            return need
        shared: dict[Digest, int] = {}
        for parts in lacking.values():
            shared.update(parts)
        for repository in await self._neighbours(disk):
            shared = await self._without(shared, repository)
        return sum(shared.values())

    async def _has_links(self, disk: _Disk) -> bool:
        place = self._place(disk.rows[0].address.repository)
        try:
            return await place.store.has_links(place.repo)
        except StoreError:
            return False

    async def _neighbours(self, disk: _Disk) -> list[Repository]:
        """The layouts on a disk that we know of: blobs are linked from them."""
        known = set(self.state.repositories())
        for change in disk.rows:
            known.add(change.address.repository)
            if change.source is not None:
                known.add(change.source.reference.repository)
        found = []
        for repository in sorted(known):
            if repository.is_layout:
                place = self._place(repository)
                room = await place.store.room(place.repo)
                if room is not None and room.disk == disk.room.disk:
                    found.append(repository)
        return found

    async def _without(self, parts: dict[Digest, int], repository: Repository) -> dict[Digest, int]:
        """Leave out what a layout holds already."""
        place = self._place(repository)
        try:
            there = await place.store.sizes(place.repo, parts)
        except StoreError:
            return parts
        return {each: size for each, size in parts.items() if there.get(each) != size}

    async def _contents(self, change: Change) -> dict[Digest, int]:
        """List what an image consists of, as far as its manifests are at hand."""
        if change.source is None:
            return {}
        source = self._place(change.source.reference.repository)
        found: dict[Digest, int] = {}
        graph = Graph(takes_foreign=bool(change.copies_foreign))
        waiting = [(change.source.digest, 0)]
        while waiting:
            digest, depth = waiting.pop()
            manifest = await self._at_hand(source, digest)
            if manifest is None or digest in found:
                continue
            try:
                if depth == 0 and change.filter is not None:
                    manifest = change.filter.chosen(manifest)
                graph.enter(manifest, depth)
            except ValueError:  # carrying it out will say it
                return {}
            found[manifest.digest] = len(manifest.raw)
            found.update((blob.digest, blob.size) for blob in graph.blobs(manifest))
            for child in manifest.children:
                if child.is_manifest:
                    waiting.append((child.digest, depth + 1))
                else:
                    found[child.digest] = child.size
        return found

    async def _at_hand(self, source: Place, digest: Digest) -> Manifest | None:
        if not source.repository.is_layout:
            return self.cache.get(digest)
        try:
            return await source.store.manifest(source.repo, digest)
        except StoreError:
            return None

    def _place(self, repository: Repository) -> Place:
        return Place(self.stores.of(repository), repository.path)


def _printed(count: int) -> str:
    """Print bytes so that two sizes which differ a little do not look the same."""
    return f"{count / KIB:,.0f} KiB" if count < FINE_BELOW else f"{count / KIB / KIB:,.1f} MiB"
