"""What makes a copy quick beyond counting requests: two round trips at the same time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from tests.applying.support import NEW, copy, run, stores
from tests.fakes.memory import MemoryStore, MemoryStores, image

if TYPE_CHECKING:
    from pathlib import Path

BASE, APP = b"base layer bytes", b"application"


def meet(found: MemoryStores, parties: int) -> None:
    """Let nobody open a blob, or an upload of it, before all that are to be open are asked for.

    Who opened one after the other would wait for ever.
    """
    barriers: defaultdict[str, asyncio.Barrier] = defaultdict(lambda: asyncio.Barrier(parties))

    async def wait(_: str, what: str) -> None:
        await barriers[what.partition("+")[0]].wait()

    for store in found.stores.values():
        store.hooks |= {"open_blob": wait, "start_upload": wait}


@pytest.mark.parametrize("destinations", [1, 3])
async def test_source_and_uploads_are_opened_at_the_same_time(
    tmp_path: Path, destinations: int
) -> None:
    """The source's first byte and every destination's session cost one round trip together."""
    found, old, _ = stores()
    hosts = [NEW, "two.example", "three.example"][:destinations]
    found.stores |= {host: MemoryStore(host) for host in hosts}
    manifest, blobs = image(BASE, APP)
    digest = old.seed("r", "t", manifest, blobs)
    meet(found, 1 + destinations)
    receipts = await run(found, tmp_path, *(copy("r", "t", digest, host=host) for host in hosts))
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    assert old.calls["open_blob"] == len(blobs)
    for host in hosts:
        assert found.stores[host].calls["start_upload"] == len(blobs)
