"""Verify images: those that a state records, a plan writes, or a layout lists.

The state, a plan or the layout's own index says what should be there; what is there is asked of the
destination itself, and never of a cache. Takes no lock and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.errors import ProtocolError, StoreError, on_side
from imgmigrate.events import Checked, NoSink
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Reference
from imgmigrate.stores.layout.store import LayoutStore
from imgmigrate.stores.place import Place
from imgmigrate.verifying.origins import Origins
from imgmigrate.verifying.verdict import Fault, Findings, Kind, Standing, Verdict, Verified
from imgmigrate.verifying.walk import Walk, each
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.plan import Change
    from imgmigrate.state.record import Carried, Filter, ImageRecord
    from imgmigrate.stores.base import Store
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.verifying.evidence import Stated
    from imgmigrate.workspace import Workspace

    Entries = Sequence[tuple[str | None, Descriptor | ProtocolError]]

__all__ = ["VerifyOptions", "verify_changes", "verify_layout", "verify_records", "verify_stated"]

# The address does not show the image, so nothing that refers to it is looked for.
_OTHER = (Kind.ABSENT, Kind.CHANGED)


class VerifyOptions(Struct, frozen=True):
    """How to verify: `deep` reads every byte; `parallelism` is images and requests at once.

    With `sources` also the sources of records are asked what they show now.
    """

    deep: bool = False
    parallelism: int = 32
    on_rate_limit: OnRateLimit = "wait"
    sources: bool = False


async def verify_records(
    config: Config | Workspace,
    records: Iterable[ImageRecord],
    options: VerifyOptions | None = None,
    *,
    sink: Sink | None = None,
) -> Verified:
    """Verify what live records say against their destinations."""
    live = [record for record in records if record.is_live]
    wanted = [
        _Wanted(
            record.address,
            record.digest,
            choice=record.filter,
            takes_foreign=bool(record.copies_foreign),
            along=record.referrers or (),
            record=record,
        )
        for record in live
    ]
    verified = await _verify(config, wanted, options or VerifyOptions(), sink)
    return replace(verified, pending=sum(bool(record.referrers_pending) for record in live))


async def verify_changes(
    config: Config | Workspace,
    changes: Iterable[Change],
    options: VerifyOptions | None = None,
    *,
    sink: Sink | None = None,
) -> Verified:
    """Verify that what the rows of a plan write, or record, is at their destinations."""
    wanted = [
        _Wanted(
            change.address,
            change.after,
            choice=change.filter,
            takes_foreign=bool(change.copies_foreign),
            along=change.referrers or (),
        )
        for change in changes
        if change.after is not None
    ]
    return await _verify(config, wanted, options or VerifyOptions(), sink)


async def verify_stated(
    config: Config | Workspace,
    stated: Iterable[Stated],
    options: VerifyOptions | None = None,
    *,
    sink: Sink | None = None,
) -> Verified:
    """Verify that what a report says is at its destinations, whatever became of the rest."""
    wanted = [
        _Wanted(
            one.address,
            one.digest,
            choice=one.filter,
            takes_foreign=one.copies_foreign,
            along=one.referrers or (),
        )
        for one in stated
    ]
    return await _verify(config, wanted, options or VerifyOptions(), sink)


async def _verify(
    config: Config | Workspace, wanted: Sequence[_Wanted], options: VerifyOptions, sink: Sink | None
) -> Verified:
    workspace = open_workspace(config, sink=sink, on_rate_limit=options.on_rate_limit)
    async with workspace.stores() as stores:
        verification = _Verification(stores, options, workspace.sink)
        if options.sources:
            slots = asyncio.Semaphore(options.parallelism)
            verification.origins = Origins(workspace.config, stores, workspace.cache, slots)
        verified = await verification.verify(wanted)
        return replace(verified, requests=stores.requests())


async def verify_layout(
    base: Path,
    repository: Repository,
    tag: str | None = None,
    options: VerifyOptions | None = None,
    *,
    sink: Sink | None = None,
) -> Verified:
    """Verify all that a layout's index lists, or one tag of it, against the layout itself.

    `base` is the folder that its path is relative to.
    """
    options, sink = options or VerifyOptions(), sink or NoSink()
    store = LayoutStore(base)
    try:
        with on_side("destination"):
            entries = await store.entries(repository.path)
    except StoreError as error:
        verdict = Verdict(Reference(repository), None, error=error)
        return Verified(1, 0, 0, options.deep, (verdict,))
    wanted = _listed(repository, entries) if tag is None else [_tagged(repository, entries, tag)]
    return await _Verification(_Layouts(store), options, sink).verify(wanted)


class _Wanted(Struct, frozen=True):
    """One image to verify, and what is known to be wrong with it before anybody looks.

    A `descriptor` is of something that only its digest names; `along` went with the image, and
    `choice` is what was copied of it.
    """

    address: Reference
    digest: Digest | None
    size: int | None = None
    descriptor: Descriptor | None = None
    fault: Fault | None = None
    choice: Filter | None = None
    takes_foreign: bool = False
    along: tuple[Carried, ...] = ()
    record: ImageRecord | None = None


class _Stores(Protocol):
    def of(self, repository: Repository) -> Store:
        """The store that holds a repository."""


class _Layouts(Struct, frozen=True):
    store: LayoutStore

    def of(self, _: Repository) -> Store:
        return self.store


@dataclass(slots=True)
class _Verification:
    """One run: images in the order of their addresses, what a repository shares asked for once."""

    stores: _Stores
    options: VerifyOptions
    sink: Sink
    done: int = 0
    total: int = 0
    blobs: int = 0
    size: int = 0
    referrers: int = 0
    origins: Origins | None = None
    _slots: asyncio.Semaphore = field(init=False)
    _walks: dict[Repository, Walk] = field(default_factory=dict)
    _left: Counter[Repository] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.options.parallelism)

    async def verify(self, wanted: Sequence[_Wanted]) -> Verified:
        """Look at all of them; keep what is not whole."""
        self.total = len(wanted)
        self._left.update(one.address.repository for one in wanted)
        jobs = [partial(self._one, one) for one in wanted]
        verdicts = await each(jobs, self.options.parallelism)
        return Verified(
            images=len(wanted),
            blobs=self.blobs,
            size=self.size,
            deep=self.options.deep,
            verdicts=tuple(verdict for verdict in verdicts if verdict is not None),
            referrers=self.referrers,
        )

    async def _one(self, wanted: _Wanted) -> Verdict | None:
        repository = wanted.address.repository
        walk = self._walk(repository)
        if wanted.fault is not None:
            findings = Findings([wanted.fault])
        elif wanted.descriptor is not None:
            findings = await walk.part(wanted.descriptor)
        else:
            findings = await walk.image(
                wanted.address,
                wanted.digest,
                wanted.size,
                wanted.choice,
                takes_foreign=wanted.takes_foreign,
            )
            # Of what is not there at all the plan that brings it brings these, too.
            if wanted.along and not any(fault.kind in _OTHER for fault in findings.faults):
                findings = findings.with_others(await walk.along(wanted.along))
        if self.origins is not None and wanted.record is not None:
            findings = findings.with_others(await self.origins.look(wanted.record))
        self._leave(repository)
        self.done += 1
        size = self.size + sum(one.size for one in self._walks.values())
        self.sink.emit(Checked(self.done, self.total, size if self.options.deep else None))
        verdict = Verdict(
            wanted.address, wanted.digest, tuple(findings.faults), findings.more, findings.error
        )
        return None if verdict.standing is Standing.WHOLE else verdict

    def _walk(self, repository: Repository) -> Walk:
        walk = self._walks.get(repository)
        if walk is None:
            place = Place(self.stores.of(repository), repository.path)
            walk = Walk(place, self._slots, self.sink, self.options.deep)
            self._walks[repository] = walk
        return walk

    def _leave(self, repository: Repository) -> None:
        """Forget a repository's answers with its last image: memory does not grow with a state."""
        self._left[repository] -= 1
        if not self._left[repository]:
            walk = self._walks.pop(repository)
            self.blobs += walk.blobs
            self.size += walk.size
            self.referrers += walk.referrers


def _listed(repository: Repository, entries: Entries) -> list[_Wanted]:
    """All that a layout's index lists, each name and each nameless digest once."""
    wanted: dict[Reference, _Wanted] = {}
    for name, entry in entries:
        if isinstance(entry, ProtocolError):
            address = repository.at(name) if name else Reference(repository)
            fault = Fault(Kind.DAMAGED, "index", found=entry.cause)
            one = _Wanted(address, None, fault=fault)
        elif name is not None and entry.is_manifest:
            one = _Wanted(repository.at(name), entry.digest, entry.size)
        else:
            address = repository.at(entry.digest)
            one = _Wanted(address, entry.digest, descriptor=entry)
        wanted.setdefault(one.address, one)
    return sorted(wanted.values(), key=lambda one: str(one.address))


def _tagged(repository: Repository, entries: Entries, tag: str) -> _Wanted:
    """One tag; where the index is at odds with itself, whoever reads it is told so."""
    found = [entry for name, entry in entries if name == tag and isinstance(entry, Descriptor)]
    if len({entry.digest for entry in found}) != 1:
        return _Wanted(repository.at(tag), None)
    return _Wanted(repository.at(tag), found[0].digest, found[0].size)
