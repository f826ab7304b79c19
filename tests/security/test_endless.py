"""Servers that never stop sending, or hardly begin: memory stays flat and every request ends.

Sources: CVE-2020-1702 and oras GHSA-298f-872v-2rcx (answers and listings without an end),
CVE-2026-22815 (trailers), protocol 5 "Unbounded data".
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import chain, count, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from imgmigrate.errors import ProtocolError, TransientError
from imgmigrate.stores.registry.http.limits import LEAST_PROGRESS, Timeouts
from imgmigrate.stores.registry.listing import pages as listing
from tests.security.endless import ATTACKS, BLOB, PIECE, TYPE, script
from tests.security.raw import answer, chunk, chunked, raw_server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.stores.registry.store import RegistryStore
    from tests.stores.registry.conftest import Clock, Connect

ROOT = Path(__file__).parents[2]
# A list of tags may be 24 MiB and is there twice while it is read; nothing else comes near.
MOST_MIB = 80
# No limit but the one that a test is about.
NEVER = 1e9


async def test_memory_stays_flat_whatever_a_server_sends() -> None:
    """No endless or exploding answer costs more than a bounded tag list, and each is an error."""
    async with raw_server(script) as host:
        victim = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.security.endless",
            host,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await victim.communicate()
    met = json.loads(out)
    assert set(met) == {*ATTACKS, "token"}
    sys.stdout.write("".join(f"{name}: {grown:.1f} MiB\n" for name, (*_, grown) in met.items()))
    for name, (kind, message, grown) in met.items():
        assert kind in ("ProtocolError", "IntegrityError", "Rejected"), (name, kind, message)
        assert grown < MOST_MIB, (name, message)
        assert len(message) < 1000, (name, message)


async def test_listing_of_ever_new_tags_ends(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many pages are read and no more, even if each one brings a tag."""
    monkeypatch.setattr(listing, "MOST_PAGES", 20)
    numbers = count()

    def pages(_method: str, _target: str) -> Iterable[bytes]:
        number = next(numbers)
        link = f'Link: </v2/a/tags/list?last={number}>; rel="next"'
        return [answer(b'{"tags": ["v%d"]}' % number, link)]

    async with raw_server(pages) as host:
        with pytest.raises(ProtocolError, match="does not end"):
            await connect(host).list_tags("a")
    assert next(numbers) == 20


@pytest.mark.parametrize(
    "sent",
    [
        repeat(b"HTTP/1.1 102 Processing\r\n\r\n"),
        [b"HTTP/1.1 200 OK\r\nX: y", b""],
        chain([chunked(TYPE), b"1;"], repeat(PIECE)),
    ],
    ids=["interim answers", "half a header", "chunk extension"],
)
async def test_answer_that_never_comes_is_given_up(
    connect: Connect, clock: Clock, sent: Iterable[bytes]
) -> None:
    """Neither endless interim answers nor an unfinished header nor noise between chunks hold us."""
    begun = asyncio.Event()

    def attack(_method: str, _target: str) -> Iterable[bytes]:
        begun.set()
        return sent

    async with raw_server(attack) as host:
        store = connect(host, timeouts=Timeouts(read=50, answer=50, commit=NEVER))
        reading = asyncio.create_task(_read(store))
        await begun.wait()
        with pytest.raises(TransientError):
            await _hurried(reading, clock)


async def test_blob_that_only_trickles_is_given_up(connect: Connect, clock: Clock) -> None:
    """A byte every half minute is no transfer, although nothing ever stalls."""

    def trickle(_method: str, _target: str) -> Iterable[bytes]:
        yield chunked()
        for byte in repeat(b"0"):
            clock.advance(25)
            yield chunk(byte)

    async with raw_server(trickle) as host:
        store = connect(host, timeouts=Timeouts(read=60, answer=NEVER))
        with pytest.raises(TransientError, match="sent only"):
            await _read(store)


async def test_slow_reader_is_not_held_against_the_server(connect: Connect, clock: Clock) -> None:
    """Time that we take between two pieces, as a slow destination does, is no stall."""
    data = b"0123456789"

    async with raw_server(lambda *_: [answer(data)]) as host:
        pieces = connect(host, timeouts=Timeouts(read=60)).open_blob("a", BLOB)
        received = b""
        async for piece in pieces:
            received += piece
            clock.advance(LEAST_PROGRESS * 60)
    assert received == data


async def _read(store: RegistryStore) -> None:
    async for _ in store.open_blob("a", replace(BLOB, size=10**6)):
        pass


async def _hurried(work: asyncio.Task[None], clock: Clock) -> None:
    """Put the clock forward until the work has ended."""
    while not work.done():
        clock.advance(10)
        await asyncio.sleep(0)
    await work
