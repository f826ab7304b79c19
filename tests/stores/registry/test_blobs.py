"""Streaming blobs: from any offset, through redirects, never past their size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    IntegrityError,
    NotFound,
    ProtocolError,
    Rejected,
    TransientError,
)
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import NoRanges
from imgmigrate.stores.registry.http.limits import Timeouts
from tests.fakes.registry import FakeRegistry, User
from tests.support.blobs import described
from tests.support.images import image, layer

if TYPE_CHECKING:
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.stores.registry.conftest import Connect

DATA = layer("blob", 3 * 1024 * 1024)
BLOB = described(DATA)


@pytest.fixture
async def registry(fake_registry: FakeRegistry) -> FakeRegistry:
    """A registry that holds the blob."""
    fake_registry.put_image("a", "1", image(layers=[DATA]))
    return fake_registry


async def read(store: RegistryStore, descriptor: Descriptor = BLOB, offset: int = 0) -> bytes:
    got = bytearray()
    await read_into(got, store, descriptor, offset)
    return bytes(got)


async def read_into(
    got: bytearray, store: RegistryStore, descriptor: Descriptor = BLOB, offset: int = 0
) -> None:
    """Read, keeping what came before an error."""
    async for piece in store.open_blob("a", descriptor, offset):
        got += piece


@pytest.mark.parametrize("offset", [0, 1, 100_000, len(DATA) - 1])
@pytest.mark.parametrize("redirect", [None, 302, 307])
async def test_blob_is_streamed_from_any_offset(
    registry: FakeRegistry, connect: Connect, offset: int, redirect: int | None
) -> None:
    """Directly or from the storage behind the registry, whose signed URL arrives untouched."""
    registry.redirect_status = redirect
    assert await read(connect(registry.host), offset=offset) == DATA[offset:]


async def test_registry_that_ignores_ranges_is_read_from_the_start(
    registry: FakeRegistry, connect: Connect
) -> None:
    """A 200 to a range means that the prefix is thrown away here."""
    registry.fail("GET", "/blobs/", status=200, body=DATA)
    assert await read(connect(registry.host), offset=100_000) == DATA[100_000:]


@pytest.mark.parametrize("redirect", [None, 307])
@pytest.mark.parametrize(("offset", "length"), [(0, 1), (100, 500_000), (len(DATA) - 7, 7)])
async def test_part_of_a_blob_is_asked_for_as_such(
    registry: FakeRegistry, connect: Connect, offset: int, length: int, redirect: int | None
) -> None:
    """With a length exactly those bytes are requested and come."""
    registry.redirect_status = redirect
    stream = connect(registry.host).open_blob("a", BLOB, offset, length)
    assert b"".join([piece async for piece in stream]) == DATA[offset : offset + length]
    asked = {each.headers["range"] for each in registry.matching("GET", "/blobs/")}
    assert asked == {f"bytes={offset}-{offset + length - 1}"}


@pytest.mark.parametrize(
    ("status", "span"),
    [(200, None), (416, None), (206, None), (206, "bytes 100-998/*"), (206, "bytes 0-899/*")],
)
async def test_other_part_than_asked_for_is_no_part(
    registry: FakeRegistry, connect: Connect, status: int, span: str | None
) -> None:
    """What is not exactly the range is refused before its first byte, and costs one request."""
    headers = {"Content-Range": span} if span else {}
    registry.fail("GET", "/blobs/", status=status, body=DATA[100:1000], headers=headers)
    stream = connect(registry.host).open_blob("a", BLOB, 100, 900)
    with pytest.raises(NoRanges):
        await anext(stream)
    assert registry.count("GET", "/blobs/") == 1


async def test_absent_blob_is_not_found(registry: FakeRegistry, connect: Connect) -> None:
    """A broken image is told by the digest that is missing."""
    absent = replace(BLOB, digest=Digest.of(b"absent"))
    with pytest.raises(NotFound, match=absent.digest):
        await read(connect(registry.host), absent)


async def test_blob_that_ends_before_the_offset_is_damaged(
    registry: FakeRegistry, connect: Connect
) -> None:
    """A 416 to a range is asked about once more, and the whole answer tells why."""
    longer = replace(BLOB, size=len(DATA) + 10)
    with pytest.raises(IntegrityError, match="where its manifest says"):
        await read(connect(registry.host), longer, offset=len(DATA) + 5)
    assert [each.status for each in registry.matching("GET", "/blobs/")] == [416, 200]


async def test_range_that_is_refused_is_read_from_the_start(
    registry: FakeRegistry, connect: Connect
) -> None:
    """Ranges are an offer; the body of a 416 is never read: its length may be wrong."""
    headers = {"Content-Length": "1000"}
    registry.fail("GET", "/blobs/", status=416, body=b"", headers=headers, times=1)
    assert await read(connect(registry.host), offset=100) == DATA[100:]


@pytest.mark.parametrize("status", [400, 403, 405, 500, 501])
async def test_range_that_is_refused_otherwise_is_read_from_the_start(
    registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """Who takes no ranges says so with many a status."""
    registry.fail("GET", "/blobs/", status=status, body=b"<Error/>", times=1)
    assert await read(connect(registry.host), offset=100) == DATA[100:]
    assert [each.headers.get("range") for each in registry.matching("GET", "/blobs/")] == [
        "bytes=100-",
        None,
    ]


async def test_a_limit_is_not_taken_for_a_refused_range(
    registry: FakeRegistry, connect: Connect
) -> None:
    """Who is told to slow down does not read everything again instead."""
    registry.fail("GET", "/blobs/", status=429, body=b"", times=1)
    await read(connect(registry.host), offset=100)
    ranges = [each.headers.get("range") for each in registry.matching("GET", "/blobs/")]
    assert ranges == ["bytes=100-"] * 2


@pytest.mark.parametrize("span", ["bytes 0-9/10", "bytes 5-9/*", "items 1-2/3", None])
async def test_other_range_than_asked_for_is_not_used(
    registry: FakeRegistry, connect: Connect, span: str | None
) -> None:
    """Bytes from elsewhere never continue a blob: it is read from the start instead."""
    registry.rewrite("GET", "/blobs/", {"Content-Range": span}, times=1)
    assert await read(connect(registry.host), offset=100) == DATA[100:]
    assert [each.headers.get("range") for each in registry.matching("GET", "/blobs/")] == [
        "bytes=100-",
        None,
    ]


async def test_range_that_nobody_asked_for_is_refused(
    registry: FakeRegistry, connect: Connect
) -> None:
    """A part is never taken for the whole."""
    headers = {"Content-Range": f"bytes 0-9/{len(DATA)}"}
    registry.fail("GET", "/blobs/", status=206, body=DATA[:10], headers=headers)
    with pytest.raises(ProtocolError, match="206"):
        await read(connect(registry.host))


async def test_blob_that_is_only_among_the_manifests_is_read_there(connect: Connect) -> None:
    """What is a child to one registry is a blob to another; either path will do."""
    made = image()
    descriptor = Descriptor(made.media_type, Digest.of(made.raw), len(made.raw))
    async with FakeRegistry() as registry:
        registry.put_image("a", "1", made)
        for offset in (0, 10):
            got = await read(connect(registry.host), descriptor, offset)
            assert got == made.raw[offset:]


async def test_web_page_instead_of_a_blob_is_transient(
    registry: FakeRegistry, connect: Connect
) -> None:
    """A front end's error does not make the source a damaged image."""
    headers = {"Content-Type": "text/html"}
    registry.fail("GET", "/blobs/", status=200, body=b"<html>", headers=headers)
    with pytest.raises(TransientError, match="web page"):
        await read(connect(registry.host))


@pytest.mark.parametrize("status", [403, 404, 405, 501])
async def test_existence_that_cannot_be_asked_is_none(
    registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """Uploading is always right; whether it is allowed is for the POST to say."""
    registry.fail("HEAD", "/blobs/", status=status)
    assert not await connect(registry.host).blob_exists("a", BLOB.digest)


async def test_size_is_told_by_one_head(registry: FakeRegistry, connect: Connect) -> None:
    """As a puller asks: nothing is read, and no right to push is needed."""
    assert await connect(registry.host).blob_size("a", BLOB) == BLOB.size
    assert [(each.method, each.status) for each in registry.requests if "/blobs/" in each.path] == [
        ("HEAD", 200)
    ]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
async def test_absence_rests_on_no_head(
    registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """Proxies answer HEAD otherwise than GET: a byte is asked for before a blob is missing."""
    registry.fail("HEAD", "/blobs/", status=status)
    assert await connect(registry.host).blob_size("a", BLOB) == BLOB.size


@pytest.mark.parametrize("length", ["0", "17", None])
async def test_size_of_a_head_is_not_believed_against_the_manifest(
    registry: FakeRegistry, connect: Connect, length: str | None
) -> None:
    """A front end may tell its own length, or none."""
    registry.rewrite("HEAD", "/blobs/", {"Content-Length": length})
    assert await connect(registry.host).blob_size("a", BLOB) == BLOB.size


@pytest.mark.parametrize("ranges", [True, False])
async def test_size_that_is_another_is_told(
    registry: FakeRegistry, connect: Connect, ranges: bool
) -> None:
    """By the part that was asked for, or where that is ignored by the whole; neither is read."""
    if not ranges:
        registry.fail("GET", "/blobs/", status=200, body=DATA)
    for size in (len(DATA) - 1, len(DATA) + 1):
        wanted = replace(BLOB, size=size)
        assert await connect(registry.host).blob_size("a", wanted) == len(DATA)


async def test_blob_that_neither_verb_finds_is_missing(
    registry: FakeRegistry, connect: Connect
) -> None:
    """Only then."""
    absent = described(b"absent")
    assert await connect(registry.host).blob_size("a", absent) is None
    assert await connect(registry.host).blob_size("nowhere", BLOB) is None


async def test_blob_that_may_not_be_read_is_not_missing(
    registry: FakeRegistry, connect: Connect
) -> None:
    """A refusal is an error of its own."""
    registry.fail("*", "/blobs/", status=403)
    with pytest.raises((AccessDenied, AuthenticationError)):
        await connect(registry.host).blob_size("a", BLOB)


async def test_web_page_tells_no_size(registry: FakeRegistry, connect: Connect) -> None:
    """A front end's error page is a passing failure, not a blob of another size."""
    headers = {"Content-Type": "text/html"}
    registry.fail("*", "/blobs/", status=200, body=b"<html>", headers=headers)
    with pytest.raises(TransientError, match="web page"):
        await connect(registry.host).blob_size("a", BLOB)


async def test_empty_blob_is_found_where_ranges_are_refused(
    registry: FakeRegistry, connect: Connect
) -> None:
    """No byte of it can be asked for: the refusal tells its size."""
    empty = described(b"")
    registry.storage.add_blob("a", b"")
    registry.fail("HEAD", "/blobs/", status=404)
    assert await connect(registry.host).blob_size("a", empty) == 0


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
async def test_length_that_differs_from_the_manifest_is_found_before_reading(
    registry: FakeRegistry, connect: Connect, size: int
) -> None:
    """The manifest says how long a blob is."""
    with pytest.raises(IntegrityError, match="bytes where its manifest says"):
        await read(connect(registry.host), replace(BLOB, size=size))


async def test_bytes_past_the_size_are_never_yielded(
    registry: FakeRegistry, connect: Connect
) -> None:
    """Without a length the stream is cut where the manifest says it ends."""
    registry.rewrite("GET", "/blobs/", {"Content-Length": None, "Transfer-Encoding": "chunked"})
    got = bytearray()
    with pytest.raises(IntegrityError, match="longer than"):
        await read_into(got, connect(registry.host), replace(BLOB, size=500_000))
    assert bytes(got) == DATA[: len(got)]
    assert len(got) <= 500_000


async def test_stream_that_breaks_is_transient_after_what_arrived(
    registry: FakeRegistry, connect: Connect
) -> None:
    """The reader keeps what came and opens again at the offset it reached."""
    registry.cut("/blobs/", at=1_000_000)
    store = connect(registry.host)
    got = bytearray()
    with pytest.raises(TransientError, match=BLOB.digest) as raised:
        await read_into(got, store)
    assert (raised.value.host, raised.value.repo) == (registry.host, "a")
    got += await read(store, offset=len(got))
    assert bytes(got) == DATA
    assert registry.count("GET", "/blobs/") == 2


async def test_stream_that_stalls_is_transient(registry: FakeRegistry, connect: Connect) -> None:
    """A server that stops sending is given up after the read timeout."""
    registry.stall("GET", "/blobs/", at=1_000_000)
    store = connect(registry.host, timeouts=Timeouts(read=0.2))
    with pytest.raises(TransientError, match="in time"):
        await read(store)


async def test_closing_a_stream_frees_its_connection(
    registry: FakeRegistry, connect: Connect
) -> None:
    """An abandoned blob does not hold the session open."""
    stall = registry.stall("GET", "/blobs/", at=1000)
    store = connect(registry.host)
    stream = store.open_blob("a", BLOB)
    await anext(stream)
    await stall.reached.wait()
    await stream.aclose()
    stall.release()
    assert await read(store) == DATA


async def test_credentials_never_reach_the_storage(connect: Connect) -> None:
    """A redirect to another origin is followed without Authorization."""
    async with FakeRegistry(auth="basic", users=[User("me", "password")]) as registry:
        registry.put_image("a", "1", image(layers=[DATA]))
        registry.redirect_status = 307
        config = RegistryConfig(plain_http=True, username="me", password="password")
        assert await read(connect(registry.host, config)) == DATA
        # The fake fails the test if the storage host sees a credential.
        assert [request.authorised for request in registry.cdn_requests] == [False]


async def test_signed_url_that_ran_out_is_transient(
    registry: FakeRegistry, connect: Connect
) -> None:
    """The registry hands out a new one when it is asked again."""
    registry.redirect_status = 307
    location = {"Location": f"http://{registry.cdn_host}/storage/blobs/{BLOB.digest}?sig=old"}
    registry.rewrite("GET", "/blobs/", location, times=1)
    store = connect(registry.host)
    with pytest.raises(TransientError, match="signed URL"):
        await read(store)
    assert await read(store) == DATA


async def test_redirects_in_a_circle_end(registry: FakeRegistry, connect: Connect) -> None:
    """There is a most of hops."""
    where = {"Location": f"/v2/a/blobs/{BLOB.digest}"}
    registry.fail("GET", "/blobs/", status=302, body=b"", headers=where)
    with pytest.raises(ProtocolError, match="redirects more than"):
        await read(connect(registry.host))


async def test_existence_is_asked_by_head(registry: FakeRegistry, connect: Connect) -> None:
    """In this repository, not in the registry."""
    store = connect(registry.host)
    assert await store.blob_exists("a", BLOB.digest)
    assert not await store.blob_exists("b", BLOB.digest)
    assert registry.count("GET", "/blobs/") == 0


@pytest.mark.parametrize("name", ["sig", "X-Amz-Credential", "hash_token", "my-key"])
async def test_a_part_of_a_signed_url_is_hidden_when_a_server_repeats_it(
    registry: FakeRegistry, connect: Connect, name: str
) -> None:
    """Whatever it is called there, also without its name, also by a later answer of another."""
    location = {"Location": f"http://{registry.cdn_host}/storage/x?{name}=hunter2+hunter2%2F&v=1"}
    registry.fail("GET", "/blobs/", status=307, body=b"", times=1, headers=location)
    registry.fail("GET", "/storage/", status=404, body=b"gone", times=1)
    store = connect(registry.host)
    with pytest.raises(NotFound):
        await read(store)
    said = b'{"errors": [{"code": "X", "message": "hunter2 hunter2/ or hunter2+hunter2%2F"}]}'
    registry.fail("GET", "/blobs/", status=400, body=said)
    with pytest.raises(Rejected) as caught:
        await read(store)
    assert "*** or ***" in str(caught.value)
    assert str(BLOB.digest) in str(caught.value)
