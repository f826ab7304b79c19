"""Reading ahead over several connections: only where it helps, in order, and bounded."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from imgmigrate.applying.blobs.parallel_read import Lanes, Pace, read_ahead
from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AccessDenied, TransientError
from imgmigrate.events import NoSink
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.place import Place
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.store import RegistryStore
from imgmigrate.stores.slots import hold
from tests.applying.support import OLD
from tests.fakes.memory import MemoryStore, broken, fail_times
from tests.fakes.registry import FakeRegistry
from tests.support import images
from tests.support.blobs import described
from tests.support.clock import settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.fakes.registry import Stall

PACE = Pace(trial=64, worth=128, chunk=32, widths=(2, 4, 6), most=8)
DATA = random.Random("a large blob").randbytes(2000)
BLOB = described(DATA)
FIRST = f"{BLOB.digest}+0"


@dataclass
class FarStore(MemoryStore):
    """A source at a distance: a piece takes a second of each connection, or of all together."""

    piece: int = 8
    is_shared: bool = False
    now: float = 0.0
    open: int = 0
    most_open: int = 0
    _turn: float = field(default=0.0, repr=False)

    async def open_blob(
        self, repo: str, descriptor: Descriptor, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            async with aclosing(super().open_blob(repo, descriptor, offset, length)) as pieces:
                async for piece in pieces:
                    self.now += 1.0 if self.is_shared else 1.0 / self.open
                    yield piece
        finally:
            self.open -= 1

    @property
    def opened(self) -> list[str]:
        """What was asked for, as `digest+start[-end]`."""
        return [what for verb, _, what in self.log if verb == "open_blob"]


def far(**options: object) -> FarStore:
    """A far store with the blob."""
    store = FarStore(OLD, **options)  # type: ignore[arg-type]
    store.blobs["r", BLOB.digest] = DATA
    return store


async def read(
    store: FarStore, lanes: Lanes, blob: Descriptor = BLOB, *, sink_takes: float = 0.0
) -> bytes:
    """Read as a transfer does, with its slot; each piece costs the sink so many seconds."""
    got = bytearray()
    async with (
        hold(store.budget.read),
        aclosing(read_ahead(Place(store, "r"), blob, NoSink(), lanes)) as pieces,
    ):
        async for piece in pieces:
            got += piece
            store.now += sink_takes
    return bytes(got)


def is_settled(store: FarStore, lanes: Lanes) -> bool:
    """Tell whether every slot and all memory was given back."""
    return (store.open, lanes.free, store.budget.read.open) == (0, PACE.most, 0)


async def alone(store: FarStore, *, sink_takes: float = 0.0) -> bytes:
    """Read the blob in a run of its own, which must leave nothing behind."""
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, pace=PACE, clock=lambda: store.now)
        got = await read(store, lanes, sink_takes=sink_takes)
        await settle()
    assert is_settled(store, lanes)
    return got


async def test_slow_connection_gets_company_up_to_the_bound() -> None:
    """Ranges are asked for once the source is found slow, six at once at most, all in order."""
    store = far()
    assert await alone(store) == DATA
    assert store.opened[0] == FIRST
    assert store.opened[1] == f"{BLOB.digest}+96-128"
    assert store.opened[-1].endswith(f"-{len(DATA)}")
    assert store.most_open == 6
    ranges = [tuple(map(int, what.split("+")[1].split("-"))) for what in store.opened[1:]]
    assert ranges == [(start, min(start + 32, 2000)) for start in range(96, 2000, 32)]


async def test_company_that_does_not_help_is_sent_away() -> None:
    """Where all connections share one line the second one is given up, and one goes on."""
    store = far(is_shared=True)
    assert await alone(store) == DATA
    assert store.most_open == 2
    last = store.opened[-1]
    assert "-" not in last.split("+")[1]
    assert sum(what == last for what in store.opened) == 1


async def test_source_that_is_not_waited_for_stays_alone() -> None:
    """A slow sink needs no faster source."""
    store = far()
    assert await alone(store, sink_takes=5.0) == DATA
    assert store.opened == [FIRST]


@pytest.mark.parametrize(("crowd", "others"), [(2, True), (3, False)])
async def test_in_a_crowd_everybody_stays_alone(crowd: int, others: bool) -> None:
    """Where more blobs are read at once than `crowd`, this one gets no second connection."""
    store = far()
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, pace=replace(PACE, crowd=crowd), clock=lambda: store.now)
        lanes.readers = 2  # two others that do not end
        assert await read(store, lanes) == DATA
        await settle()
    assert (store.most_open == 1) is others
    assert (lanes.readers, is_settled(store, lanes)) == (2, True)


async def test_small_blob_stays_alone() -> None:
    """What is through soon is read in one piece."""
    store = far()
    small = DATA[:191]
    blob = Descriptor(BLOB.media_type, Digest.of(small), len(small))
    store.blobs["r", blob.digest] = small
    async with asyncio.TaskGroup() as tasks:
        assert await read(store, Lanes(tasks, pace=PACE, clock=lambda: store.now), blob) == small
    assert store.opened == [f"{blob.digest}+0"]


async def test_source_without_ranges_goes_on_as_it_was() -> None:
    """A refused range costs one request for a store, and the stream is not opened again."""
    store = far(refuses_ranges=True)
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, pace=PACE, clock=lambda: store.now)
        assert await read(store, lanes) == DATA
        assert store.opened == [FIRST, f"{BLOB.digest}+96-128"]
        assert await read(store, lanes) == DATA
        await settle()
    assert store.opened[2:] == [FIRST]
    assert is_settled(store, lanes)


async def test_ranges_that_end_midway_are_replaced_by_a_stream() -> None:
    """When a later range is refused, one stream reads on from there."""
    store = far()

    def refuse(repo: str, what: str) -> None:
        if what.endswith("+320-352"):
            raise AccessDenied(OLD, "no more parts")

    store.hooks["open_blob"] = refuse
    assert await alone(store) == DATA
    assert store.opened[-1] == f"{BLOB.digest}+320"


@pytest.mark.parametrize("streams", [1, 2, 3])
async def test_company_takes_only_free_slots(streams: int) -> None:
    """Never more connections than the store's budget, and none is waited for."""
    store = far(streams=streams)
    assert await alone(store) == DATA
    assert store.most_open == streams


async def test_slot_that_somebody_waits_for_is_left_to_him() -> None:
    """A blob that is waiting for its turn goes before the next range."""
    store = far(streams=2)
    small = b"another blob"
    blob = Descriptor(BLOB.media_type, Digest.of(small), len(small))
    store.blobs["r", blob.digest] = small
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, pace=PACE, clock=lambda: store.now)
        ahead = asyncio.Event()
        store.hooks["open_blob"] = lambda _, what: ahead.set() if "-" in what else None
        large = tasks.create_task(read(store, lanes))
        await ahead.wait()
        assert await read(store, lanes, blob) == small
        assert not large.done()
        assert await large == DATA


async def test_memory_is_bounded_over_all_blobs() -> None:
    """Several large blobs share what a run may read ahead."""
    store = far(streams=64)
    least = PACE.most

    def watch(*_: str) -> None:
        nonlocal least
        least = min(least, lanes.free)

    store.hooks["read"] = watch
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, pace=PACE, clock=lambda: store.now)
        reading = [tasks.create_task(read(store, lanes)) for _ in range(4)]
        assert await asyncio.gather(*reading) == [DATA] * 4
        await settle()
    assert least == 0
    assert store.most_open <= PACE.most + 4
    assert is_settled(store, lanes)


async def test_range_that_breaks_is_resumed_where_it_stopped() -> None:
    """A broken connection costs what it had not delivered, in a window as in a stream."""
    store = far()
    store.hooks["read"] = lambda repo, what: (
        fail(repo, what) if what.endswith(("+24", "+336")) else None
    )
    fail = fail_times(1, broken)
    assert await alone(store) == DATA
    assert f"{BLOB.digest}+24" in store.opened
    assert f"{BLOB.digest}+336-352" in store.opened


async def test_source_that_stays_broken_fails_the_blob() -> None:
    """What does not heal comes out as itself, and ends every range."""
    store = far()

    def fail(repo: str, what: str) -> None:
        if int(what.split("+")[1]) >= 400:
            raise broken()

    store.hooks["read"] = fail
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, pace=PACE, clock=lambda: store.now)
        with pytest.raises(TransientError):
            await read(store, lanes)
        await settle()
    assert is_settled(store, lanes)


@pytest.mark.parametrize("taken", [1, 12, 13, 40])
async def test_leaving_early_ends_every_range(taken: int) -> None:
    """Whoever stops reading leaves no task, no slot and no memory behind."""
    store = far()
    async with asyncio.TaskGroup() as tasks:
        lanes = Lanes(tasks, pace=PACE, clock=lambda: store.now)
        async with hold(store.budget.read):
            async with aclosing(read_ahead(Place(store, "r"), BLOB, NoSink(), lanes)) as pieces:
                for _ in range(taken):
                    await anext(pieces)
            await settle()
            assert asyncio.all_tasks() == {asyncio.current_task()}
    assert is_settled(store, lanes)


@pytest.mark.parametrize("answers", ["ranges", "everything", "another range", "416"])
async def test_over_the_wire_ranges_are_sent_or_dropped(answers: str) -> None:
    """A registry that answers 206 is read in ranges; any other answer ends that for good."""
    data = images.layer("large", 200_000)
    blob = described(data)
    pace = Pace(trial=20_000, worth=50_000, chunk=10_000, slow=0.0, still_slow=0.0, gain=0.0)
    async with FakeRegistry() as registry:
        registry.put_image("r", "t", images.image("one", layers=[data]))
        # However much a connection brings at once: the blob's own stream stands still where it was
        # judged, until a range is asked for.
        stream = registry.stall("GET", "/blobs/", at=25_000)
        first_range = registry.stall("GET", "/blobs/", skip=1)
        if answers == "everything":
            registry.rewrite("GET", "/blobs/", {"Content-Range": None})
        elif answers == "another range":
            registry.rewrite("GET", "/blobs/", {"Content-Range": "bytes 0-9999/*"}, skip=1)
        elif answers == "416":
            registry.fail("GET", "/blobs/", status=416, body=b"", skip=1)
        http = Http()
        store = RegistryStore(
            registry.host, lambda _: RegistryConfig(plain_http=True), http, NoSink()
        )
        got = bytearray()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_go_on(first_range, stream))
            ticks = itertools.count()
            lanes = Lanes(tasks, pace=pace, clock=lambda: next(ticks))
            source = Place(store, "r")
            async with aclosing(read_ahead(source, blob, NoSink(), lanes)) as pieces:
                async for piece in pieces:
                    got += piece
        await http.aclose()
        assert bytes(got) == data
        asked = [each.headers.get("range") for each in registry.matching("GET", "/blobs/")]
        if answers == "ranges":
            assert asked.count(None) == 1
            assert len(asked) > 10
            assert not lanes.without_ranges
        else:
            assert len(asked) == 2
            assert lanes.without_ranges == {registry.host}


async def _go_on(reached: Stall, *others: Stall) -> None:
    """Let all go on once one of them is reached."""
    await reached.reached.wait()
    for each in (*others, reached):
        each.release()
