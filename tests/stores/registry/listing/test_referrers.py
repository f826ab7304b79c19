"""What refers to an image is asked by the API where there is one, and never guessed to be none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from imgmigrate.errors import ProtocolError, StoreError
from imgmigrate.oci.reference import Digest
from tests.fakes.registry import FakeRegistry
from tests.support import signed_images
from tests.support.images import OCI_INDEX, OCI_MANIFEST, artifact, image, sharing
from tests.support.signed_images import CHILD, INDEX, signed

if TYPE_CHECKING:
    from tests.conftest import StartRegistry
    from tests.fakes.registry.calls import Call
    from tests.stores.registry.conftest import Connect

REFERRERS = "/referrers/"


async def found(store: object, digest: str) -> dict[str, tuple[str, str | None]]:
    """What refers to a digest: kind and tag by digest."""
    tags = await store.list_tags("app")  # type: ignore[attr-defined]
    listed = await store.referrers("app", Digest.parse(digest), frozenset(tags))  # type: ignore[attr-defined]
    return {each.descriptor.digest: (each.kind, each.tag) for each in listed}


class Paged(FakeRegistry):
    """Gives the list of referrers one by one, by links; `answer_with` stands for any answer."""

    referrers_api = True
    answer_with: tuple[bytes, dict[str, str]] | None = None

    async def get_referrers(self, call: Call, repo: str, digest: str) -> web.StreamResponse:
        if self.answer_with is not None:
            body, headers = self.answer_with
            return web.Response(body=body, headers=headers)
        whole = await super().get_referrers(call, repo, digest)
        assert isinstance(whole, web.Response)
        document = json.loads(whole.body or b"")  # type: ignore[arg-type]
        page = int(call.query.get("page", "0"))
        entries = document["manifests"]
        answer = web.Response(
            body=json.dumps(document | {"manifests": entries[page : page + 1]}).encode(),
            headers={"Content-Type": OCI_INDEX},
        )
        if page + 1 < len(entries):
            answer.headers["Link"] = f'<{call.path}?page={page + 1}>; rel="next"'
        return answer


@pytest.mark.parametrize("api", [False, True])
async def test_all_schemes_of_real_tools_are_found(
    fake_registry: FakeRegistry, connect: Connect, api: bool
) -> None:
    """Subjects by API or fallback tag, cosign's tags in any case; also of a child."""
    fake_registry.referrers_api = api
    sample = signed("referrers" if api else "fallback")
    sample.put(fake_registry, "app")
    store = connect(fake_registry.host)
    listed = await found(store, INDEX)
    with_subject = {each for each, subject in sample.referrers.items() if subject == INDEX}
    assert {each for each, (_, tag) in listed.items() if tag is None} == with_subject
    assert sorted(kind for kind, _ in listed.values()) == [
        *["attestation"] * 2,
        "sbom",
        *["signature"] * 3,
    ]
    assert list((await found(store, CHILD)).values()) == [
        ("signature", f"sha256-{CHILD[7:]}.sig"),
    ]
    assert await store.lists_referrers("app", Digest.parse(INDEX)) is api


@pytest.mark.integration
async def test_a_real_registry_without_the_api_tells_by_tags(
    docker_registry: StartRegistry, connect: Connect
) -> None:
    """Its page for unknown paths is no list."""
    registry, sample = docker_registry(), signed()
    await asyncio.to_thread(signed_images.push_signed, registry.remote, "app", sample, lists=True)
    store = connect(registry.host)
    assert len(await found(store, INDEX)) == 6
    assert not await store.lists_referrers("app", Digest.parse(INDEX))


@pytest.mark.parametrize(("api", "asked"), [(False, 1), (True, 20)])
async def test_support_is_learnt_once_a_repository(
    fake_registry: FakeRegistry, connect: Connect, api: bool, asked: int
) -> None:
    """Without the API no image costs a request, however many ask at once."""
    fake_registry.referrers_api = api
    images = sharing(20)
    for number, each in enumerate(images):
        fake_registry.put_image("app", str(number), each)
    store = connect(fake_registry.host)
    tags = frozenset(map(str, range(20)))
    answers = await asyncio.gather(
        *(store.referrers("app", Digest.parse(each.top), tags) for each in images)
    )
    assert answers == [()] * 20
    assert fake_registry.count("*", "/v2/app/") == asked


@pytest.mark.parametrize("status", [404, 400, 405, 501])
async def test_these_answers_say_that_there_is_no_api(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """Then tags alone tell."""
    fake_registry.put_image("app", "1", image())
    fake_registry.fail("GET", REFERRERS, status=status, times=None)
    store = connect(fake_registry.host)
    assert await found(store, image().top) == {}


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_failure_is_never_none(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """Whoever took it for none would lose signatures; nothing is learnt of it either."""
    fake_registry.referrers_api = True
    sample = signed("referrers")
    sample.put(fake_registry, "app")
    fault = fake_registry.fail("GET", REFERRERS, status=status, times=None)
    store = connect(fake_registry.host)
    with pytest.raises(StoreError):
        await found(store, INDEX)
    fake_registry.faults.remove(fault)
    assert len(await found(store, INDEX)) == 6


async def test_a_limited_rate_is_waited_for(fake_registry: FakeRegistry, connect: Connect) -> None:
    """Listings of referrers have tight quotas: what is refused for its rate is asked again."""
    fake_registry.referrers_api = True
    signed("referrers").put(fake_registry, "app")
    fake_registry.fail("GET", REFERRERS, status=429, times=1)
    assert len(await found(connect(fake_registry.host), INDEX)) == 6


async def test_pages_are_followed(connect: Connect) -> None:
    """By their links, to the end."""
    async with Paged() as registry:
        signed("referrers").put(registry, "app")
        assert len(await found(connect(registry.host), INDEX)) == 6
        assert registry.count("GET", REFERRERS) == 4


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>welcome</html>", {"Content-Type": "text/html"}),
        (b'{"ok": true}', {"Content-Type": "application/json"}),
        (b"", {}),
    ],
)
async def test_a_page_of_something_else_is_no_api(
    connect: Connect, body: bytes, headers: dict[str, str]
) -> None:
    """Any web server answers 200 to anything."""
    async with Paged() as registry:
        registry.put_image("app", "1", image())
        registry.answer_with = body, headers
        store = connect(registry.host)
        assert await found(store, image().top) == {}
        assert not await store.lists_referrers("app", Digest.parse(image().top))


def _list(*entries: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def _entry(number: int, **fields: object) -> dict[str, object]:
    digest = str(Digest.of(b"%d" % number))
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": 9} | fields


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (_list(_entry(1, digest="sha256:../../x")), {}),
        (_list(_entry(1, size=-1)), {}),
        (_list("text"), {}),
        (_list(*map(_entry, range(1_001))), {}),
        (_list(_entry(1)), {"OCI-Filters-Applied": "artifactType"}),
        (_list(_entry(1)), {"Link": '<https://elsewhere.example/v2/x>; rel="next"'}),
        (_list(_entry(1)), {"Link": '<?again>; rel="next"'}),
        (b'{"manifests": [[[[', {}),
    ],
)
async def test_a_hostile_list_is_an_error(
    connect: Connect, body: bytes, headers: dict[str, str]
) -> None:
    """Neither followed elsewhere, nor without end, nor taken for none."""
    async with Paged() as registry:
        registry.put_image("app", "1", image())
        registry.answer_with = body, {"Content-Type": OCI_INDEX, **headers}
        with pytest.raises(ProtocolError):
            await found(connect(registry.host), image().top)


async def test_a_tag_that_gives_the_image_itself_is_no_list(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """GitLab takes the fallback tag for the digest (protocol 3.5)."""
    sample = signed()
    sample.put(fake_registry, "app")
    fake_registry.storage.repository("app").tags[f"sha256-{INDEX[7:]}"] = INDEX
    listed = await found(connect(fake_registry.host), INDEX)
    assert {tag for _, tag in listed.values()} == {
        f"sha256-{INDEX[7:]}.sig",
        f"sha256-{INDEX[7:]}.att",
    }


async def test_an_api_that_does_not_know_a_manifest_is_one_all_the_same(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Its answer is about that manifest, and not about the API."""
    fake_registry.referrers_api = True
    subject = image()
    fake_registry.put_image("app", "1", subject)
    fake_registry.put_image("app", "2", artifact(subject=subject))
    fake_registry.fail("GET", REFERRERS, status=404, code="MANIFEST_UNKNOWN", times=1)
    store = connect(fake_registry.host)
    assert await found(store, subject.top) == {}
    assert len(await found(store, subject.top)) == 1


@pytest.mark.parametrize("status", [404, 400, 405, 501])
async def test_where_the_api_is_known_no_other_answer_means_none(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """A proxy that refuses one question would strip that image of its signatures."""
    fake_registry.referrers_api = True
    sample = signed("referrers")
    sample.put(fake_registry, "app")
    store = connect(fake_registry.host)
    await found(store, INDEX)
    fake_registry.fail("GET", REFERRERS, status=status, times=1)
    with pytest.raises(StoreError):
        await found(store, INDEX)


async def test_nor_does_a_page_of_something_else(connect: Connect) -> None:
    """A login page, say."""
    async with Paged() as registry:
        signed("referrers").put(registry, "app")
        store = connect(registry.host)
        await found(store, INDEX)
        registry.answer_with = b"<html>log in</html>", {"Content-Type": "text/html"}
        with pytest.raises(ProtocolError):
            await found(store, INDEX)


@pytest.mark.parametrize(("status", "code"), [(400, None), (400, "DENIED"), (404, "NAME_UNKNOWN")])
async def test_what_may_be_about_one_image_decides_for_no_other(
    fake_registry: FakeRegistry, connect: Connect, status: int, code: str | None
) -> None:
    """The first question fails, and the second shows that there is an API: that was no "none"."""
    fake_registry.referrers_api = True
    signed("referrers").put(fake_registry, "app")
    fake_registry.fail("GET", REFERRERS, status=status, code=code, times=1)
    store = connect(fake_registry.host)
    with pytest.raises(StoreError):
        await found(store, INDEX)
    assert len(await found(store, INDEX)) == 6


async def test_a_child_that_is_not_there_is_no_failure(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Quay answers 400 and a code that is about the manifest; its API is known all the same."""
    fake_registry.referrers_api, fake_registry.referrers_unknown = True, 400
    signed("referrers").put(fake_registry, "app")
    store = connect(fake_registry.host)
    absent = Digest.of(b"absent")
    assert await found(store, absent) == {}
    assert len(await found(store, INDEX)) == 6
    assert await found(store, absent) == {}


@pytest.mark.parametrize("status", [403, 500])
async def test_those_who_wait_for_an_answer_share_its_failure(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """An API that fails is not asked by one image after the other, each with all its attempts."""
    images = sharing(5)
    for number, each in enumerate(images):
        fake_registry.put_image("app", str(number), each)
    fake_registry.fail("GET", REFERRERS, status=status, times=None)
    store, alone = connect(fake_registry.host), connect(fake_registry.host)
    with pytest.raises(StoreError):
        await alone.referrers("app", Digest.parse(images[0].top), ())
    once = fake_registry.count("GET", REFERRERS)
    answers = await asyncio.gather(
        *(store.referrers("app", Digest.parse(each.top), ()) for each in images),
        return_exceptions=True,
    )
    assert all(isinstance(each, StoreError) for each in answers)
    assert fake_registry.count("GET", REFERRERS) == 2 * once
