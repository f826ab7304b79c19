"""A public registry must not lead us into the network that we run in (SSRF).

Sources: oras GHSA-h7vf-4x9w-h99v (Link), go-containerregistry#2293 (redirects) and #2332,
protocol 5 "SSRF". A registry on loopback plays the public one: its address alone
is declared public, every other keeps its depth.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import ProtocolError, StoreError
from imgmigrate.stores.registry.http import addresses
from imgmigrate.stores.registry.http.addresses import Depth
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.store import RegistryStore
from tests.fakes.registry import FakeRegistry, Hostile
from tests.security.verbs import BLOB, DATA, ask
from tests.stores.registry.conftest import Recorder
from tests.support import images

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from tests.security.verbs import Way
    from tests.stores.registry.conftest import Connect

IMAGE = images.image("inside")
# What names resolve to; nobody asks a real resolver.
NAMES = {
    "rebound.example": "127.0.0.2",
    "metadata.google.internal": "169.254.169.254",
    "instance-data": "fd00:ec2::254",
}
# aiohttp itself refuses numbers that are not written as addresses are.
REFUSED = r"it points to .* inside a network|not a canonical IPv4 address"
INSIDE = [
    "127.0.0.2:1",
    "127.2:1",
    "2130706434:1",
    "0.0.0.0:1",
    "10.0.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "[::1]:1",
    "[::]:1",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fc00::1]",
    "[::ffff:127.0.0.2]:1",
    "[64:ff9b::a00:1]",
    "[2002:7f00:2::]:1",
    *NAMES,
]


@pytest.fixture
def _public(monkeypatch: pytest.MonkeyPatch) -> None:
    real = addresses.depth_of

    def depth_of(text: str) -> Depth:
        return Depth.PUBLIC if text == "127.0.0.1" else real(text)

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> Any:
        found = NAMES.get(host)
        if found is None:
            raise OSError(host)
        return [
            {"hostname": host, "host": found, "port": port, "family": 2, "proto": 0, "flags": 0}
        ]

    monkeypatch.setattr(addresses, "depth_of", depth_of)
    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)


@pytest.fixture
async def hostile(_public: None) -> AsyncIterator[Hostile]:
    """A public registry with an image and a blob, honest until a switch is set."""
    async with Hostile() as registry:
        registry.put_image("a", "v1", IMAGE)
        registry.storage.add_blob("a", DATA)
        yield registry


@pytest.mark.parametrize("place", INSIDE)
@pytest.mark.parametrize("way", ["blob", "manifest", "tags", "upload", "realm"])
async def test_public_registry_cannot_lead_inside(
    connect: Connect, hostile: Hostile, way: Way | Literal["realm"], place: str
) -> None:
    """Redirects of every read, an upload's Location and a realm stay out of inner networks."""
    url, store = f"http://{place}/latest/meta-data/", connect(hostile.host)
    away = {"Location": url}
    hostile.foreign_location = url
    match way:
        case "blob":
            hostile.foreign_redirect = url
        case "manifest":
            hostile.fail("GET", "/manifests/", status=302, headers=away)
        case "tags":
            hostile.fail("GET", "/tags/", status=307, headers=away)
        case "realm":
            hostile.auth, hostile.foreign_realm = "token", url
    with pytest.raises(ProtocolError, match=REFUSED):
        await ask(store, "manifest" if way == "realm" else way)


async def test_local_registry_may_have_local_storage(fake_registry: FakeRegistry) -> None:
    """What is inside already may point to its neighbours: private registries do."""
    fake_registry.storage.add_blob("a", DATA)
    fake_registry.redirect_status = 307
    async with _stores() as open_store:
        await ask(open_store(fake_registry.host), "blob")
    assert fake_registry.cdn_requests


async def test_named_host_may_be_pointed_at(hostile: Hostile, fake_registry: FakeRegistry) -> None:
    """Storage that the config names is allowed, wherever it lies."""
    fake_registry.storage.add_blob("a", DATA)
    inner = f"[::ffff:127.0.0.1]:{fake_registry.host.rpartition(':')[2]}"
    hostile.foreign_redirect = f"http://{inner}/v2/a/blobs/{BLOB.digest}"
    async with _stores(named=[inner]) as open_store:
        await ask(open_store(hostile.host), "blob")
    async with _stores() as open_store:
        with pytest.raises(ProtocolError, match="registries"):
            await ask(open_store(hostile.host), "blob")


async def test_connection_of_one_registry_leads_no_other_inside(
    hostile: Hostile, fake_registry: FakeRegistry
) -> None:
    """An open connection to an inner registry is not there for who may not open one."""
    fake_registry.put_image("a", "v1", IMAGE)
    inner = f"[::ffff:127.0.0.1]:{fake_registry.host.rpartition(':')[2]}"
    hostile.fail(
        "GET", "/manifests/", status=307, headers={"Location": f"http://{inner}/v2/a/manifests/v1"}
    )
    async with _stores() as open_store:
        await open_store(inner).manifest("a", "v1")
        with pytest.raises(ProtocolError, match="inside a network"):
            await open_store(hostile.host).manifest("a", "v1")


@pytest.mark.usefixtures("_public")
async def test_metadata_service_is_no_registry() -> None:
    """Not even a config that names it reaches a cloud's metadata service."""
    for host in ("169.254.169.254", "metadata.google.internal"):
        async with _stores() as open_store:
            with pytest.raises(StoreError, match="where no registry can be"):
                await open_store(host).manifest("a", "v1")


@asynccontextmanager
async def _stores(named: Iterable[str] = ()) -> AsyncIterator[Callable[[str], RegistryStore]]:
    """Open stores that share one client, as those of a run do."""
    http = Http(named=named)
    yield lambda host: RegistryStore(
        host, lambda _: RegistryConfig(plain_http=True), http, Recorder()
    )
    await http.aclose()
