"""Registries that are waited for, and all others: who is opened, and what is lent meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from imgmigrate.stores.slots import Slots, hold, lent
from tests.applying.support import copy, make_engine, stores
from tests.fakes.memory import MemoryStore, image
from tests.support.clock import settle
from tests.support.world import NEW, OLD

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Change
    from tests.fakes.memory import MemoryStores

DOWN = "down.example"


def seeded(count: int) -> tuple[MemoryStores, MemoryStore, MemoryStore, list[Change]]:
    """One source with so many images for each of two destinations; those of DOWN come first."""
    found, old, new = stores()
    down = found.stores[DOWN] = MemoryStore(DOWN)
    changes = []
    for number in range(2 * count):
        manifest, blobs = image(f"layer {number}".encode())
        digest = old.seed(f"r{number:02}", "1", manifest, blobs)
        host = DOWN if number < count else NEW
        changes.append(copy(f"r{number:02}", "1", digest, host=host, size=100 - number))
    return found, new, down, changes


@pytest.mark.parametrize("parallelism", [1, 4, 16])
@pytest.mark.parametrize("is_down_from_the_start", [True, False])
async def test_what_is_waited_for_keeps_no_seat_from_others(
    tmp_path: Path, parallelism: int, is_down_from_the_start: bool
) -> None:
    """With every seat taken by rows of a registry that is down, all others are done first."""
    found, _, down, changes = seeded(12)
    back = asyncio.Event()
    down.is_waiting = is_down_from_the_start

    async def wait(*_: str) -> None:
        if not back.is_set():
            down.is_waiting = True
            found.news.tell()
            with lent(DOWN):
                await back.wait()

    for verb in ("head", "look", "blob_exists", "start_upload", "put_manifest"):
        down.hooks[verb] = wait
    done: list[str] = []
    engine = make_engine(found, tmp_path, parallelism=parallelism)
    async with engine.run(changes) as receipts:
        async for receipt in receipts:
            assert receipt.outcome is Outcome.APPLIED
            done.append(receipt.address.repository.store)
            if done.count(NEW) == 12:
                down.is_waiting = False
                back.set()
                found.news.tell()
    assert done == [NEW] * 12 + [DOWN] * 12


async def test_no_more_are_opened_at_a_registry_that_is_down_than_there_are_seats(
    tmp_path: Path,
) -> None:
    """However many rows need it: what only waits costs memory too."""
    found, new, down, changes = seeded(40)
    down.is_waiting = True
    back, asked = asyncio.Event(), set()

    async def wait(repo: str, _: str) -> None:
        asked.add(repo)
        await back.wait()

    for verb in ("head", "look", "blob_exists", "start_upload", "put_manifest"):
        down.hooks[verb] = wait
    engine = make_engine(found, tmp_path, parallelism=4)
    async with engine.run(changes) as receipts:
        async for _ in receipts:
            if len(new.tags) == 40 and not back.is_set():
                await settle()
                assert len(asked) <= 4
                down.is_waiting = False
                back.set()
                found.news.tell()
    assert len(down.tags) == 40


async def test_slots_of_others_are_lent_while_one_is_waited_for() -> None:
    """A stream that waits for its destination keeps no slot of its source, but its own."""
    read, write = Slots(OLD, "read", 1), Slots(DOWN, "write", 1)
    async with hold(read, write):
        assert not read.is_free
        with lent(DOWN):
            assert (read.is_free, write.is_free) == (True, False)
            async with hold(read):
                assert read.open == 1
        assert (read.open, write.open) == (1, 1)
    assert (read.open, write.open) == (0, 0)


async def test_what_several_lend_is_lent_once() -> None:
    """Tasks of one stream share its slots: back when none of them waits."""
    read = Slots(OLD, "read", 2)
    go = [asyncio.Event(), asyncio.Event()]

    async def wait(number: int) -> None:
        with lent(DOWN):
            await go[number].wait()

    async with asyncio.TaskGroup() as group:
        async with hold(read):
            for number in range(2):
                group.create_task(wait(number))
            await settle()
            assert read.open == 0
            go[0].set()
            await settle()
            assert read.open == 0
        assert read.open == 0
        go[1].set()
    assert read.open == 0
