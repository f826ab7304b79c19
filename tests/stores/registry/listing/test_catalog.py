"""Repositories are listed whole, in whatever way a registry has, or it is an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    NotFound,
    ProtocolError,
    Rejected,
    StoreError,
)
from imgmigrate.events import NamesSkipped, Warned
from imgmigrate.oci.reference import Repository
from imgmigrate.stores.registry.vendors import google
from tests.fakes.registry import PROFILES, FakeRegistry
from tests.fakes.registry.profiles import DockerHub, Harbor
from tests.support.images import image
from tests.support.quirks import give_quirks

if TYPE_CHECKING:
    from tests.stores.registry.conftest import Connect, Recorder


def fill(registry: FakeRegistry, *names: str) -> None:
    for name in names:
        registry.put_image(name, "v1", image())


def login(registry: FakeRegistry, username: str | None = None) -> RegistryConfig:
    user = registry.user
    name = username or user.name
    return RegistryConfig(plain_http=True, username=name, password=user.password)


def warnings(sink: Recorder) -> list[str]:
    return [event.code for event in sink.events if isinstance(event, Warned)]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("**", ["app", "team/a", "team/b/c"]),
        ("team/**", ["team/a", "team/b/c"]),
        ("team/*", ["team/a"]),
        ("*", ["app"]),
        ("none/**", []),
    ],
)
async def test_the_catalog_is_read_by_pages_and_matched(
    fake_registry: FakeRegistry, connect: Connect, glob: str, expected: list[str]
) -> None:
    """Links are followed to the end, and a glob keeps what it matches."""
    fake_registry.page_size = 2
    fill(fake_registry, "app", "team/a", "team/b/c")
    assert await connect(fake_registry.host).list_repositories(glob) == expected
    assert fake_registry.count("GET", "/v2/_catalog") == 2


async def test_the_catalog_is_read_once_for_all_globs(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Twenty rules over one registry do not walk through it twenty times."""
    fill(fake_registry, "a/x", "b/y")
    store = connect(fake_registry.host)
    assert await store.list_repositories("a/*") == ["a/x"]
    assert await store.list_repositories("b/*") == ["b/y"]
    assert fake_registry.count("GET", "/v2/_catalog") == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthenticationError), (403, StoreError), (404, NotFound), (405, Rejected)],
)
async def test_a_refused_catalog_is_an_error_that_says_what_to_do(
    fake_registry: FakeRegistry, connect: Connect, status: int, error: type[StoreError]
) -> None:
    """Forbidden or absent, it is never an empty list."""
    fake_registry.fail("GET", "/v2/_catalog", status=status, times=None)
    with pytest.raises(error, match="name its repositories one by one"):
        await connect(fake_registry.host).list_repositories("**")


async def test_an_empty_catalog_is_an_error(fake_registry: FakeRegistry, connect: Connect) -> None:
    """Nothing to see mostly means that we may not see it."""
    with pytest.raises(NotFound, match="it is empty"):
        await connect(fake_registry.host).list_repositories("**")


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"repositories": "x"}', b"<html>"])
async def test_a_catalog_that_is_no_list_is_an_error(
    fake_registry: FakeRegistry, connect: Connect, body: bytes
) -> None:
    """What cannot be read is not taken for empty."""
    fake_registry.fail("GET", "/v2/_catalog", status=200, body=body)
    with pytest.raises(ProtocolError, match="catalog is not one"):
        await connect(fake_registry.host).list_repositories("**")


async def test_listed_names_that_are_none_are_told_and_not_used(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder
) -> None:
    """A name goes into paths and requests: only the specification's are used."""
    body = json.dumps({"repositories": ["good", "../bad", "Upper", 7]}).encode()
    fake_registry.fail("GET", "/v2/_catalog", status=200, body=body)
    assert await connect(fake_registry.host).list_repositories("**") == ["good"]
    host = fake_registry.host
    (skipped,) = [each for each in sink.events if isinstance(each, NamesSkipped)]
    assert skipped == NamesSkipped(Repository(host, "**"), ("../bad", "7 (no text)", "Upper"), 3)
    assert f"{host}/**: 3 listed names are no valid repository names" in skipped.warning.message


async def test_folders_with_names_that_are_none_are_told(connect: Connect, sink: Recorder) -> None:
    """Google's lists of what is below are no exception, and go on beside them."""
    async with PROFILES["gar"]() as registry:
        registry.auth = "none"
        body = json.dumps({"child": ["Odd", "-x"], "manifest": {"a": {}}}).encode()
        registry.fail("GET", "/tags/list", status=200, body=body)
        remote = connect(registry.host).remote
        found = await google.list_below(remote, ("team", "tools"))
        registry.clear()
        link = {"Link": "</v2/team/tools/tags/list?last=Odd>"}
        registry.fail("GET", "/tags/list", status=200, body=body, headers=link)
        with pytest.raises(ProtocolError, match="further pages"):
            await google.list_below(remote, ("team", "tools"))
    assert found == ["team/tools", "team/tools/Odd", "team/tools/-x"]


VENDORS = [
    ("harbor", "team/**", ["team/a", "team/b/c"]),
    ("harbor", "**", ["other/x", "team/a", "team/b/c"]),
    ("quay", "team/**", ["team/a", "team/b/c"]),
    ("docker-hub", "team/*", ["team/a"]),
    ("gitlab", "team/**", ["team/tools", "team/tools/img"]),
    ("gitlab", "team/tools/*", ["team/tools/img"]),
    ("acr", "**", ["other/x", "team/a", "team/b/c"]),
    ("gar", "team/tools/**", ["team/tools/img"]),
    ("gar", "team/**", ["team/a", "team/b/c", "team/tools", "team/tools/img"]),
]


@pytest.mark.parametrize(("profile", "glob", "expected"), VENDORS)
async def test_vendors_list_in_their_own_ways(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
    glob: str,
    expected: list[str],
) -> None:
    """Where the catalog is not to be had, the vendor's own list stands in for it."""
    async with PROFILES[profile]() as registry:
        give_quirks(registry, monkeypatch)
        names = ["team/a", "team/b/c", "other/x"]
        if profile in ("gitlab", "gar"):
            names += ["team/tools", "team/tools/img"]
        if profile == "gitlab":
            names = ["other/x", "team/tools", "team/tools/img"]
        if profile == "docker-hub":
            names = ["team/a", "other/x"]
        fill(registry, *names)
        assert await connect(registry.host, login(registry)).list_repositories(glob) == expected


@pytest.mark.parametrize(
    ("profile", "glob", "paths"),
    [
        ("harbor", "team/*", "/api/v2.0/projects/team/repositories"),
        ("quay", "team/*", "/api/v1/repository"),
        ("docker-hub", "team/*", "/v2/namespaces/team/repositories"),
        ("acr", "team/*", "/acr/v1/_catalog"),
        ("gitlab", "team/tools/*", "/api/v4/projects/team/tools/registry/repositories"),
    ],
)
async def test_vendors_lists_are_read_to_the_last_page(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, profile: str, glob: str, paths: str
) -> None:
    """Two hundred and five repositories are three pages, whatever a page is told by."""
    async with PROFILES[profile]() as registry:
        give_quirks(registry, monkeypatch)
        names = [f"{glob[:-2]}/r{number:03}" for number in range(205)]
        fill(registry, *names)
        store = connect(registry.host, login(registry))
        assert await store.list_repositories(glob) == names
        assert registry.count("GET", paths, status=200) == 3


async def test_harbors_proxy_caches_are_taken_only_by_name(
    connect: Connect, sink: Recorder
) -> None:
    """What others' images passed through is not this Harbor's own, and it is said."""
    async with Harbor() as registry:
        registry.proxies = frozenset({"hub"})
        fill(registry, "hub/nginx", "team/a")
        store = connect(registry.host, login(registry))
        assert await store.list_repositories("**") == ["team/a"]
        assert warnings(sink) == ["proxy_projects_left_out"]
        assert await store.list_repositories("hub/**") == ["hub/nginx"]


async def test_quay_shows_private_repositories_to_an_oauth_token_alone(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, sink: Recorder
) -> None:
    """Who sees a part only is told so; a password is never sent as a token."""
    async with PROFILES["quay"]() as registry:
        give_quirks(registry, monkeypatch)
        registry.private = ("team/secret",)
        fill(registry, "team/a", "team/secret")
        assert await connect(registry.host, login(registry)).list_repositories("team/*") == [
            "team/a"
        ]
        assert warnings(sink) == ["listing_incomplete"]
        oauth = login(registry, "$oauthtoken")
        found = await connect(registry.host, oauth).list_repositories("team/*")
        assert found == ["team/a", "team/secret"]


async def test_docker_hub_logs_in_for_private_repositories(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub API has a token of its own, and is asked without one by who has no login."""
    async with PROFILES["docker-hub"]() as registry:
        give_quirks(registry, monkeypatch)
        registry.private = ("team/secret",)
        fill(registry, "team/a", "team/secret")
        assert await connect(registry.host).list_repositories("team/*") == ["team/a"]
        found = await connect(registry.host, login(registry)).list_repositories("team/*")
        assert found == ["team/a", "team/secret"]


async def test_a_list_that_is_shorter_than_it_says_is_an_error(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the repositories is not taken for all of them."""
    async with DockerHub() as registry:
        give_quirks(registry, monkeypatch)
        registry.hidden = 2
        fill(registry, "team/a")
        with pytest.raises(ProtocolError, match="it lists 1 of 3 repositories"):
            await connect(registry.host).list_repositories("team/*")


@pytest.mark.parametrize(
    ("profile", "hint"),
    [
        ("quay", "name the namespace"),
        ("docker-hub", "name the namespace"),
        ("gitlab", "name the group"),
        ("gar", "name the project"),
        ("ghcr", "name its repositories one by one"),
        ("alibaba-acr", "name its repositories one by one"),
    ],
)
async def test_a_whole_registry_that_nobody_may_list_says_what_to_write(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, profile: str, hint: str
) -> None:
    """Where there is no list of everything, the rule has to be narrower."""
    async with PROFILES[profile]() as registry:
        give_quirks(registry, monkeypatch)
        fill(registry, "team/a")
        with pytest.raises(StoreError, match=hint):
            await connect(registry.host, login(registry)).list_repositories("**")


@pytest.mark.parametrize("profile", ["harbor", "docker-hub", "gitlab"])
async def test_a_refused_login_is_not_tried_with_every_glob(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    """A password is tried once: accounts are locked for less."""
    async with PROFILES[profile]() as registry:
        give_quirks(registry, monkeypatch)
        fill(registry, "team/a")
        wrong = RegistryConfig(plain_http=True, username="robot", password="Wrong-Password-1")
        store = connect(registry.host, wrong)
        for glob in ("team/a*", "other/*"):
            with pytest.raises(AuthenticationError):
                await store.list_repositories(glob)
        assert registry.count("*", "/api/|/v2/auth/token", status=401) == 1


async def test_vendors_pages_stay_at_their_host(connect: Connect) -> None:
    """A next page elsewhere would take the credentials along."""
    async with PROFILES["harbor"]() as registry:
        fill(registry, "team/a")
        headers = {"Link": '<https://evil.example/x>; rel="next"'}
        registry.fail("GET", "/api/v2.0", status=200, body=b"[]", headers=headers)
        with pytest.raises(
            ProtocolError, match=r"another host, https://evil\.example, and not at http://127"
        ):
            await connect(registry.host, login(registry)).list_repositories("team/*")


@pytest.mark.parametrize(
    "form",
    ["{0}; rel=next", "<{0}>", "<{0}>; rel='next'", '<http://harbor.internal{0}>; rel="next"'],
)
async def test_links_of_any_form_lead_through_every_list(connect: Connect, form: str) -> None:
    """A catalog's and a vendor's pages are not ended by what a proxy makes of a link."""
    async with PROFILES["harbor"]() as registry:
        fill(registry, "team/a", "team/b")
        target = "/api/v2.0/projects/team/repositories"
        first = json.dumps([{"name": "team/a"}]).encode()
        headers = {"Link": form.format(f"{target}?page=1&page_size=9"), "X-Total-Count": "2"}
        registry.fail("GET", target, status=200, body=first, headers=headers, times=1)
        store = connect(registry.host, login(registry))
        assert await store.list_repositories("team/*") == ["team/a", "team/b"]
    async with FakeRegistry() as plain:
        fill(plain, "a", "b")
        first = json.dumps({"repositories": ["a"]}).encode()
        headers = {"Link": form.format("/v2/_catalog?last=a&n=1000")}
        plain.fail("GET", "/v2/_catalog", status=200, body=first, headers=headers, times=1)
        assert await connect(plain.host).list_repositories("**") == ["a", "b"]


async def test_gitlabs_next_page_is_told_beside_the_link_too(connect: Connect) -> None:
    """A proxy that takes the link away does not shorten the list."""
    async with PROFILES["gitlab"]() as registry:
        names = [f"team/tools/i{number:03}" for number in range(101)]
        fill(registry, *names)
        registry.rewrite("GET", "/api/v4", {"Link": None, "X-Next-Page": "2"}, times=1)
        found = await connect(registry.host, login(registry)).list_repositories("team/**")
        assert found == names


async def test_vendors_pages_that_do_not_end_are_an_error(connect: Connect) -> None:
    """A list that leads back to itself is cut off."""
    async with PROFILES["harbor"]() as registry:
        link = "</api/v2.0/projects/team/repositories?page=1&page_size=100>"
        headers = {"Link": f'{link}; rel="next"'}
        registry.fail("GET", "/api/v2.0", status=200, body=b"[]", headers=headers, times=None)
        with pytest.raises(ProtocolError, match="its pages do not end"):
            await connect(registry.host, login(registry)).list_repositories("team/*")


async def test_access_that_lacks_the_catalog_is_told_from_a_wrong_password(
    connect: Connect,
) -> None:
    """Harbor answers 403 to who is somebody, but not in that project."""
    async with PROFILES["harbor"]() as registry:
        fill(registry, "team/a")
        with pytest.raises(AccessDenied, match="name its repositories one by one"):
            await connect(registry.host, login(registry)).list_repositories("other/*")
