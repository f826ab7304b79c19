"""What the tests of applying share: places, plans and engines over memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from imgmigrate.applying.engine.engine import Engine
from imgmigrate.applying.worker.worker import open_worker
from imgmigrate.events import NoSink, Receipt
from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.plan import Action, Change
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import Source, State
from imgmigrate.stores.cache import ManifestCache
from tests.fakes.memory import MemoryStore, MemoryStores
from tests.support.records import make_record

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.events import Sink

OLD, NEW = "old.example", "new.example"


def copy(
    repo: str,
    tag: str,
    digest: Digest,
    *,
    to: str | None = None,
    before: Digest | None = None,
    size: int | None = None,
    source_host: str = OLD,
    host: str = NEW,
) -> Change:
    """Plan to copy (or, with `before`, to update) one image from old to new."""
    return Change(
        address=Reference(Repository(host, to or repo), tag),
        action=Action.UPDATE if before else Action.COPY,
        reason="new",
        source=Source(reference=Reference(Repository(source_host, repo), tag), digest=digest),
        before=before,
        after=digest,
        media_type="application/vnd.oci.image.manifest.v1+json",
        transfer_bytes=size,
    )


def stores(**new: object) -> tuple[MemoryStores, MemoryStore, MemoryStore]:
    """An old and a new registry."""
    old_store, new_store = MemoryStore(OLD), MemoryStore(NEW, **new)  # type: ignore[arg-type]
    return MemoryStores({OLD: old_store, NEW: new_store}), old_store, new_store


def recorded(repo: str, tag: str, digest: Digest, **newer: Digest) -> State:
    """Make a state with live records at the new registry, of one tag and of `newer` ones."""
    records = {}
    for number, (each, found) in enumerate({tag: digest, **newer}.items(), start=1):
        address = Reference(Repository(NEW, repo), each)
        origin = Reference(Repository(OLD, repo), each)
        records[str(address)] = make_record(address, origin, found, sequence=number)
    return StateInMemory(lineage="l", sequence=len(records), records=records)


def make_engine(
    found: MemoryStores,
    folder: Path,
    *,
    parallelism: int = 4,
    sink: Sink | None = None,
    state: State | None = None,
) -> Engine:
    """Build an engine over memory."""
    stores_like: Any = found
    cache = ManifestCache(folder / "cache")
    told = sink or NoSink()
    opener = partial(open_worker, stores_like, cache, told)
    return Engine(opener, state or StateInMemory(), parallelism=parallelism, sink=told)


async def run(
    found: MemoryStores,
    folder: Path,
    *changes: Change,
    parallelism: int = 8,
    sink: Sink | None = None,
) -> dict[str, Receipt]:
    """Run changes to the end and return the receipts by printed address."""
    engine = make_engine(found, folder, parallelism=parallelism, sink=sink)
    receipts = {}
    async with engine.run(changes) as stream:
        async for receipt in stream:
            receipts[str(receipt.address)] = receipt
    return receipts
