"""Each switch of the fake registry does what it says, as often as it says, and no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from yarl import URL

from tests.fakes.registry import Distribution2, FakeRegistry, Hostile, User
from tests.support import images

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BIG = bytes(range(256)) * 4096


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """Run a registry with one image and one large blob."""
    async with FakeRegistry() as registry:
        registry.put_image("app", "1", images.image())
        registry.storage.add_blob("app", BIG)
        yield registry


@pytest.fixture
async def session(registry: FakeRegistry) -> AsyncIterator[aiohttp.ClientSession]:
    """Speak to it."""
    async with aiohttp.ClientSession(registry.url) as session:
        yield session


BLOB = f"/v2/app/blobs/{images.digest_of(BIG)}"


async def test_a_failure_strikes_as_often_as_asked(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """`skip` requests pass, `times` fail, the rest pass; the log has each with its status."""
    registry.fail("GET", "/manifests/1", status=429, skip=1, times=2, headers={"Retry-After": "7"})
    statuses = []
    for _ in range(5):
        async with session.get("/v2/app/manifests/1") as answer:
            statuses.append(answer.status)
            assert answer.headers.get("Retry-After") == ("7" if answer.status == 429 else None)
    assert statuses == [200, 429, 429, 200, 200]
    assert registry.count("GET", "/manifests/", status=429) == 2
    assert [one.status for one in registry.matching("GET", "/manifests/")] == statuses


async def test_a_cut_ends_a_blob_at_its_byte(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """The client gets exactly the bytes before the cut, then a broken connection."""
    registry.cut("/blobs/", at=100_000)
    async with session.get(BLOB) as answer:
        assert await answer.content.readexactly(100_000) == BIG[:100_000]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    async with session.get(BLOB) as answer:
        assert await answer.read() == BIG


async def test_two_failures_of_one_time_fail_two_requests(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """Switches in a row are a script: each request meets the next one."""
    for status in (500, 503):
        registry.fail("GET", "/v2/$", status=status, times=1)
    for at in (10, 20):
        registry.cut("/blobs/", at=at)
    for expected in (500, 503, 200):
        async with session.get("/v2/") as answer:
            assert answer.status == expected
    for at in (10, 20):
        async with session.get(BLOB) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        assert registry.requests[-1].sent == at


async def test_a_cut_upload_keeps_what_had_arrived(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """The connection breaks in the body at its byte; the session can be asked and goes on."""
    registry.cut_upload(at=1000)
    async with session.post("/v2/app/blobs/uploads/") as answer:
        location = URL(answer.headers["Location"], encoded=True)
    with pytest.raises(aiohttp.ClientError):
        await session.patch(location, data=b"x" * 500_000)
    async with session.get(location) as answer:
        assert (answer.status, answer.headers["Range"]) == (204, "0-999")
    assert registry.count("PATCH", "/uploads/", status=0) == 1


async def test_a_distribution_2_session_dies_with_its_connection() -> None:
    """Distribution 2.8 forgets an upload whose body broke off."""
    async with Distribution2() as registry, aiohttp.ClientSession(registry.url) as session:
        registry.cut_upload(at=1000)
        async with session.post("/v2/app/blobs/uploads/") as answer:
            location = URL(answer.headers["Location"], encoded=True)
        with pytest.raises(aiohttp.ClientError):
            await session.patch(location, data=b"x" * 500_000)
        async with session.get(location) as answer:
            assert answer.status == 404


async def test_a_stall_holds_a_blob_at_its_byte_until_released(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """A test waits for `reached`, never for time; `release` lets the rest through."""
    stall = registry.stall("GET", "/blobs/", at=5000)
    async with session.get(BLOB) as answer:
        await stall.reached.wait()
        got = await answer.content.readexactly(5000)
        assert registry.peak["read"] == 1
        stall.release()
        assert got + await answer.read() == BIG


async def test_a_held_answer_has_done_its_work(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """`when="answer"` is a slow commit: the manifest is there before the client knows."""
    stall = registry.stall("PUT", "/manifests/", when="answer")
    image = registry.image("app", "1")
    headers = {"Content-Type": image.media_type}
    async with asyncio.TaskGroup() as group:
        put = group.create_task(session.put("/v2/app/manifests/2", data=image.raw, headers=headers))
        await stall.reached.wait()
        assert registry.tags("app")["2"] == image.top
        assert not put.done()
        stall.release()
    assert put.result().status == 201
    put.result().release()


@pytest.mark.parametrize(("when", "done"), [("arrival", False), ("answer", True)])
async def test_a_dropped_request_is_done_or_not(
    registry: FakeRegistry,
    session: aiohttp.ClientSession,
    when: str,
    done: bool,
) -> None:
    """A lost request and a lost answer look the same to the client, and are not."""
    registry.drop(
        "PUT", "/manifests/", when="answer" if when == "answer" else "arrival", times=None
    )
    image = registry.image("app", "1")
    headers = {"Content-Type": image.media_type}
    with pytest.raises(aiohttp.ClientError):
        await session.put("/v2/app/manifests/2", data=image.raw, headers=headers)
    assert ("2" in registry.tags("app")) is done
    assert registry.count("PUT", "/manifests/2", status=0) >= 1


async def test_wrong_bytes_and_headers_are_served_as_if_right(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """`corrupt` and `rewrite` lie about bytes and digests; None takes a header away."""
    registry.corrupt(images.digest_of(BIG), b"evil")
    registry.rewrite("GET", "/manifests/1", {"Docker-Content-Digest": "sha256:wrong"}, times=1)
    registry.rewrite("GET", "/manifests/1", {"Docker-Content-Digest": None}, skip=1)
    async with session.get(BLOB) as answer:
        assert (answer.status, await answer.read()) == (200, b"evil")
    found = []
    for _ in range(2):
        async with session.get("/v2/app/manifests/1") as answer:
            found.append(answer.headers.get("Docker-Content-Digest"))
    assert found == ["sha256:wrong", None]


async def test_a_storage_host_refuses_and_reports_credentials() -> None:
    """Whoever carries Authorization to the storage host fails the test."""
    registry = FakeRegistry()
    registry.redirect_status = 307
    with pytest.raises(AssertionError, match="Authorization reached the storage host"):
        await _carry_credentials(registry)


async def _carry_credentials(registry: FakeRegistry) -> None:
    async with registry, aiohttp.ClientSession(registry.url) as session:
        digest = registry.storage.add_blob("app", b"data")
        async with session.get(f"/v2/app/blobs/{digest}", allow_redirects=False) as answer:
            target = URL(answer.headers["Location"], encoded=True)
        async with session.get(target) as answer:
            assert await answer.read() == b"data"
        async with session.get(target.with_query("sig=requoted")) as answer:
            assert answer.status == 403
        async with session.get(target, headers={"Authorization": "Bearer x"}) as answer:
            assert answer.status == 400


async def test_tags_are_paged_by_link(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """Each page names the next one; the last names none; `n` cannot exceed the page size."""
    for number in range(2, 6):
        registry.put_image("app", str(number), images.image())
    registry.page_size = 2
    found, path = [], "/v2/app/tags/list?n=100"
    while path:
        async with session.get(path) as answer:
            found.append((await answer.json())["tags"])
            path = answer.headers.get("Link", "<>").partition(">")[0].removeprefix("<")
    assert found == [["1", "2"], ["3", "4"], ["5"]]


@pytest.mark.parametrize(("switch", "status"), [(202, 202), (404, 404), (401, 401), (405, 405)])
async def test_mounts_are_refused_as_switched(
    registry: FakeRegistry, session: aiohttp.ClientSession, switch: int, status: int
) -> None:
    """A mount can open an upload or fail in any of the ways of real registries."""
    registry.mount_status = switch
    path = f"/v2/other/blobs/uploads/?mount={images.digest_of(BIG)}&from=app"
    async with session.post(path) as answer:
        assert answer.status == status
        assert ("Location" in answer.headers) is (status == 202)
    assert registry.mounts_of(images.digest_of(BIG)) == 0


async def test_a_token_opens_only_what_it_names_and_expires() -> None:
    """The endpoint grants what the user may have; the registry checks scope and expiry."""
    bob = User("bob", "good", push=("mine/*",))
    async with (
        FakeRegistry(auth="token", users=[bob]) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        registry.put_image("mine/app", "1", images.image())

        async def token(scope: str) -> dict[str, str]:
            login = {"Authorization": aiohttp.encode_basic_auth("bob", "good")}
            async with session.get("/token", params={"scope": scope}, headers=login) as answer:
                return {"Authorization": f"Bearer {(await answer.json())['token']}"}

        async def status(path: str, headers: dict[str, str]) -> int:
            async with session.post(path, headers=headers) as answer:
                return answer.status

        async with session.get("/v2/mine/app/tags/list") as answer:
            challenge = answer.headers["WWW-Authenticate"]
        mine = await token("repository:mine/app:pull,push")
        theirs = await token("repository:theirs/app:pull,push")
        assert 'scope="repository:mine/app:pull"' in challenge
        assert await status("/v2/mine/app/blobs/uploads/", mine) == 202
        assert await status("/v2/theirs/app/blobs/uploads/", theirs) == 401
        assert await status("/v2/mine/app/blobs/uploads/?mount=sha256:0&from=x", mine) == 401
        registry.advance(registry.token_ttl)
        assert await status("/v2/mine/app/blobs/uploads/", mine) == 401


async def test_a_refresh_token_buys_an_access_token() -> None:
    """OAuth2's POST takes an identity token, and no other."""
    async with (
        FakeRegistry(auth="token", users=[User("bob", "good")]) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        registry.refresh_tokens["identity"] = "bob"
        for value, status in {"identity": 200, "other": 401}.items():
            form = {"grant_type": "refresh_token", "refresh_token": value, "scope": "a b"}
            async with session.post("/token", data=form) as answer:
                assert answer.status == status
        assert registry.token_requests == [("a", "b")]


async def test_a_stale_or_requoted_location_is_no_upload(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """A Location is opaque: it works once, and only as it was sent."""
    async with session.post("/v2/app/blobs/uploads/") as answer:
        text = registry.url + answer.headers["Location"]
    async with session.patch(URL(text.replace("%2F", "/"), encoded=True), data=b"x") as answer:
        assert answer.status == 404
    for status in (202, 404):
        async with session.patch(URL(text, encoded=True), data=b"x") as answer:
            assert answer.status == status


async def test_pushes_can_be_denied(registry: FakeRegistry, session: aiohttp.ClientSession) -> None:
    """A read-only registry serves everything and takes nothing."""
    registry.deny_push = True
    async with session.get("/v2/app/manifests/1") as answer:
        assert answer.status == 200
    async with session.post("/v2/app/blobs/uploads/") as answer:
        assert (answer.status, "DENIED" in await answer.text()) == (403, True)


async def test_a_request_that_kills_is_done_but_not_answered(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """`kill_at` calls back at its request only; the work is done, the answer withheld."""
    killed: list[int] = []
    registry.kill_at(2, lambda: killed.append(registry.arrivals))
    async with session.get("/v2/") as answer:
        assert answer.status == 200
    with pytest.raises(aiohttp.ClientError):
        await session.post("/v2/app/blobs/uploads/")
    assert killed == [2]
    assert len(registry.storage.sessions) == 1


async def test_a_hostile_registry_sends_credentials_and_bytes_elsewhere() -> None:
    """The attacks that are switched on are carried out."""
    registry = Hostile(auth="token")
    registry.foreign_realm = "https://evil.example/token"
    async with registry, aiohttp.ClientSession(registry.url) as session:
        async with session.get("/v2/") as answer:
            assert 'realm="https://evil.example/token"' in answer.headers["WWW-Authenticate"]
        registry.auth = "none"
        registry.put_image("app", "1", images.image())
        registry.endless_pages, registry.extra_tags = True, ("../evil",)
        registry.foreign_location = "http://169.254.169.254/up"
        async with session.get("/v2/app/tags/list") as answer:
            assert (await answer.json())["tags"] == ["1", "../evil"]
            assert "Link" in answer.headers
        async with session.post("/v2/app/blobs/uploads/") as answer:
            assert answer.headers["Location"] == "http://169.254.169.254/up"
