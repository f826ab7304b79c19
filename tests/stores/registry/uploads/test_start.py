"""Uploads: mounted where possible, streamed with their length, never left behind."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    ProtocolError,
    Rejected,
    StoreError,
    TransientError,
)
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted, OtherForm
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.registry.http.line import Line
from imgmigrate.stores.registry.pace.shares import Share
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.uploads.sending import FIRST_PART, LOOKS, SIGN_OF_LIFE
from imgmigrate.stores.registry.wire import remote
from tests.fakes.registry import Distribution2, FakeRegistry, Hostile, User
from tests.support.blobs import described
from tests.support.images import image, layer

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.stores.registry.conftest import Clock, Connect

DATA = layer("upload", 5 * 1024 * 1024)
PIECE = 300_000


BLOB = described(DATA)


@dataclass(frozen=True, slots=True)
class _Writer:
    """What a `Line` asks of aiohttp's writer."""

    transport: asyncio.WriteTransport
    output_size: int = 0


async def begin(store: RegistryStore, data: bytes = DATA, mount_from: str | None = None) -> Upload:
    upload = await store.start_upload("a", described(data), mount_from)
    assert not isinstance(upload, Mounted)
    return upload


async def send(upload: Upload, data: bytes = DATA) -> None:
    for start in range(0, len(data), PIECE):
        await upload.write(data[start : start + PIECE])


async def finish(upload: Upload, data: bytes = DATA) -> None:
    await send(upload, data)
    await upload.commit()


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("size", [0, 1, PIECE, len(DATA)])
async def test_blob_is_uploaded_by_one_put_with_its_length(
    fake_registry: FakeRegistry, connect: Connect, size: int, absolute: bool
) -> None:
    """Blobs of any size, empty ones too, arrive whole and un-chunked."""
    fake_registry.absolute_locations = absolute
    data = DATA[:size]
    upload = await begin(connect(fake_registry.host), data)
    await finish(upload, data)
    assert fake_registry.blobs[described(data).digest] == data
    (put,) = fake_registry.matching("PUT", "/blobs/uploads/")
    assert put.headers["content-length"] == str(size)
    assert [each.method for each in fake_registry.requests] == ["POST", "PUT"]


async def test_piece_larger_than_a_piece_should_be_is_taken(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The whole blob at once is as good."""
    upload = await begin(connect(fake_registry.host))
    await upload.write(DATA)
    await upload.commit()
    assert fake_registry.blobs[BLOB.digest] == DATA


async def test_sha512_blob_is_uploaded(fake_registry: FakeRegistry, connect: Connect) -> None:
    """The digest's algorithm is the descriptor's."""
    descriptor = Descriptor("application/octet-stream", Digest.of(DATA, "sha512"), len(DATA))
    upload = await connect(fake_registry.host).start_upload("a", descriptor)
    assert not isinstance(upload, Mounted)
    await finish(upload)
    assert fake_registry.blobs[descriptor.digest] == DATA


async def test_blob_of_another_repository_is_mounted(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Without a byte sent."""
    fake_registry.put_image("base", "1", image(layers=[DATA]))
    store = connect(fake_registry.host)
    assert await store.start_upload("a", BLOB, "base") == Mounted()
    assert fake_registry.mounts_of(BLOB.digest) == 1
    assert await store.blob_exists("a", BLOB.digest)


async def test_session_that_a_refused_mount_opened_is_used(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A 202 to a mount is an upload that has begun."""
    upload = await begin(connect(fake_registry.host), mount_from="base")
    await finish(upload)
    assert fake_registry.count("POST", "/uploads/") == 1
    assert fake_registry.blobs[BLOB.digest] == DATA


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 503])
async def test_mount_that_is_refused_in_any_way_becomes_an_upload(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """No answer to a mount aborts the copy."""
    fake_registry.fail("POST", "mount=", status=status)
    upload = await begin(connect(fake_registry.host), mount_from="base")
    await finish(upload)
    assert fake_registry.blobs[BLOB.digest] == DATA


async def test_mount_that_the_token_server_refuses_becomes_an_upload(connect: Connect) -> None:
    """Docker Hub's token server fails for scopes that it does not like."""
    async with FakeRegistry(auth="token", users=[User("me", "password")]) as registry:
        registry.fail("GET", "scope=repository:base", status=400)
        config = RegistryConfig(plain_http=True, username="me", password="password")
        upload = await begin(connect(registry.host, config), mount_from="base")
        await finish(upload)
        assert registry.blobs[BLOB.digest] == DATA


async def test_mount_asks_for_both_repositories_push_first(connect: Connect) -> None:
    """Some servers honour the first scope only."""
    async with FakeRegistry(auth="token", users=[User("me", "password")]) as registry:
        registry.put_image("base", "1", image(layers=[DATA]))
        config = RegistryConfig(plain_http=True, username="me", password="password")
        store = connect(registry.host, config)
        assert await store.start_upload("a", BLOB, "base") == Mounted()
        scopes = ("repository:a:pull,push", "repository:base:pull")
        assert registry.token_requests == [scopes]


@pytest.mark.parametrize(
    ("status", "kind"), [(403, AccessDenied), (409, Rejected), (500, TransientError)]
)
async def test_early_answer_is_told_with_its_status(
    connect: Connect, status: int, kind: type[StoreError]
) -> None:
    """A refusal that comes while bytes are sent is no broken pipe."""
    async with FakeRegistry(auth="basic", users=[User("me", "password")]) as registry:
        registry.fail("PUT", "/uploads/", status=status)
        config = RegistryConfig(plain_http=True, username="me", password="password")
        upload = await begin(connect(registry.host, config))
        with pytest.raises(kind) as caught:
            await finish(upload)
        await upload.abort()
        assert caught.value.status == status
        assert BLOB.digest in str(caught.value)


async def test_destination_that_breaks_is_transient(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The engine starts a new session then."""
    fake_registry.cut_upload(at=1_000_000)
    upload = await begin(connect(fake_registry.host))
    with pytest.raises(TransientError, match=BLOB.digest):
        await finish(upload)
    await upload.abort()
    assert BLOB.digest not in fake_registry.blobs


async def test_destination_that_takes_no_bytes_is_a_stall(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Time inside write counts against the destination."""
    fake_registry.stall("PUT", "/uploads/")
    data = bytes(64 * 1024 * 1024)
    upload = await begin(connect(fake_registry.host, timeouts=Timeouts(stall=0.1)), data)
    with pytest.raises(TransientError, match="took no byte"):
        await send(upload, data)
    await upload.abort()


async def test_line_that_moves_is_no_stall_however_long_a_piece_takes(
    fake_registry: FakeRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is that bytes leave, not that a piece of them has left."""
    stall = fake_registry.stall("PUT", "/uploads/")
    looks = 0

    def has_moved(_: Line) -> bool:
        nonlocal looks
        looks += 1
        if looks == 3 * LOOKS:
            stall.release()
        return True

    monkeypatch.setattr(Line, "has_moved", has_moved)
    data = bytes(32 * 1024 * 1024)
    upload = await begin(connect(fake_registry.host, timeouts=Timeouts(stall=0.1)), data)
    await finish(upload, data)
    assert looks >= 3 * LOOKS
    assert fake_registry.blobs[described(data).digest] == data


async def test_answer_is_waited_for_from_the_last_byte_on(
    fake_registry: FakeRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may need minutes for what it was given: the registry's time begins after that."""
    stall = fake_registry.stall("PUT", "/uploads/", when="answer")
    looks = 0

    def has_moved(_: Line) -> bool:
        nonlocal looks
        looks += 1
        if looks == 6:
            stall.release()
        return True

    monkeypatch.setattr(Line, "has_moved", has_moved)
    monkeypatch.setattr(Line, "is_clear", property(lambda _: looks >= 3))
    upload = await begin(connect(fake_registry.host, timeouts=Timeouts(stall=0.2, commit=0.05)))
    await finish(upload)
    assert looks >= 6


async def test_body_that_waits_for_others_sends_little(
    fake_registry: FakeRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the line is another body's, this one shows that it lives, and still arrives whole."""
    sizes: list[int] = []

    def sent(share: Share, count: int) -> None:
        sizes.append(count)
        share.left -= count

    async def turn(_: Share) -> bool:
        return False

    monkeypatch.setattr(Share, "sent", sent)
    monkeypatch.setattr(Share, "turn", turn)
    upload = await begin(connect(fake_registry.host))
    await finish(upload)
    assert fake_registry.blobs[BLOB.digest] == DATA
    assert sizes[0] == FIRST_PART
    assert max(sizes[1:]) == SIGN_OF_LIFE
    assert sum(sizes) == len(DATA)


async def test_upload_that_is_over_has_no_share_of_the_line(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Neither one that is committed nor one that is given up keeps others waiting."""
    store = connect(fake_registry.host)
    await finish(await begin(store))
    upload = await begin(store, layer("other", len(DATA)))
    await upload.write(DATA[:PIECE])
    assert len(store.remote.shares._open) == 1
    await upload.abort()
    assert not store.remote.shares._open


async def test_bytes_that_nobody_takes_do_not_move() -> None:
    """What only our own kernel holds has not gone anywhere; what the other side reads has."""
    server = socket.create_server(("127.0.0.1", 0))
    _, writer = await asyncio.open_connection(*server.getsockname())
    peer, _ = server.accept()
    line = Line()
    line.begin(cast("AbstractStreamWriter", _Writer(writer.transport)))
    writer.write(bytes(32 * 1024 * 1024))
    line.has_moved()  # what the peer's kernel took
    try:
        assert not line.has_moved()
        assert not line.is_clear
        for _ in range(16):  # not all that was sent, so none of them waits for ever
            await asyncio.to_thread(peer.recv, 1024 * 1024)
        assert line.has_moved()
    finally:
        writer.transport.abort()
        peer.close()
        server.close()


async def test_source_that_is_slow_is_no_stall(
    fake_registry: FakeRegistry, connect: Connect, clock: Clock
) -> None:
    """Time between writes never counts: it is the other side's."""
    stall = fake_registry.stall("PUT", "/uploads/")
    upload = await begin(connect(fake_registry.host))
    await upload.write(DATA[:PIECE])
    await stall.reached.wait()
    clock.advance(300)
    stall.release()
    await upload.write(DATA[PIECE:])
    await upload.commit()
    assert fake_registry.blobs[BLOB.digest] == DATA


async def test_commit_waits_longer_than_a_stall(
    fake_registry: FakeRegistry, connect: Connect, clock: Clock
) -> None:
    """A registry may take its time to store what it has, the more the larger that is."""
    stall = fake_registry.stall("PUT", "/uploads/", when="answer")
    upload = await begin(connect(fake_registry.host, timeouts=Timeouts(stall=5)))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(finish(upload))
        await stall.reached.wait()
        clock.advance(Timeouts().patience(len(DATA)) - 1)
        stall.release()
    assert fake_registry.blobs[BLOB.digest] == DATA


async def test_commit_that_is_never_answered_is_transient(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """There is an end to waiting for the last answer too."""
    fake_registry.stall("PUT", "/uploads/", when="answer")
    upload = await begin(connect(fake_registry.host, timeouts=Timeouts(stall=2, commit=0.1)))
    with pytest.raises(TransientError, match=BLOB.digest):
        await finish(upload)


async def test_token_that_ends_during_an_upload_is_transient(connect: Connect) -> None:
    """A new session gets a new token, and is not refused for the old one."""
    async with FakeRegistry(auth="token", users=[User("me", "password")]) as registry:
        config = RegistryConfig(plain_http=True, username="me", password="password")
        store = connect(registry.host, config)
        upload = await begin(store)
        registry.revoke_tokens()
        with pytest.raises(TransientError, match="401"):
            await finish(upload)
        await upload.abort()
        upload = await begin(store)
        await finish(upload)
        assert registry.blobs[BLOB.digest] == DATA


async def test_wrong_bytes_are_rejected_by_the_registry(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The registry's own check is the last, once every form has been tried."""
    store = connect(fake_registry.host)
    for kind in (OtherForm, Rejected):
        upload = await begin(store)
        await upload.write(bytes(len(DATA)))
        with pytest.raises(kind, match="DIGEST_INVALID"):
            await upload.commit()


@pytest.mark.parametrize("digest", [f"sha256:{'0' * 64}", "sha256:../../etc"])
async def test_blob_that_is_stored_as_another_is_found_out(
    fake_registry: FakeRegistry, connect: Connect, digest: str
) -> None:
    """What the registry says that it stored is what was sent."""
    fake_registry.rewrite("PUT", "/uploads/", {"Docker-Content-Digest": digest})
    upload = await begin(connect(fake_registry.host))
    with pytest.raises(StoreError, match=r"instead|Docker-Content-Digest"):
        await finish(upload)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "BLOB_UPLOAD_UNKNOWN"),
        (400, "BLOB_UPLOAD_INVALID"),
        (416, "RANGE_INVALID"),
        (404, "UNKNOWN"),
    ],
)
async def test_session_that_is_gone_is_transient(
    fake_registry: FakeRegistry, connect: Connect, status: int, code: str
) -> None:
    """A new session heals that the old one is lost, whatever a registry calls it."""
    store = connect(fake_registry.host)
    first = bytes(len(DATA))  # proves that the form is not what is refused
    await finish(await begin(store, first), first)
    fake_registry.fail("PUT", "/uploads/", status=status, code=code)
    upload = await begin(store)
    with pytest.raises(TransientError, match="session is gone"):
        await finish(upload)


async def test_repository_that_is_gone_is_no_lost_session(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A missing repository stays missing."""
    fake_registry.fail("PUT", "/uploads/", status=404, code="NAME_UNKNOWN")
    upload = await begin(connect(fake_registry.host))
    with pytest.raises(NotFound, match="create the repository"):
        await finish(upload)


@pytest.mark.parametrize(("cuts", "hinted"), [(True, True), (False, False)])
async def test_cut_instead_of_an_answer_is_explained_where_it_means_absence(
    fake_registry: FakeRegistry,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    cuts: bool,
    hinted: bool,
) -> None:
    """ECR hangs up on pushes to a repository that is not there."""
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(cuts_absent=cuts))
    fake_registry.drop("POST", "/uploads/", times=None)
    with pytest.raises(TransientError) as caught:
        await connect(fake_registry.host).start_upload("a", BLOB)
    assert ("repository does not exist" in str(caught.value)) is hinted


@pytest.mark.parametrize("status", [301, 307])
async def test_upload_that_is_redirected_elsewhere_is_refused(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """Nothing is written where nobody chose, and the error says where that would be."""
    headers = {"Location": f"http://{fake_registry.cdn_host}/x"}
    fake_registry.fail("*", "/uploads/", status=status, body=b"", headers=headers)
    with pytest.raises(ProtocolError, match=f"redirects.*{fake_registry.cdn_host}"):
        await connect(fake_registry.host).start_upload("a", BLOB)
    assert not fake_registry.cdn_requests


async def test_put_that_is_redirected_is_refused(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A body that is sent once cannot follow."""
    headers = {"Location": "/elsewhere"}
    fake_registry.fail("PUT", "/uploads/", status=307, body=b"", headers=headers)
    upload = await begin(connect(fake_registry.host))
    with pytest.raises(ProtocolError, match="redirects what is written"):
        await finish(upload)


async def test_post_follows_a_redirect_within_the_registry(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A 308 to another path of the same origin keeps method and credentials."""
    headers = {"Location": "/v2/a/blobs/uploads/"}
    fake_registry.fail("POST", "/b/", status=308, body=b"", headers=headers)
    upload = await connect(fake_registry.host).start_upload("b", BLOB)
    assert not isinstance(upload, Mounted)
    assert [each.status for each in fake_registry.matching("POST", "")] == [308, 202]


async def test_more_or_fewer_bytes_than_promised_are_never_committed(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A body of another length than its header hangs or is clipped; it does not come to that."""
    store = connect(fake_registry.host)
    upload = await begin(store)
    with pytest.raises(IntegrityError, match="more than"):
        await upload.write(DATA + b"x")
    await upload.abort()
    upload = await begin(store)
    await upload.write(DATA[:-1])
    with pytest.raises(IntegrityError, match="1 bytes are missing"):
        await upload.commit()
    await upload.abort()
    assert not fake_registry.blobs


async def test_aborted_session_without_bytes_is_cancelled(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Nothing is left behind at the registry."""
    upload = await begin(connect(fake_registry.host))
    await upload.abort()
    assert fake_registry.count("DELETE", "/uploads/", status=204) == 1


async def test_abort_in_the_middle_closes_the_connection(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A begun PUT is cut, not completed, and no session is touched again."""
    upload = await begin(connect(fake_registry.host))
    await upload.write(DATA[:PIECE])
    await upload.abort()
    await upload.abort()
    with pytest.raises(TransientError, match="given up"):
        await upload.write(DATA[PIECE : 2 * PIECE])
    assert fake_registry.count("DELETE", "") == 0
    assert BLOB.digest not in fake_registry.blobs


async def test_abort_is_silent_where_cancelling_is_not_allowed(connect: Connect) -> None:
    """Best effort: a registry that needs the right to delete keeps its session."""
    users = [User("me", "password")]
    async with Distribution2(auth="basic", users=users) as registry:
        registry.fail("DELETE", "/uploads/", status=405)
        config = RegistryConfig(plain_http=True, username="me", password="password")
        upload = await begin(connect(registry.host, config))
        await upload.abort()
        assert registry.count("DELETE", "/uploads/") == 1


async def test_cancelled_write_leaves_no_task(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Cancellation travels on and takes the request with it."""
    stall = fake_registry.stall("PUT", "/uploads/")
    data = bytes(64 * 1024 * 1024)
    upload = await begin(connect(fake_registry.host), data)
    before = asyncio.all_tasks()
    task = asyncio.create_task(send(upload, data))
    await stall.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not {each for each in asyncio.all_tasks() - before if "Sending" in repr(each)}
    await upload.abort()


async def test_foreign_location_gets_no_credentials(connect: Connect) -> None:
    """Where a registry sends the bytes, Authorization does not follow."""
    async with Hostile(auth="basic", users=[User("me", "password")]) as registry:
        registry.foreign_location = f"http://{registry.cdn_host}/put?x=a%2Fb"
        config = RegistryConfig(plain_http=True, username="me", password="password")
        upload = await begin(connect(registry.host, config))
        with pytest.raises(StoreError):
            await finish(upload)
        await upload.abort()
        assert [each.authorised for each in registry.cdn_requests] == [False]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "https://u:p@h/x"])
async def test_location_that_is_no_place_is_refused(connect: Connect, location: str) -> None:
    """An upload goes to http(s) URLs only."""
    async with Hostile() as registry:
        registry.foreign_location = location
        with pytest.raises(ProtocolError, match="points to"):
            await connect(registry.host).start_upload("a", BLOB)


async def test_upload_without_a_location_is_a_protocol_error(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """There is nowhere to send the bytes."""
    fake_registry.rewrite("POST", "/uploads/", {"Location": None})
    with pytest.raises(ProtocolError, match="without saying where"):
        await connect(fake_registry.host).start_upload("a", BLOB)


async def test_signed_location_keeps_its_escapes(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The query of a Location is opaque; the digest is appended to it."""
    store = connect(fake_registry.host)
    await (await begin(store)).abort()
    fake_registry.rewrite("POST", "/uploads/", {"Location": "/elsewhere?_state=a%2Fb%3D%2B"})
    upload = await begin(store)
    with pytest.raises(StoreError):
        await finish(upload)
    await upload.abort()
    (put,) = fake_registry.matching("PUT", "/elsewhere")
    assert put.query == {"_state": "a/b=+", "digest": BLOB.digest}
