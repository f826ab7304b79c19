"""The blob board: each blob travels once per destination store (DESIGN section 8 rule 2).

Whoever needs a blob in a repository asks the board. The first to ask starts a *flight*; all
others wait for it, holding nothing, and then mount from where it landed. Flights belong to
the run and not to the image that asked first: a cancelled or failed image leaves its
neighbours' blobs in the air. A flight that fails is taken up by the next waiter, with its own
source and its own repository. Flights of one blob to several stores leave together where they
can (`fanout.py`), so that the source is read once.

All of it runs on one event loop, and its invariants hold between any two awaits:

- a repository has at most one flight of a blob, and while no repository of a store is known to
  have it, whoever asks waits for the flight that is there: whoever finds none registers its own
  before anything else can run;
- `landed` is set once, after what the flight brought is noted and the flight is out of the table:
  whoever wakes up finds the blob, somebody else's flight, or room for its own;
- who waits for a flight holds no slot, no session and no turn, so no circle can go through it.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct, field

from imgmigrate.applying.blobs.delivery import Delivery, carry
from imgmigrate.applying.blobs.fanout import Meetings
from imgmigrate.applying.blobs.parallel_read import Lanes
from imgmigrate.errors import (
    ImgmigrateError,
    IntegrityError,
    NotFound,
    NotReached,
    RowFailed,
    StoreError,
    on_side,
)
from imgmigrate.events import BlobFinished
from imgmigrate.stores.base import Mounted, OtherForm
from imgmigrate.stores.resumed import is_right
from imgmigrate.stores.retries import attempts
from imgmigrate.stores.slots import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.place import Place

__all__ = ["DELETE_IT", "BlobBoard", "Trust", "Witness"]


# docker-registry, and what is made of it, writes no file of a digest that it has.
_KEPT = "it was sent again, and the registry serves the damaged bytes as before"
DELETE_IT = (
    "delete the file of this digest in the registry's storage "
    "(docker-registry: blobs/sha256/.../data)"
)


class Trust(Enum):
    """How much of what the destination has, says or had is believed.

    A layout is asked about each blob whatever this says: that costs no request. With BYTES a
    registry's are read as well: what it has, and serves damaged, is found by nothing else.
    """

    ALL = "children by HEAD, blobs by HEAD or by what is known"
    BLOBS = "blobs by HEAD only: children are walked and written again"
    BYTES = "as BLOBS; what the destination has is read, byte for byte, once a run"
    NOTHING = "nothing: everything is sent again"


class Witness(Protocol):
    """Tell, when it matters, whether what a repository held is still believed to be there."""

    async def __call__(self) -> bool:
        """Ask, at most once a run."""


class _Flight(Struct):
    """One attempt to bring a blob into a repository; `error` says how it failed."""

    source: Place
    destination: Place
    trust: Trust
    landed: asyncio.Event = field(default_factory=asyncio.Event)
    moved: int = 0
    is_under_way: bool = False  # its source is being read
    error: ImgmigrateError | None = None

    def speaks_for(self, source: Place, destination: Place) -> bool:
        """Tell whether this flight's failure is also that of another pair of places."""
        if isinstance(self.error, StoreError) and self.error.side == "source":
            return self.source == source
        return self.destination == destination and self.source == source


class _Entry(Struct):
    """What the run knows of one blob at one destination store."""

    repos: dict[str, None] = field(default_factory=dict)  # hold it, oldest first
    believed: dict[str, Witness] = field(default_factory=dict)  # held it when last recorded
    proved: set[str] = field(default_factory=set)  # of `repos`: whose bytes this run has read
    flights: dict[str, _Flight] = field(default_factory=dict)  # by destination repository


class BlobBoard:
    """Bring blobs where they are needed; `tasks` is the run's, so flights outlive images."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        sink: Sink,
        *,
        lanes: Lanes | None = None,
        waits: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`waits` tells of a store whether it is only waited for now."""
        self._tasks, self._waits = tasks, waits
        self._sink = sink
        self._lanes = lanes or Lanes(tasks)
        self.meetings: Meetings[Delivery] = Meetings(self._is_under_way)
        self._entries: dict[tuple[str, Digest], _Entry] = {}
        self._committed: set[tuple[str, str]] = set()
        self._new: set[tuple[str, str]] = set()
        self._flying: set[asyncio.Task[None]] = set()

    def believe(self, destination: Place, blobs: Mapping[Digest, Witness]) -> None:
        """Note blobs that recorded images brought to a repository in earlier runs.

        They can be mounted from there; that they are there is believed if their witness says so.
        """
        for digest, witness in blobs.items():
            self._entry(destination, digest).believed[destination.repo] = witness

    def is_new(self, destination: Place) -> None:
        """Note that a repository held nothing before this run."""
        self._new.add((destination.store.identity, destination.repo))

    async def ensure(
        self, blob: Descriptor, source: Place, destination: Place, trust: Trust = Trust.ALL
    ) -> int:
        """Return once `destination` holds the blob; the bytes that this caller's flight sent.

        Raises the StoreError of the flight that speaks for this source and destination.
        """
        entry = self._entry(destination, blob.digest)
        if trust is Trust.ALL and destination.repo not in entry.repos:
            witness = entry.believed.get(destination.repo)
            if witness is not None and await witness():
                return 0
        if trust is Trust.NOTHING:
            entry.repos.pop(destination.repo, None)
            entry.believed.pop(destination.repo, None)
            entry.proved.discard(destination.repo)
        has = entry.proved if trust is Trust.BYTES else entry.repos
        while destination.repo not in has:
            flight = entry.flights.get(destination.repo) or _leader(entry)
            mine = flight is None
            # No await between the look and the entry: two would send the same blob.
            if flight is None:
                flight = _Flight(source, destination, trust)
                entry.flights[destination.repo] = flight
                self._run(self._fly(entry, flight, blob))
            await flight.landed.wait()
            if mine and flight.error is None:
                return flight.moved
            if flight.error is not None and (mine or flight.speaks_for(source, destination)):
                raise flight.error
        return 0

    def _entry(self, destination: Place, digest: Digest) -> _Entry:
        return self._entries.setdefault((destination.store.identity, digest), _Entry())

    def committed(self, destination: Place) -> None:
        """Note that a manifest of this run is in place: its repository's blobs can be mounted."""
        self._committed.add((destination.store.identity, destination.repo))

    def cancel(self) -> None:
        """End what no image waits for any more, when the run ends."""
        for task in self._flying:
            task.cancel()

    async def _fly(self, entry: _Entry, flight: _Flight, blob: Descriptor) -> None:
        destination = flight.destination
        how: Literal["uploaded", "mounted", "exists", "failed"] = "failed"
        try:
            how = await self._bring(entry, flight, blob)
            entry.repos[destination.repo] = None
            if flight.trust is Trust.BYTES or how == "uploaded":
                entry.proved.add(destination.repo)
        except asyncio.CancelledError:
            flight.error = NotReached(f"{destination.repository}@{blob.digest}: cancelled")
            raise
        except ImgmigrateError as error:
            flight.error = error
        except Exception as error:  # noqa: BLE001 - the boundary of one blob: waiters get it
            flight.error = RowFailed(f"{destination.repository}@{blob.digest}: {error!r}")
        finally:
            # In this order: see above. The meeting asks whether this store has the blob now.
            del entry.flights[destination.repo]
            flight.landed.set()
            self.meetings.look(blob.digest)
            self._sink.emit(BlobFinished(destination.repository, blob.digest, blob.size, how))

    async def _bring(
        self, entry: _Entry, flight: _Flight, blob: Descriptor
    ) -> Literal["uploaded", "mounted", "exists"]:
        """Find, mount or send one blob; a destination that breaks gets a new session."""
        store, repo = flight.destination.store, flight.destination.repo
        is_layout = flight.destination.repository.is_layout
        anew = flight.trust is Trust.BYTES
        async for attempt in attempts(self._sink, "destination"):
            with attempt:
                if flight.trust is Trust.NOTHING and not is_layout:
                    return await self._deliver(flight, blob, None)
                # What is to be read again is not taken from where it was not.
                origin = None if anew else self._mountable(entry, flight)
                # A mount answers for a blob that is already there, a new repository has none;
                # after a broken upload only a HEAD tells whether it was committed all the same.
                is_open = origin is None and (store.identity, repo) not in self._new
                if is_open or is_layout or attempt.num > 1:
                    with on_side("destination"):
                        exists = await store.blob_exists(repo, blob.digest, blob.size, anew=anew)
                    if exists and anew and not is_layout:
                        return await self._mended(flight, blob)
                    if exists:
                        return "exists"
                session: Upload | None = None
                if origin is not None:
                    with on_side("destination"):
                        answer = await store.start_upload(repo, blob, mount_from=origin)
                    if isinstance(answer, Mounted):
                        return "mounted"
                    session = answer
                return await self._deliver(flight, blob, session)
        raise AssertionError

    async def _mended(
        self, flight: _Flight, blob: Descriptor
    ) -> Literal["uploaded", "mounted", "exists"]:
        """Send a blob of which the registry serves other bytes, and see that it took them."""
        if await self._is_right(flight.destination, blob):
            return "exists"
        how = await self._deliver(flight, blob, None)
        if not await self._is_right(flight.destination, blob):
            error = IntegrityError(f"{flight.destination.repository}@{blob.digest}", _KEPT)
            error.side, error.hint = "destination", f"{DELETE_IT}, then apply the same plan again"
            raise error
        return how

    async def _is_right(self, place: Place, blob: Descriptor) -> bool:
        if not blob.size:
            return True
        try:
            async with hold(place.store.budget.read):
                return await is_right(place, blob, self._sink, side="destination")
        except (IntegrityError, NotFound):
            return False

    def _mountable(self, entry: _Entry, flight: _Flight) -> str | None:
        """Name a repository of the destination store that has the blob."""
        store = flight.destination.store
        if store.identity == flight.source.store.identity:
            return flight.source.repo
        for repo in (*entry.repos, *entry.believed):
            if repo == flight.destination.repo:
                continue
            # What is believed comes from a record, so its manifest was committed.
            has_manifest = repo in entry.believed or (store.identity, repo) in self._committed
            if has_manifest or not store.mounts_need_manifest:
                return repo
        return None

    async def _deliver(
        self, flight: _Flight, blob: Descriptor, session: Upload | None
    ) -> Literal["uploaded", "mounted"]:
        """Stream the blob, anew as often as the store learns another form for it."""
        is_alone = False
        while True:
            delivery = Delivery(flight.source, flight.destination, blob, session, self._sink)
            try:
                await self._send(flight, delivery, blob, is_alone=is_alone)
                how = delivery.result()
            except OtherForm:
                session = None
            except StoreError as error:
                # That another repository of the source lacks it says nothing about our own.
                if error.side != "source" or delivery.source == flight.source:
                    raise
                session, is_alone = None, True
            else:
                flight.moved += delivery.sent - delivery.spared
                return how

    async def _send(
        self, flight: _Flight, delivery: Delivery, blob: Descriptor, *, is_alone: bool
    ) -> None:
        """Have a delivery carried, together with those of other stores that come for the blob."""
        group: Sequence[Delivery] = [delivery]
        try:
            if is_alone or flight.destination.store.is_waiting:
                flight.is_under_way = True
                self.meetings.look(blob.digest)  # nobody needs to wait for this one
            else:
                group = await self.meetings.meet(blob.digest, delivery)
            flight.is_under_way = True
            if len(group) == 1:
                await carry(flight.source, blob, group, self._sink, self._lanes)
            elif group:  # not within this flight, which may be over before the others
                self._run(carry(flight.source, blob, group, self._sink, self._lanes))
            await delivery.over.wait()
        except asyncio.CancelledError:
            name = f"{flight.destination.repository}@{blob.digest}"
            await delivery.fail(NotReached(f"{name}: cancelled"))
            raise
        finally:
            flight.is_under_way = False

    def _run(self, job: Coroutine[object, object, None]) -> None:
        task = self._tasks.create_task(job)
        self._flying.add(task)
        task.add_done_callback(self._flying.discard)

    def _is_under_way(self, store: str, digest: Digest) -> bool:
        """Tell whether a store has a blob, or a flight that has left with it, or is to be left."""
        if self._waits(store):
            return True
        entry = self._entries.get((store, digest))
        if entry is None:
            return False
        is_flying = any(flight.is_under_way for flight in entry.flights.values())
        return is_flying or bool(entry.repos or entry.believed)


def _leader(entry: _Entry) -> _Flight | None:
    """Find the flight to wait for while the store does not have the blob at all."""
    return None if entry.repos else next(iter(entry.flights.values()), None)
