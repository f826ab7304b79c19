"""A delivery: what its own end leaves behind, at whatever moment that comes."""

from __future__ import annotations

import asyncio

from imgmigrate.applying.blobs.delivery import Delivery
from imgmigrate.errors import ImgmigrateError
from imgmigrate.events import NoSink
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.place import Place
from tests.applying.support import NEW, OLD
from tests.fakes.memory import MemoryStore

LAYER = b"a layer"
BLOB = Descriptor("application/octet-stream", Digest.of(LAYER), len(LAYER))


def a_delivery(new: MemoryStore) -> Delivery:
    """Make one that has no session yet."""
    return Delivery(Place(MemoryStore(OLD), "r"), Place(new, "r"), BLOB, None, NoSink())


async def test_a_delivery_that_is_over_opens_no_session() -> None:
    """Its flight was cancelled while its group waited for slots: nobody would end the session."""
    new = MemoryStore(NEW)
    delivery = a_delivery(new)
    await delivery.fail(ImgmigrateError("cancelled"))
    await delivery.begin()
    assert new.calls["start_upload"] == 0


async def test_a_session_that_opens_after_its_delivery_is_over_is_aborted() -> None:
    """Its flight was cancelled while the registry answered: who opened the session ends it."""
    new = MemoryStore(NEW)
    delivery = a_delivery(new)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold_back(*_: str) -> None:
        asked.set()
        await answer.wait()

    new.hooks["start_upload"] = hold_back
    beginning = asyncio.create_task(delivery.begin())
    await asked.wait()
    await delivery.fail(ImgmigrateError("cancelled"))
    answer.set()
    await beginning
    await delivery.write(LAYER)
    await delivery.finish(b"")
    assert (new.calls["start_upload"], new.aborted) == (1, 1)
    assert not new.blobs
