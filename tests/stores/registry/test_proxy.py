"""Proxies: that of a registry's config, through CONNECT and plainly, and nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig, Tls
from imgmigrate.errors import Rejected, StoreError, TransientError
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.registry.http.trust import Proxies, Proxy, Trust
from tests.fakes.proxy import FakeProxy
from tests.fakes.registry import FakeRegistry
from tests.support.certificates import make_certificates
from tests.support.images import OCI_LAYER, image, layer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.stores.registry.conftest import Connect

# A name that only the proxy knows.
HOST = "reg.example.com"
PASSWORD = "s3cret/proxy:pw@"
USERINFO = "mover:s3cret%2Fproxy%3Apw%40"
DATA = layer("x", 200_000)
BLOB = Descriptor(OCI_LAYER, Digest.of(DATA), len(DATA))


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    """A proxy that wants a password."""
    async with FakeProxy("mover", PASSWORD) as proxy:
        yield proxy


@pytest.fixture(params=["plain", "tls"])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FakeRegistry]:
    """A registry that speaks plainly, and one that speaks TLS."""
    tls = make_certificates(tmp_path).server if request.param == "tls" else None
    async with FakeRegistry(tls=tls) as registry:
        registry.put_image("a", "1", image(layers=[DATA]))
        yield registry


def settings(registry: FakeRegistry, proxy: FakeProxy, userinfo: str = USERINFO) -> RegistryConfig:
    """The config of `HOST`, which the proxy connects to the registry."""
    is_plain = registry.url.startswith("http:")
    proxy.dials = {HOST: registry.host, f"{HOST}:443": registry.host}
    return RegistryConfig(
        plain_http=is_plain, tls=Tls(verify=False), proxy=f"http://{userinfo}@{proxy.host}"
    )


async def test_every_request_goes_through_the_proxy(
    registry: FakeRegistry, proxy: FakeProxy, connect: Connect
) -> None:
    """Listings, manifests, blobs both ways: CONNECT for https, whole URLs for http."""
    store = connect(HOST, settings(registry, proxy))
    assert await store.list_tags("a") == ["1"]
    await store.manifest("a", "1")
    assert b"".join([piece async for piece in store.open_blob("a", BLOB)]) == DATA
    upload = await store.start_upload("b", BLOB)
    assert not isinstance(upload, Mounted)
    await upload.write(DATA)
    await upload.commit()
    assert await store.blob_exists("b", BLOB.digest)
    assert not proxy.refused
    if registry.url.startswith("https:"):
        assert set(proxy.requests) == {f"CONNECT {HOST}:443"}
    else:
        assert {line.partition("/v2/")[0] for line in proxy.requests} >= {f"GET http://{HOST}"}
        assert len(proxy.requests) == len(registry.requests)


async def test_password_of_the_proxy_reaches_the_proxy_alone(
    registry: FakeRegistry, proxy: FakeProxy, connect: Connect
) -> None:
    """The registry never sees what only the proxy may know."""
    store = connect(HOST, settings(registry, proxy))
    await store.list_tags("a")
    assert not any(request.authorised for request in registry.requests)
    assert not proxy.refused


async def test_wrong_password_is_one_clear_error(
    registry: FakeRegistry, proxy: FakeProxy, connect: Connect
) -> None:
    """The proxy's 407 is not tried again, names the proxy, and shows no password."""
    store = connect(HOST, settings(registry, proxy, "mover:wr0ng-password"))
    with pytest.raises(Rejected, match=r"the proxy wants credentials \(407\)") as raised:
        await store.list_tags("a")
    assert "check the user and password in the proxy's URL" in str(raised.value)
    assert "wr0ng-password" not in str(raised.value)
    assert len(proxy.requests) == 1
    assert not registry.requests


@pytest.mark.parametrize(
    ("status", "error"), [(403, Rejected), (502, TransientError), (503, TransientError)]
)
async def test_what_a_proxy_refuses_is_told_as_its_own(
    tmp_path: Path, connect: Connect, status: int, error: type[StoreError]
) -> None:
    """An answer to CONNECT is the proxy's: the error says so, and bad gateways may heal."""
    async with (
        FakeProxy(answers=status) as proxy,
        FakeRegistry(tls=make_certificates(tmp_path).server) as registry,
    ):
        store = connect(HOST, settings(registry, proxy))
        with pytest.raises(error, match="the proxy "):
            await store.list_tags("a")


async def test_proxy_that_is_not_there_is_named(connect: Connect) -> None:
    """A refused connection to the proxy is not blamed on the registry."""
    config = RegistryConfig(plain_http=True, proxy="http://127.0.0.1:1")
    with pytest.raises(TransientError, match="the proxy cannot be reached"):
        await connect(HOST, config).list_tags("a")


async def test_other_registries_do_not_use_it(
    fake_registry: FakeRegistry, proxy: FakeProxy, connect: Connect
) -> None:
    """The proxy of one registry is not that of another."""
    fake_registry.put_image("a", "1", image())
    connect(HOST, settings(fake_registry, proxy))
    assert await connect(fake_registry.host).list_tags("a") == ["1"]
    assert not proxy.requests


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        ("https://reg.example.com/v2/", "", "http://own:1"),
        ("https://reg.example.com/v2/", "*", "http://own:1"),
        ("https://reg.example.com/v2/", "reg.example.com", "http://own:1"),
        ("http://reg.example.com/v2/", ".example.com", "http://own:1"),
        ("https://storage.example.net/x", "", "http://own:1"),
        ("https://storage.example.net/x", "example.net", None),
        ("https://storage.example.net:444/x", ".example.net:443", "http://own:1"),
        ("https://storage.example.net/x", ".example.net:443", None),
        ("https://storage.example.net:443/x", ".example.net:443", None),
        ("https://10.1.2.3/x", "10.0.0.0/8", None),
        ("https://10.1.2.3/x", "192.168.0.0/16", "http://own:1"),
        ("https://[fd00::7]/x", "fd00::/8", None),
        ("https://127.0.0.1:9000/x", "", None),
    ],
)
def test_config_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str, expected: str | None
) -> None:
    """For the registry itself always; for the servers it points at unless NO_PROXY names them."""
    monkeypatch.setenv("HTTPS_PROXY", "http://environment:2")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    trust = Trust("reg.example.com", Tls(), "http://own:1")
    found = Proxies().of(url, trust)
    assert (found.url if found else None) == expected


def test_without_a_key_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry without a proxy of its own uses that of the environment."""
    monkeypatch.setenv("HTTPS_PROXY", "http://environment:2")
    trust = Trust("reg.example.com", Tls())
    assert Proxies().of("https://reg.example.com/v2/", trust) == Proxy("http://environment:2")


def test_credentials_of_a_proxy_are_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an error nor a printed config holds the password, as written or as meant."""
    path = tmp_path / "imgmigrate.yaml"
    path.write_text(
        'version: 1\nregistries:\n  "q.io": {proxy: "http://me:${PROXY_PW}@proxy:3128"}\n'
        "images:\n- {source: q.io/a, destination: x.io/a}\n"
    )
    config = load_config(path, environ={"PROXY_PW": "p%40ss-w0rd"})
    found = config.registry("q.io")
    assert found.proxy == "http://me:p%40ss-w0rd@proxy:3128"
    assert "w0rd" not in repr(found)
    error = StoreError("q.io", "cannot use p%40ss-w0rd nor p@ss-w0rd nor http://me:x@proxy:3128")
    assert str(error) == "q.io: cannot use *** nor *** nor http://***@proxy:3128"
