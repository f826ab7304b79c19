"""Uploads in chunks: our own offset counts, and what broke is carried on where it broke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import IntegrityError, Rejected, StoreError, TransientError
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.uploads import forms
from imgmigrate.stores.registry.uploads.chunked import ChunkedUpload
from imgmigrate.stores.registry.uploads.start import WholeUpload
from imgmigrate.stores.registry.wire import remote
from tests.fakes.registry import Distribution2, FakeRegistry
from tests.support.blobs import described
from tests.support.images import layer

if TYPE_CHECKING:
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.stores.registry.conftest import Connect

CHUNK = 100_000
DATA = layer("chunks", 6 * CHUNK)[: 5 * CHUNK + 1234]
PIECE = 30_000
RANGES = ["0-99999", "100000-199999", "200000-299999", "300000-399999", "400000-499999"]
LAST = "500000-501233"


@pytest.fixture(autouse=True)
def _limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every registry of these tests limits its bodies."""
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(largest_body=CHUNK))


async def begin(store: RegistryStore, data: bytes = DATA) -> ChunkedUpload:
    blob = described(data)
    upload = await store.start_upload("a", blob)
    assert isinstance(upload, ChunkedUpload)
    return upload


async def send(upload: ChunkedUpload, data: bytes = DATA) -> None:
    for start in range(0, len(data), PIECE):
        await upload.write(data[start : start + PIECE])
    await upload.commit()


def assert_stored(registry: FakeRegistry, data: bytes = DATA) -> None:
    assert registry.blobs[Digest.of(data)] == data


def ranges(registry: FakeRegistry) -> list[str]:
    return [each.headers["content-range"] for each in registry.matching("PATCH", "")]


@pytest.mark.parametrize("absolute", [True, False])
async def test_blob_is_sent_chunk_by_chunk(
    fake_registry: FakeRegistry, connect: Connect, absolute: bool
) -> None:
    """Each PATCH says what it holds, has its length, and goes where the last answer said."""
    fake_registry.absolute_locations = absolute
    await send(await begin(connect(fake_registry.host)))
    assert_stored(fake_registry)
    assert ranges(fake_registry) == [*RANGES, LAST]
    methods = [each.method for each in fake_registry.requests]
    assert methods == ["POST", *["PATCH"] * 6, "PUT"]
    assert {each.headers["content-type"] for each in fake_registry.matching("PATCH", "")} == {
        "application/octet-stream"
    }
    (end,) = fake_registry.matching("PUT", "/uploads/")
    assert end.headers["content-length"] == "0"


async def test_blob_of_whole_chunks_has_no_empty_last_one(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """An exact multiple ends with its last full chunk."""
    data = DATA[: 2 * CHUNK]
    upload = await begin(connect(fake_registry.host), data)
    await upload.write(data)
    await upload.commit()
    assert_stored(fake_registry, data)
    assert ranges(fake_registry) == RANGES[:2]


async def test_small_blob_goes_whole(fake_registry: FakeRegistry, connect: Connect) -> None:
    """What fits into one body needs no chunks."""
    blob = Descriptor("x", Digest.of(b"small"), 5)
    upload = await connect(fake_registry.host).start_upload("a", blob)
    assert isinstance(upload, WholeUpload)


async def test_shortest_chunk_of_the_registry_is_kept(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """`OCI-Chunk-Min-Length` makes chunks longer."""
    fake_registry.smallest_patch, fake_registry.announces_smallest = 2 * CHUNK, True
    await send(await begin(connect(fake_registry.host)))
    assert_stored(fake_registry)
    assert ranges(fake_registry)[0] == f"0-{2 * CHUNK - 1}"


@pytest.mark.parametrize("length", ["1000000000000", "-1", "many", ""])
async def test_absurd_shortest_chunk_takes_no_memory(
    fake_registry: FakeRegistry,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    length: str,
) -> None:
    """A terabyte is an attack, a word is nothing."""
    monkeypatch.setattr(forms, "LARGEST_CHUNK", 3 * CHUNK)
    fake_registry.rewrite("POST", "/uploads/", {"OCI-Chunk-Min-Length": length})
    await send(await begin(connect(fake_registry.host)))
    assert_stored(fake_registry)
    assert len(ranges(fake_registry)) == (2 if length[:1] == "1" else 6)


async def test_range_that_stands_still_is_not_believed(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """ECR's stays at the first chunk while all arrives: our own offset counts."""
    fake_registry.patch_status = 201
    fake_registry.rewrite("PATCH", "", {"Range": "0-99999"})
    await send(await begin(connect(fake_registry.host)))
    assert_stored(fake_registry)
    assert fake_registry.count("GET", "/uploads/") == 0


@pytest.mark.parametrize("at", [10_000, 99_000])
async def test_chunk_that_breaks_is_carried_on(
    fake_registry: FakeRegistry, connect: Connect, at: int
) -> None:
    """The session is asked once how far it is, and gets the rest of the chunk."""
    fake_registry.cut_upload(at=at, skip=2)
    await send(await begin(connect(fake_registry.host)))
    assert_stored(fake_registry)
    assert fake_registry.count("POST", "/uploads/") == 1
    assert fake_registry.count("GET", "/uploads/", status=204) == 1


async def test_chunk_whose_answer_is_lost_is_not_sent_again(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The session says that it has it all."""
    fake_registry.drop("PATCH", "", when="answer", skip=1)
    await send(await begin(connect(fake_registry.host)))
    assert_stored(fake_registry)
    assert ranges(fake_registry) == [*RANGES, LAST]


async def test_server_error_in_the_middle_is_carried_on(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A 503 to a chunk costs that chunk."""
    fake_registry.fail("PATCH", "", status=503, skip=1, times=1)
    await send(await begin(connect(fake_registry.host)))
    assert_stored(fake_registry)
    assert ranges(fake_registry) == [RANGES[0], RANGES[1], *RANGES[1:], LAST]


async def test_session_that_is_destroyed_is_transient(connect: Connect) -> None:
    """Distribution 2.8 forgets an interrupted session: the engine opens a new one."""
    async with Distribution2() as registry:
        registry.cut_upload(at=10_000, skip=1)
        upload = await begin(connect(registry.host))
        with pytest.raises(TransientError):
            await send(upload)
        await upload.abort()
        assert not registry.blobs


@pytest.mark.parametrize("said", ["bytes=0-50000", "0-0", "0-999999", "50000", None])
async def test_progress_that_cannot_be_relied_on_means_a_new_session(
    fake_registry: FakeRegistry, connect: Connect, said: str | None
) -> None:
    """Quay counts one too many, `0-0` is two things, and nobody has more than was sent."""
    fake_registry.cut_upload(at=50_001, skip=1)
    fake_registry.rewrite("GET", "/uploads/", {"Range": said})
    upload = await begin(connect(fake_registry.host))
    with pytest.raises(TransientError):
        await send(upload)
    await upload.abort()


async def test_session_that_breaks_again_and_again_is_given_up(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Recovery has an end; its last error is told."""
    fake_registry.fail("PATCH", "", status=503, skip=1)
    upload = await begin(connect(fake_registry.host))
    with pytest.raises(TransientError, match="503"):
        await send(upload)
    await upload.abort()
    assert fake_registry.count("PATCH", "") < 10


async def test_total_that_is_too_large_is_rejected(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A 413 after chunks of that size were taken is about the blob."""
    fake_registry.fail("PATCH", "", status=413, skip=2, body=b"")
    upload = await begin(connect(fake_registry.host))
    with pytest.raises(Rejected, match="413"):
        await send(upload)


async def test_more_or_fewer_bytes_than_promised_are_never_committed(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The blob ends where its descriptor says."""
    store = connect(fake_registry.host)
    upload = await begin(store)
    with pytest.raises(IntegrityError, match="more than"):
        await send(upload, DATA + b"x")
    await upload.abort()
    upload = await begin(store)
    with pytest.raises(IntegrityError, match="1 bytes are missing"):
        await send(upload, DATA[:-1])
    await upload.abort()
    assert not fake_registry.blobs


async def test_aborted_upload_is_cancelled(fake_registry: FakeRegistry, connect: Connect) -> None:
    """Gigabytes of chunks are not left behind."""
    upload = await begin(connect(fake_registry.host))
    await upload.write(DATA[: 2 * CHUNK])
    await upload.abort()
    assert fake_registry.count("DELETE", "/uploads/", status=204) == 1
    with pytest.raises(StoreError):
        await upload.write(DATA[2 * CHUNK :])
