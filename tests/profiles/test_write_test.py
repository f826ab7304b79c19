"""A write test names exactly what a registry does, and leaves nothing that it can take away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from aiohttp import web

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AuthenticationError, UsageError
from imgmigrate.events import NoSink
from imgmigrate.probing.trial.trial import siblings_of, try_out
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.known.facts import Topic
from imgmigrate.stores.registry.store import RegistryStore
from tests.fakes.registry import Distribution2, FakeRegistry
from tests.profiles.facts import facts_of
from tests.profiles.vendors import VENDORS, Vendor
from tests.support.images import image
from tests.support.quirks import give_quirks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from imgmigrate.stores.registry.known.facts import Found
    from tests.conftest import StartRegistry
    from tests.fakes.registry.calls import Call
    from tests.fakes.registry.storage import Session

REPO = "team/tested"


def make(vendor: Vendor) -> tuple[FakeRegistry, str]:
    """The vendor's registry, with other people's images, and a repository that a push can fill."""
    registry = vendor.make()
    registry.put_image("team/others", "1", image())
    repo = vendor.repo
    if vendor.fresh_refused is not None:
        # As its owner would have made it.
        registry.storage.repository(f"{repo}-mount")
    return registry, repo


@asynccontextmanager
async def opened(host: str, config: RegistryConfig) -> AsyncIterator[RegistryStore]:
    """A store of a registry."""
    http = Http(Timeouts(first_retry=0, longest_retry=0))
    try:
        yield RegistryStore(host, lambda _: config, http, NoSink())
    finally:
        await http.aclose()


async def tried(registry: FakeRegistry, repo: str) -> Found:
    """Run a write test; a connection that broke is waited for until the registry has seen it."""
    has_seen, interrupted = asyncio.Event(), registry.interrupted

    def sees(session: Session) -> None:
        interrupted(session)
        has_seen.set()

    user, is_open = registry.user, registry.auth == "none"
    config = RegistryConfig(
        plain_http=True,
        username=None if is_open else user.name,
        password=None if is_open else user.password,
    )
    with patch.object(registry, "interrupted", sees):
        async with opened(registry.host, config) as store:
            return await try_out(store, repo, settled=has_seen.wait)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
async def test_profile_is_told_as_it_is(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every topic has the answer that the profile's own fields and rules give."""
    registry, repo = make(vendor)
    async with registry:
        give_quirks(registry, monkeypatch)
        found = await tried(registry, repo)
    assert found.unknown == {}
    assert found.facts == facts_of(lambda: make(vendor)[0], repo)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
async def test_nothing_is_left_that_can_be_deleted(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stays is named, tag by tag, and it stays only where nothing can be deleted."""
    registry, repo = make(vendor)
    async with registry:
        give_quirks(registry, monkeypatch)
        found = await tried(registry, repo)
        places = [registry.storage.repository(each) for each in (repo, found.sibling or repo)]
        left = {ref for each in places for ref in (*each.tags, *each.manifests)}
        tagged = {digest for each in places for digest in each.tags.values()}
    if registry.deletes:
        assert (left, found.left) == (set(), ())
    else:
        assert {each.ref for each in found.left} == left - tagged


SWITCHES: tuple[dict[str, Any], ...] = (
    {},
    {"auth": "token", "private": ("*",)},
    {"auth": "basic"},
    {"immutable": ("*",)},
    {"tag_takes_manifest": True},
    {"deletes_tags": False},
    {"deletes": False},
    {"tagged_stay": "DANGLING"},
    {"mount_status": 202},
    {"mount_status": 405},
    {"single_post": True},
    {"smallest_patch": 5 * 1024 * 1024, "announces_smallest": True},
    {"smallest_patch": 1024, "announces_smallest": True},
    {"most_patches": 1},
    {"whole_put_status": 404},
    {"referrers_api": True},
    {"referrers_api": True, "says_subject": False},
    {"largest_n": 1000},
    {"largest_n": 999},
    {"largest_n": 10},
    {"pages_tags": False},
    {"page_size": 1},
    {"catalog_status": 404},
    {"redirect_status": 307},
    {"head_padding": 1},
    {"absent_head": (403, "DENIED")},
    {"absolute_locations": True, "absolute_links": True, "location_padding": 4000},
    {"taken_status": 202},
    {"patch_status": 204},
)


def switched(switches: Mapping[str, Any]) -> FakeRegistry:
    """An honest registry, but for some switches, with somebody else's image."""
    registry = FakeRegistry()
    registry.put_image("team/others", "1", image())
    for name, value in switches.items():
        setattr(registry, name, value)
    return registry


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
async def test_every_switch_is_told(switches: dict[str, Any]) -> None:
    """One thing that is different is one answer that is different."""
    async with switched(switches) as registry:
        found = await tried(registry, REPO)
        assert registry.tags("team/others") == {"1": image().top}
    assert (found.facts, found.unknown) == (facts_of(lambda: switched(switches), REPO), {})
    assert bool(found.left) is not registry.deletes


class Careless(FakeRegistry):
    """Takes whatever it is given, and knows no ranges."""

    def missing(self, repo: str, document: dict[str, Any]) -> list[str]:
        """Miss nothing."""
        return []

    async def send_blob(
        self, call: Call, data: bytes, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Send it whole."""
        return web.Response(body=data)


async def test_what_nobody_checks_is_told_and_cleaned_up() -> None:
    """Manifests without their parts are found out, and do not stay."""
    async with Careless() as registry:
        found = await tried(registry, REPO)
        assert registry.repositories[REPO].manifests == {}
    told = {
        topic: found.facts[topic]
        for topic in (Topic.MISSING_BLOB, Topic.SPARSE_INDEX, Topic.RANGES)
    }
    assert told == {
        Topic.MISSING_BLOB: "taken",
        Topic.SPARSE_INDEX: "taken",
        Topic.RANGES: "ignored",
    }


async def test_a_repository_that_holds_tags_is_not_written_to(fake_registry: FakeRegistry) -> None:
    """It would not be ours: nothing but reading happens."""
    fake_registry.put_image(REPO, "v1", image())
    with pytest.raises(UsageError, match="holds a tag, among them v1: it is not ours"):
        await tried(fake_registry, REPO)
    assert {each.method for each in fake_registry.requests} == {"GET"}


async def test_a_list_that_hides_its_tags_is_no_empty_one(fake_registry: FakeRegistry) -> None:
    """Who may not list cannot know that nothing is there."""
    fake_registry.put_image(REPO, "v1", image())
    fake_registry.fail("GET", "/tags/list", status=403)
    with pytest.raises(AuthenticationError, match="denied"):
        await tried(fake_registry, REPO)
    assert {each.method for each in fake_registry.requests} == {"GET"}


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_a_second_repository_is_never_somebody_s(
    fake_registry: FakeRegistry, taken: int
) -> None:
    """One that holds tags is left alone: another is mounted to, or none is."""
    siblings = siblings_of(REPO)
    for each in siblings[:taken]:
        fake_registry.put_image(each, "v1", image())
    found = await tried(fake_registry, REPO)
    assert found.sibling == (siblings[taken] if taken < 2 else None)
    assert found.facts[Topic.MOUNT] == ("yes" if taken < 2 else "untried")
    for each in siblings[:taken]:
        assert fake_registry.tags(each) == {"v1": image().top}


async def test_a_question_that_is_not_answered_costs_no_other(fake_registry: FakeRegistry) -> None:
    """What a server out of order had to say is no fact."""
    fake_registry.fail("GET", "/referrers/", status=502)
    found = await tried(fake_registry, REPO)
    assert set(found.unknown) == {Topic.REFERRERS, Topic.SUBJECT, Topic.REFERRERS_TAG}
    assert set(found.facts) == set(Topic) - set(found.unknown)
    assert fake_registry.repositories[REPO].manifests == {}


async def test_an_image_that_cannot_be_pushed_ends_it(fake_registry: FakeRegistry) -> None:
    """There is nothing to find out, and what was put before does not stay."""
    fake_registry.fail("PUT", "/manifests/", status=403, skip=2)
    with pytest.raises(AuthenticationError, match="denied"):
        await tried(fake_registry, REPO)
    assert fake_registry.repositories[REPO].manifests == {}


async def test_an_interruption_cleans_up(fake_registry: FakeRegistry) -> None:
    """Ctrl-C in the middle leaves nothing behind, if the registry answers."""
    stall = fake_registry.stall("GET", "/referrers/")
    test = asyncio.create_task(tried(fake_registry, REPO))
    await stall.reached.wait()
    assert fake_registry.repositories[REPO].manifests
    test.cancel()
    with pytest.raises(asyncio.CancelledError):
        await test
    assert fake_registry.repositories[REPO].manifests == {}


@pytest.mark.integration
async def test_a_real_registry_is_told_as_its_profile(
    docker_registry: StartRegistry,
) -> None:
    """Debian's docker-registry does what the profile of it says, with deletion switched on."""
    server = docker_registry()

    def see_the_end() -> None:
        # Its log has a request when it is over, also one that broke: the fourth PATCH.
        while sum(line.method == "PATCH" for line in server.access_log()) < 4:
            continue

    async def settled() -> None:
        await asyncio.to_thread(see_the_end)

    def profile() -> FakeRegistry:
        made = Distribution2()
        made.deletes = True
        return made

    async with opened(server.host, RegistryConfig(plain_http=True)) as store:
        found = await try_out(store, REPO, settled=settled)
    assert (found.unknown, found.left) == ({}, ())
    assert found.facts == facts_of(profile, REPO)
