"""Which addresses may be connected to, on whose behalf."""

from __future__ import annotations

import socket

import pytest

from imgmigrate.config.model import Tls
from imgmigrate.errors import ProtocolError
from imgmigrate.stores.registry.http.addresses import Depth, Map, Refused, depth_of, sockets
from imgmigrate.stores.registry.http.session import Http, Request
from imgmigrate.stores.registry.http.trust import Trust

PUBLIC, PRIVATE, LOCAL, FORBIDDEN = Depth


@pytest.mark.parametrize(
    ("address", "depth"),
    [
        ("8.8.8.8", PUBLIC),
        ("2606:4700::1111", PUBLIC),
        ("10.1.2.3", PRIVATE),
        ("172.16.0.1", PRIVATE),
        ("192.168.0.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("198.18.0.1", PRIVATE),
        ("fc00::1", PRIVATE),
        ("fec0::1", PRIVATE),
        ("127.0.0.1", LOCAL),
        ("127.255.0.1", LOCAL),
        ("0.0.0.0", LOCAL),
        ("0.1.2.3", LOCAL),
        ("169.254.1.1", LOCAL),
        ("::", LOCAL),
        ("::1", LOCAL),
        ("fe80::1%eth0", LOCAL),
        ("169.254.169.254", FORBIDDEN),
        ("169.254.170.2", FORBIDDEN),
        ("100.100.100.200", FORBIDDEN),
        ("fd00:ec2::254", FORBIDDEN),
        ("fd00:ec2::254%1", FORBIDDEN),
        ("224.0.0.1", FORBIDDEN),
        ("ff02::1", FORBIDDEN),
    ],
)
def test_address_lies_as_deep_as_its_network(address: str, depth: Depth) -> None:
    """Loopback, link-local, private, metadata and multicast ranges are told apart."""
    assert depth_of(address) is depth


@pytest.mark.parametrize(
    "form",
    [
        "::ffff:{}",
        "::{}",
        "64:ff9b::{}",
        "2002:{hex}::1",
        "2001:4860::5efe:{}",
        "2001:4860::200:5efe:{}",
    ],
)
@pytest.mark.parametrize("inner", ["8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254"])
def test_ipv6_that_stands_for_ipv4_lies_as_deep_as_that(form: str, inner: str) -> None:
    """Mapped, compatible, NAT64, 6to4 and ISATAP forms hide nothing, and cost nobody access."""
    packed = socket.inet_aton(inner).hex()
    text = form.format(inner, hex=f"{packed[:4]}:{packed[4:]}")
    assert depth_of(text) is depth_of(inner)


def test_teredo_address_is_never_public() -> None:
    """A Teredo client behind 127.0.0.1 would be ourselves (RFC 4380: the address is inverted)."""
    assert depth_of("2001:0:808:808:0:0:80ff:fffe") is LOCAL


@pytest.mark.parametrize("text", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "x", ""])
def test_address_in_a_legacy_spelling_is_forbidden(text: str) -> None:
    """What the system would still read as an address is none here."""
    assert depth_of(text) is FORBIDDEN


def test_socket_is_refused_by_the_address_it_would_connect_to() -> None:
    """The check is of the very address, after any resolution; deeper than allowed is refused."""
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", 443))
    with pytest.raises(Refused):
        sockets(PUBLIC)(info)
    sockets(PRIVATE)(info).close()
    with pytest.raises(Refused):
        sockets(LOCAL)((*info[:4], ("169.254.169.254", 80)))


def test_registry_may_point_as_deep_as_it_lies() -> None:
    """Private storage belongs to a private registry; a public one must not lead inside."""
    found = Map()
    found.note("public.example", ["8.8.8.8"])
    found.note("harbor.corp", ["10.0.0.1"])
    elsewhere = "https://minio.corp/x"
    assert found.limit(elsewhere, "public.example", is_own=False) is PUBLIC
    assert found.limit(elsewhere, "harbor.corp", is_own=False) is PRIVATE
    assert found.limit(elsewhere, "127.0.0.1", is_own=False) is LOCAL
    assert found.limit(elsewhere, "169.254.169.254", is_own=False) is PUBLIC
    assert found.limit(elsewhere, "behind.proxy", is_own=False) is PUBLIC
    assert found.limit("https://public.example:8443/x", "public.example", is_own=True) is LOCAL


def test_of_all_lookups_the_least_deep_counts() -> None:
    """A name with a public and a private address, or one that turns private, gains nothing."""
    found = Map()
    found.note("both.example", ["10.0.0.1", "8.8.8.8"])
    found.note("turning.example", ["8.8.8.8"])
    found.note("turning.example", ["127.0.0.1"])
    found.note("turning.example", [])
    for host in ("both.example", "turning.example"):
        assert found.limit("https://x/", host, is_own=False) is PUBLIC


@pytest.mark.parametrize(
    ("url", "limit"),
    [
        ("https://minio.corp:9000/x", LOCAL),
        ("https://minio.corp:9001/x", PUBLIC),
        ("https://storage.corp/x", LOCAL),
        ("https://STORAGE.corp:444/x", LOCAL),
    ],
)
def test_host_that_the_config_names_may_be_pointed_at(url: str, limit: Depth) -> None:
    """An entry without a port is for all of them, one with a port for that alone."""
    named = Map({"minio.corp:9000", "storage.corp"})
    assert named.limit(url, "public.example", is_own=False) is limit


@pytest.mark.parametrize(
    ("host", "is_too_deep"),
    [
        ("10.0.0.1", True),
        ("127.1", True),
        ("2130706433", True),
        ("0x7f000001", True),
        ("::1", True),
        ("8.8.8.8", False),
        ("storage.example", False),
        ("10.example.com", False),
    ],
)
def test_address_behind_a_proxy_is_looked_at_too(host: str, is_too_deep: bool) -> None:
    """A proxy resolves names by its own rules, but is never asked for an inner address."""
    assert Map().is_literal_too_deep(host, PUBLIC) is is_too_deep


async def test_proxy_is_not_asked_for_inner_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request ends here, before anything is sent to the proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    http = Http()
    request = Request("GET", "http://10.0.0.1/x", "a", Trust("public.example", Tls()))
    with pytest.raises(ProtocolError, match=r"10\.0\.0\.1"):
        await http.send(request)
    await http.aclose()
