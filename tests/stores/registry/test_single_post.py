"""Small blobs go in one request where the registry takes it, which it is asked once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AccessDenied, IntegrityError, TransientError
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.registry.uploads.forms import ASKS_AFTER, MOST_FAILURES, SMALL_BODY, Posts
from imgmigrate.stores.registry.uploads.single import SingleUpload
from tests.fakes.registry import FakeRegistry, User
from tests.support.blobs import described

if TYPE_CHECKING:
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.stores.registry.conftest import Clock, Connect

USUAL = ["POST", "PUT"]
POST = r"/uploads/\?digest="


async def begin(store: RegistryStore, data: bytes) -> Upload:
    upload = await store.start_upload("a", described(data))
    assert not isinstance(upload, Mounted)
    return upload


async def put(store: RegistryStore, data: bytes) -> None:
    upload = await begin(store, data)
    if data:
        await upload.write(data)
    await upload.commit()


async def put_some(store: RegistryStore, registry: FakeRegistry) -> None:
    """Upload as many blobs as do not make it worth asking, and forget their requests."""
    for number in range(ASKS_AFTER):
        await put(store, b"some %d" % number)
    assert [each.method for each in registry.requests] == USUAL * ASKS_AFTER
    registry.requests.clear()


def methods(registry: FakeRegistry) -> list[str]:
    """The requests since the last time."""
    found = [each.method for each in registry.requests]
    registry.requests.clear()
    return found


async def test_registry_that_takes_a_single_post_gets_one_request_a_blob(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """It is asked once, its word is proved once, and then a blob is one request."""
    fake_registry.single_post = True
    store = connect(fake_registry.host)
    await put_some(store, fake_registry)
    await put(store, b"question")
    assert methods(fake_registry) == ["POST", "HEAD"]
    for data in (b"x", bytes(SMALL_BODY)):
        await put(store, data)
        (request,) = fake_registry.requests
        assert request.method == "POST"
        assert request.headers["content-length"] == str(len(data))
        assert request.headers["content-type"] == "application/octet-stream"
        assert methods(fake_registry) == ["POST"]
        assert fake_registry.blobs[described(data).digest] == data
    assert fake_registry.blobs[described(b"question").digest] == b"question"


async def test_registry_that_opens_a_session_instead_is_not_asked_again(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The blob goes the usual way, and the session that nobody knows the state of is cancelled."""
    store = connect(fake_registry.host)
    await put_some(store, fake_registry)
    await put(store, b"question")
    assert methods(fake_registry) == ["POST", "DELETE", *USUAL]
    await put(store, b"more")
    assert methods(fake_registry) == USUAL
    assert fake_registry.blobs[described(b"question").digest] == b"question"
    assert not fake_registry.storage.sessions


@pytest.mark.parametrize("status", [400, 404, 405, 411, 413, 500, 503])
async def test_refused_question_costs_one_request_a_few_times(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """Whatever is answered the blob gets there; it may have been the repository, but not always."""
    fake_registry.fail("POST", POST, status=status)
    store = connect(fake_registry.host)
    await put_some(store, fake_registry)
    for number in range(MOST_FAILURES):
        await put(store, b"question %d" % number)
        assert methods(fake_registry) == ["POST", *USUAL]
    await put(store, b"more")
    assert methods(fake_registry) == USUAL


@pytest.mark.parametrize("stated", [None, f"sha256:{'0' * 64}"])
async def test_single_post_is_not_believed_without_a_proof(
    fake_registry: FakeRegistry, connect: Connect, stated: str | None
) -> None:
    """A 201 for what is not there, or for something else, is no answer."""
    headers = {"Docker-Content-Digest": stated} if stated else {}
    fake_registry.fail("POST", POST, status=201, body=b"", headers=headers)
    store = connect(fake_registry.host)
    await put_some(store, fake_registry)
    await put(store, b"question")
    assert methods(fake_registry) == ["POST", *(["HEAD"] if stated is None else []), *USUAL]
    assert fake_registry.blobs[described(b"question").digest] == b"question"


async def test_question_that_is_not_answered_does_not_hold_the_blob(
    fake_registry: FakeRegistry, connect: Connect, clock: Clock
) -> None:
    """After the time that headers may take, the blob goes the usual way."""
    stall = fake_registry.stall("POST", POST)
    store = connect(fake_registry.host, timeouts=Timeouts(answer=100))
    await put_some(store, fake_registry)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(put(store, b"question"))
        await stall.reached.wait()
        clock.advance(101)
    assert fake_registry.blobs[described(b"question").digest] == b"question"


async def test_known_way_that_breaks_is_transient(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Whoever moves the blob looks whether it arrived; the way itself is not in doubt."""
    fake_registry.single_post = True
    store = connect(fake_registry.host)
    await put_some(store, fake_registry)
    await put(store, b"question")
    methods(fake_registry)
    fake_registry.fail("POST", POST, status=500, times=1)
    with pytest.raises(TransientError, match="500"):
        await put(store, b"more")
    await put(store, b"more")
    assert methods(fake_registry) == ["POST", "POST"]


async def test_refused_repository_is_explained_by_the_usual_way(connect: Connect) -> None:
    """A missing right is an error of the repository, in the words that it always has."""
    user = User("me", "password", push=("a",))
    async with FakeRegistry(auth="basic", users=[user]) as registry:
        registry.single_post = True
        config = RegistryConfig(plain_http=True, username="me", password="password")
        store = connect(registry.host, config)
        for number in range(ASKS_AFTER + 1):
            await put(store, b"some %d" % number)
        upload = await store.start_upload("b", described(b"x"))
        assert isinstance(upload, SingleUpload)
        await upload.write(b"x")
        with pytest.raises(AccessDenied, match="push"):
            await upload.commit()


async def test_wrong_length_is_never_sent(fake_registry: FakeRegistry, connect: Connect) -> None:
    """Too many bytes, and too few, are errors before the request."""
    fake_registry.single_post = True
    store = connect(fake_registry.host)
    await put_some(store, fake_registry)
    upload = await begin(store, b"question")
    with pytest.raises(IntegrityError, match="more than"):
        await upload.write(b"questions")
    await upload.write(b"quest")
    with pytest.raises(IntegrityError, match="3 bytes are missing"):
        await upload.commit()
    await upload.abort()
    assert not fake_registry.requests


def test_one_blob_asks_and_the_others_go_the_usual_way() -> None:
    """Many wait for the same answer; who gives up lets another ask."""
    posts = Posts()
    assert [posts.may(1) for _ in range(ASKS_AFTER + 2)] == [False] * ASKS_AFTER + [True, False]
    posts.not_asked()
    assert posts.may(1)
    posts.answered(is_taken=True)
    assert posts.may(1)
    assert posts.may(SMALL_BODY)


@pytest.mark.parametrize("size", [0, SMALL_BODY + 1])
def test_empty_and_large_blobs_never_ask(size: int) -> None:
    """What a registry says of them would say nothing of the others."""
    posts = Posts()
    assert not any(posts.may(size) for _ in range(3 * ASKS_AFTER))
    posts.answered(is_taken=True)
    assert not posts.may(size)
