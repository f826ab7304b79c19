"""Nothing that a server says makes us hand credentials, or what they open, to another host.

Sources: CVE-2026-33540 and CVE-2026-12566 (realm), CVE-2020-15157 "ContainerDrip" (token replay
and foreign layers), go-containerregistry#2243, #2349, regclient 39de02d and 746d6cf (redirects),
protocol 5 "Credential theft". The thief is another host name of the same machine.
"""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate import apply_plan, load_config, make_plan
from imgmigrate.config.model import RegistryConfig, Tls
from imgmigrate.errors import ProtocolError, StoreError
from tests.fakes.registry import FakeRegistry, Hostile, User
from tests.security.raw import answer, raw_server
from tests.security.verbs import DATA, WAYS, ask
from tests.support import images
from tests.support.certificates import make_certificates
from tests.support.cli import write_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imgmigrate.stores.registry.store import RegistryStore
    from tests.security.verbs import Way
    from tests.stores.registry.conftest import Connect
    from tests.support.images import Image

USER = User("me", "Secret-Password-1")
BASIC = base64.b64encode(f"{USER.name}:{USER.password}".encode())
IMAGE = images.image("theft")
CHALLENGES = ('WWW-Authenticate: Basic realm="thief"', 'WWW-Authenticate: Bearer realm="/token"')


@dataclass(frozen=True, slots=True)
class Thief:
    """A server of the attacker, and what reached it."""

    url: str
    seen: list[bytes]

    def assert_has_nothing(self, *secrets: str) -> None:
        """Check that no request carried credentials of any form."""
        for request in self.seen:
            assert b"authorization" not in request.lower()
            for secret in (USER.password, *secrets):
                assert secret.encode() not in request
            assert BASIC not in request


@asynccontextmanager
async def thief(reply: bytes) -> AsyncIterator[Thief]:
    """Run a thief that always answers the same."""
    seen: list[bytes] = []
    async with raw_server(lambda *_: [reply], seen=seen) as host:
        yield Thief(f"http://localhost:{host.rpartition(':')[2]}", seen)


def config() -> RegistryConfig:
    """Credentials that are worth stealing."""
    return RegistryConfig(username=USER.name, password=USER.password, plain_http=True)


@asynccontextmanager
async def private_registry(auth: str) -> AsyncIterator[Hostile]:
    """A registry that wants credentials and has something private."""
    async with Hostile(auth="token" if auth == "token" else "basic", users=[USER]) as registry:
        registry.private = ("*",)
        registry.put_image("a", "v1", IMAGE)
        registry.put_image("secret", "v1", images.image("secret"))
        registry.storage.add_blob("a", DATA)
        yield registry


async def use(store: RegistryStore) -> None:
    """Do everything that a client does; what fails is not the question here."""
    for way in WAYS:
        with suppress(StoreError):
            await ask(store, way)


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_carry_no_credentials(connect: Connect, auth: str, status: int) -> None:
    """Wherever any request is redirected to, the authorization stays at the registry."""
    async with thief(answer(DATA)) as stranger, private_registry(auth) as registry:
        location = {"Location": f"{stranger.url}/x"}
        registry.fail("*", "^/v2/.+/", status=status, headers=location)
        await use(connect(registry.host, config()))
    assert stranger.seen
    stranger.assert_has_nothing(*registry.tokens)


@pytest.mark.parametrize("auth", ["basic", "token"])
async def test_upload_location_elsewhere_gets_no_credentials(connect: Connect, auth: str) -> None:
    """A blob may be sent to the storage that a registry names, the authorization never."""
    async with thief(answer(status=201)) as stranger, private_registry(auth) as registry:
        registry.foreign_location = f"{stranger.url}/upload"
        await use(connect(registry.host, config()))
    assert any(request.endswith(DATA) for request in stranger.seen)
    stranger.assert_has_nothing(*registry.tokens)


@pytest.mark.parametrize("challenge", CHALLENGES)
@pytest.mark.parametrize("auth", ["basic", "token"])
async def test_storage_that_asks_for_credentials_gets_none(
    connect: Connect, auth: str, challenge: str
) -> None:
    """A 401 of a redirect's target is not a challenge of the registry."""
    reply = answer(b"", challenge, status=401)
    async with thief(reply) as stranger, private_registry(auth) as registry:
        registry.foreign_redirect = registry.foreign_location = f"{stranger.url}/x"
        await use(connect(registry.host, config()))
    assert stranger.seen
    stranger.assert_has_nothing(*registry.tokens)


async def test_stranger_cannot_send_us_back_with_credentials(connect: Connect) -> None:
    """A redirect there and back does not let a stranger choose what we read with our rights."""
    async with private_registry("basic") as registry:
        back = f"http://{registry.host}/v2/secret/manifests/v1"
        async with thief(answer(b"", f"Location: {back}", status=307)) as stranger:
            away = {"Location": f"{stranger.url}/x"}
            registry.fail("GET", "/v2/a/manifests/", status=307, headers=away)
            with pytest.raises(StoreError):
                await connect(registry.host, config()).manifest("a", "v1")
    assert not any(one.authorised for one in registry.matching("GET", "/v2/secret/"))
    stranger.assert_has_nothing()


@pytest.mark.parametrize("way", ["realm", "redirect", "userinfo"])
async def test_realm_elsewhere_gets_no_credentials(connect: Connect, way: str) -> None:
    """A token server of another owner is not asked, nor one that a token server points to."""
    reply = answer(b'{"token": "stolen"}')
    async with thief(reply) as stranger, private_registry("token") as registry:
        if way == "redirect":
            away = {"Location": f"{stranger.url}/token"}
            registry.fail("GET", "^/token", status=307, headers=away)
        elif way == "realm":
            registry.foreign_realm = f"{stranger.url}/token"
        else:
            registry.foreign_realm = f"{stranger.url}/token".replace("//", "//127.0.0.1@")
        with pytest.raises((ProtocolError, StoreError)):
            await connect(registry.host, config()).manifest("a", "v1")
    stranger.assert_has_nothing()
    assert not stranger.seen


@pytest.mark.parametrize(
    "realm",
    ["file:///etc/passwd", "javascript:x", "ftp://127.0.0.1/", "//", "http://[", "\\\\x\\y", "::"],
)
async def test_realm_that_is_no_http_url_is_refused(connect: Connect, realm: str) -> None:
    """Only http and https are ever asked for a token."""
    async with private_registry("token") as registry:
        registry.foreign_realm = realm
        with pytest.raises(StoreError):
            await connect(registry.host, config()).manifest("a", "v1")


async def test_link_elsewhere_is_not_followed(connect: Connect) -> None:
    """A listing continues at the registry itself or not at all (oras GHSA-h7vf-4x9w-h99v)."""
    async with thief(answer(b'{"tags": ["evil"]}')) as stranger, private_registry("basic") as reg:
        reg.rewrite("GET", "/tags/list", {"Link": f'<{stranger.url}/tags>; rel="next"'})
        with pytest.raises(ProtocolError, match="another host"):
            await connect(reg.host, config()).list_tags("a")
    assert not stranger.seen


@pytest.mark.parametrize("way", ["blob", "tags", "upload", "manifest"])
async def test_https_never_becomes_http(connect: Connect, tmp_path: Path, way: Way) -> None:
    """No Location, Link, redirect or realm of a TLS registry is followed in the clear."""
    certificates = make_certificates(tmp_path)
    async with thief(answer(DATA)) as stranger, Hostile(tls=certificates.server) as registry:
        registry.put_image("a", "v1", IMAGE)
        registry.storage.add_blob("a", DATA)
        url = f"{stranger.url}/x"
        settings = RegistryConfig(tls=Tls(ca_file=certificates.ca_file))
        store = connect(registry.host, settings)
        registry.foreign_redirect = registry.foreign_location = url
        registry.rewrite("GET", "/tags/list", {"Link": f'<{url}>; rel="next"'})
        if way == "manifest":
            registry.auth, registry.foreign_realm = "token", url
        with pytest.raises(StoreError):
            await ask(store, way)
    assert not stranger.seen


async def test_urls_of_a_foreign_layer_are_never_asked(
    tmp_path: Path, fake_registry: FakeRegistry
) -> None:
    """The addresses that a manifest names for a layer are text (CVE-2020-15157)."""
    async with thief(answer(DATA)) as stranger, FakeRegistry() as old:
        old.put_image("app", "v1", _dripping(f"{stranger.url}/layer"))
        rule = f"  - {{source: {old.host}/app, destination: {fake_registry.host}/app}}"
        loaded = load_config(write_config(tmp_path, rule, old.host, fake_registry.host))
        await apply_plan(loaded, await make_plan(loaded))
    assert fake_registry.tags("app")
    assert not stranger.seen


def _dripping(url: str) -> Image:
    """An image whose foreign layer is said to be at `url`."""
    honest = images.image("drip")
    media_type, raw = honest.manifests[honest.top]
    document = images.parse(raw)
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    document["layers"].append({**images.descriptor(foreign, DATA), "urls": [url]})
    raw = json.dumps(document).encode()
    top = images.digest_of(raw)
    return replace(honest, top=top, manifests={top: (media_type, raw)})
