"""What makes many small requests cheap: one connection after the other's use, nothing in vain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest
import stamina

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import NotFound, TransientError
from imgmigrate.oci.manifest import Manifest
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.registry.http.session import PIECE
from imgmigrate.stores.registry.http.trust import Proxies
from imgmigrate.stores.registry.uploads.forms import SMALL_BODY
from tests.fakes.registry import FakeRegistry, User
from tests.support.blobs import described
from tests.support.images import Image, image, index, layer

if TYPE_CHECKING:
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.stores.registry.conftest import Connect

SMALL, LARGE = layer("small", 100), layer("large", 3 * 1024 * 1024)


async def begin(store: RegistryStore, data: bytes, repo: str = "a") -> Upload:
    upload = await store.start_upload(repo, described(data))
    assert not isinstance(upload, Mounted)
    return upload


async def put(store: RegistryStore, data: bytes, repo: str = "a") -> None:
    upload = await begin(store, data, repo)
    await upload.write(data)
    await upload.commit()


async def read(store: RegistryStore, data: bytes) -> bytes:
    return b"".join([piece async for piece in store.open_blob("a", described(data))])


def parsed(found: Image) -> Manifest:
    return Manifest.parse(found.raw, found.media_type)


async def use(store: RegistryStore, found: Image) -> None:
    """Every verb, with every kind of answer that a run sees often."""
    assert await store.head("a", "nothing") is None
    with pytest.raises(NotFound):
        await store.manifest("a", "nothing")
    with pytest.raises(NotFound):
        await store.list_tags("nowhere")
    for data in (SMALL, LARGE, *found.blobs.values()):
        assert not await store.blob_exists("b", described(data).digest)
        await put(store, data)
        assert await store.blob_exists("a", described(data).digest)
        assert await read(store, data) == data
        mounted = await store.start_upload("b", described(data), "a")
        assert isinstance(mounted, Mounted)
    upload = await store.start_upload("b", described(b"other"), "a")
    assert not isinstance(upload, Mounted)
    await upload.write(b"other")
    await upload.commit()
    await store.put_manifest("a", "1", parsed(found))
    assert await store.list_tags("a") == ["1"]
    assert (await store.manifest("a", "1")).raw == found.raw
    given_up = await begin(store, SMALL)
    await given_up.abort()


@pytest.mark.parametrize("auth", ["none", "basic", "token"])
async def test_every_answer_leaves_its_connection_to_the_next_request(
    connect: Connect, auth: Literal["none", "basic", "token"]
) -> None:
    """However large, refused or empty: one request at a time is one connection."""
    async with FakeRegistry(auth=auth, users=[User("me", "password")]) as registry:
        config = RegistryConfig(plain_http=True, username="me", password="password")
        await use(connect(registry.host, config), image())
        assert len(registry.peers) == 1


async def test_body_that_is_sent_in_pieces_leaves_its_connection(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A registry may answer as soon as it has the last byte, while the request still ends."""
    store = connect(fake_registry.host)
    for number in range(20):
        await put(store, layer(f"large {number}", SMALL_BODY + 1))
    assert len(fake_registry.peers) == 1


async def test_connections_are_no_more_than_requests_at_once(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Four who ask one question after the other need four."""
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)

    async def ask() -> None:
        for _ in range(25):
            assert await store.head("a", "1") is not None

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(ask())
    assert fake_registry.arrivals == 100
    assert len(fake_registry.peers) <= 4


async def test_what_succeeds_needs_nothing_to_try_again(
    fake_registry: FakeRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machinery of retries is set up after the first failure, not before each request."""
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(stamina, "retry_context", refuse)
    assert await store.head("a", "1") is not None
    await put(store, SMALL)
    await store.put_manifest("a", "2", await store.manifest("a", "1"))
    fake_registry.fail("GET", "/tags/", status=503)
    with pytest.raises(AssertionError):
        await store.list_tags("a")


async def test_way_to_a_registry_is_looked_up_once(
    fake_registry: FakeRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies and addresses are the same for every request to it."""
    asked = []
    usual = Proxies.of

    def of(self: Proxies, url: str, *rest: object) -> object:
        asked.append(url)
        return usual(self, url, *rest)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(Proxies, "of", of)
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)
    for _ in range(3):
        await store.head("a", "1")
    assert len(asked) == 1


@pytest.mark.parametrize("size", [1, SMALL_BODY, SMALL_BODY + 1])
async def test_upload_that_is_given_up_before_it_is_sent_is_cancelled(
    fake_registry: FakeRegistry, connect: Connect, size: int
) -> None:
    """A session that got no byte is deleted; a small blob is sent only when it is committed."""
    data = layer("given up", SMALL_BODY + 1)[:size]
    upload = await begin(connect(fake_registry.host), data)
    if size <= SMALL_BODY:
        await upload.write(data)
    await upload.abort()
    assert [each.method for each in fake_registry.requests] == ["POST", "DELETE"]


async def test_small_blob_that_breaks_is_transient_and_leaves_no_second_session(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """What was sent at once fails like what was streamed."""
    fake_registry.cut_upload(at=10, times=None)
    upload = await begin(connect(fake_registry.host), SMALL)
    await upload.write(SMALL)
    with pytest.raises(TransientError):
        await upload.commit()
    await upload.abort()
    assert fake_registry.count("DELETE", "/uploads/") == 0


@pytest.mark.parametrize("size", [PIECE - 1000, PIECE + 1000])
async def test_manifest_of_any_size_is_sent_again_after_a_failure(
    fake_registry: FakeRegistry, connect: Connect, size: int
) -> None:
    """At once or in pieces, its bytes are at hand for every attempt."""
    store, small = connect(fake_registry.host), image()
    fake_registry.put_image("a", "child", small)
    big = index(small, annotations={"pad": "x" * size})
    fake_registry.fail("PUT", "/manifests/", status=503, times=2)
    await store.put_manifest("a", "1", parsed(big))
    assert fake_registry.image("a", "1").raw == big.raw
    assert fake_registry.count("PUT", "/manifests/", status=201) == 1


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("http://registry.example:5000/v2/", True),
        ("http://registry.example:5000/", True),
        ("http://REGISTRY.example:5000/v2/", True),
        ("http://registry.example:5000?x=/v2/", True),
        ("http://registry.example:50001/v2/", False),
        ("http://registry.example/v2/", False),
        ("https://registry.example:5000/v2/", False),
        ("http://evil.example/http://registry.example:5000/", False),
    ],
)
async def test_registrys_own_urls_are_told_from_all_others(
    connect: Connect, url: str, is_own: bool
) -> None:
    """The quick way to see where an answer came from is as strict as the slow one."""
    assert connect("registry.example:5000").remote.wire.is_own(url) is is_own


async def test_user_info_is_never_the_registrys_own(connect: Connect) -> None:
    """What looks like the registry's host may be the name of a user elsewhere."""
    with pytest.raises(ValueError, match="not a plain"):
        connect("registry.example").remote.wire.is_own("http://registry.example@evil.example/v2/")


async def test_a_question_sets_one_timer(
    fake_registry: FakeRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of its answer; all that are open share the one that tells of silence."""
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)
    assert await store.look("a", "1")
    loop = asyncio.get_running_loop()
    set_at, waited = loop.call_at, []

    def call_at(*given: Any, **named: Any) -> asyncio.TimerHandle:
        waited.append(given[0])
        return set_at(*given, **named)

    monkeypatch.setattr(loop, "call_at", call_at)
    for _ in range(10):
        assert await store.look("a", "1")
    assert len(waited) <= 10 + 1
