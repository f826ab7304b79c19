"""Which addresses may be connected to: whoever only points us somewhere must not lead us inside.

A realm, a redirect, a `Location` or a `Link` is text from the network. Followed blindly, a
public registry reads the cloud's metadata service or a company's own servers through us (oras
GHSA-h7vf-4x9w-h99v, go-containerregistry#2293). So every socket is checked when it is made,
against the very address it connects to: no spelling of an address and no name that resolves
to another one a moment later (DNS rebinding) gets past that.
"""

from __future__ import annotations

import socket
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.abc import ResolveResult

    AddressInfo = tuple[int, int, int, str, tuple[str | int | bytes, ...]]

__all__ = ["Depth", "Map", "Refused", "Resolver", "depth_of", "sockets"]

# Addresses at which clouds hand out the machine's own credentials: AWS (instances, tasks and
# pods), Google, Azure, Alibaba, Oracle. No registry is ever there.
_METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_V4_COMPATIBLE = IPv6Network("::/96")
_THIS_NETWORK = 0  # 0.0.0.0/8: Linux connects it to the machine itself
_ISATAP = 0x5EFE  # RFC 5214: the last 64 bits are 0:5efe or 200:5efe and an IPv4 address


class Depth(IntEnum):
    """How far inside a network an address lies; who is at one depth may point no deeper."""

    PUBLIC = 0  # anybody reaches it
    PRIVATE = 1  # a company's network, a carrier's, a VPN's
    LOCAL = 2  # this machine, or what shares a wire with it
    FORBIDDEN = 3  # a cloud's metadata service, or no single machine at all


class Refused(OSError):
    """A socket to an address that lies too deep was not made."""

    def __init__(self) -> None:
        # All the same text: whoever tries several addresses then reports this error itself.
        super().__init__("the address is not one to be pointed to")


def depth_of(text: str) -> Depth:
    """How deep an address lies; FORBIDDEN if it is not one written in full.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4, Teredo, ISATAP) lies as
    deep as that: on networks without IPv4 every public server has such an address.
    """
    try:
        address = ip_address(text.partition("%")[0])  # a zone names an interface, no machine
    except ValueError:
        return Depth.FORBIDDEN
    if isinstance(address, IPv4Address):
        return _depth(address)
    inner = [_depth(each) for each in _embedded(address)]
    if address in _V4_COMPATIBLE or address.ipv4_mapped or address.sixtofour:
        return max(inner, default=Depth.LOCAL)  # `::` and `::1` hold none
    if address in _NAT64[0]:
        return max(inner)
    return max([_depth(address), *inner])


def _depth(address: IPv4Address | IPv6Address) -> Depth:
    if address in _METADATA or address.is_multicast:
        return Depth.FORBIDDEN
    is_this = isinstance(address, IPv4Address) and address.packed[0] == _THIS_NETWORK
    if is_this or address.is_loopback or address.is_unspecified or address.is_link_local:
        return Depth.LOCAL
    is_site_local = isinstance(address, IPv6Address) and address.is_site_local
    return Depth.PRIVATE if is_site_local or not address.is_global else Depth.PUBLIC


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address end up at."""
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    if address.ipv4_mapped or any(address in network for network in _NAT64):
        return [last]
    if address.sixtofour:
        return [address.sixtofour]
    if address.teredo:
        return list(address.teredo)
    is_isatap = (number >> 32) & 0xFDFFFFFF == _ISATAP
    if is_isatap or (address in _V4_COMPATIBLE and number > 1):
        return [last]
    return []


class Map:
    """How deep the hosts of a run lie, as far as they were looked up.

    A registry that the config names may be anywhere, and what it points at may lie as deep as
    it does itself: private storage belongs to a private registry. The `named` hosts of the
    config may be pointed at by everyone.
    """

    def __init__(self, named: Iterable[str] = ()) -> None:
        self._named = frozenset(named)
        self._depths: dict[str, Depth] = {}

    def note(self, host: str, addresses: Iterable[str]) -> None:
        """Remember a lookup; of all that were ever found the least deep counts.

        Otherwise an attacker's name with one public and one private address would be private.
        """
        depths = [depth_of(each) for each in addresses]
        if depths:
            self._depths[host] = min([*depths, self._depths.get(host, Depth.FORBIDDEN)])

    def names(self, url: str) -> bool:
        """Tell whether a URL leads to one of the named hosts."""
        parts = urlsplit(url)
        return not {parts.hostname, parts.netloc.lower()}.isdisjoint(self._named)

    def limit(self, url: str, registry: str, *, is_own: bool) -> Depth:
        """How deep a connection to `url` may go on behalf of the registry of that host name."""
        if is_own or self.names(url):
            return Depth.LOCAL
        literal = depth_of(registry)
        known = self._depths.get(registry, Depth.PUBLIC)
        return min(known if literal is Depth.FORBIDDEN else literal, Depth.LOCAL)

    def is_literal_too_deep(self, host: str, limit: Depth) -> bool:
        """Tell whether a host that a proxy would reach for us is an address beyond the limit.

        Names are resolved by the proxy: what it reaches is for its own rules to say.
        """
        try:
            text = socket.inet_ntoa(socket.inet_aton(host))  # also `127.1` and `0x7f000001`
        except (OSError, UnicodeError):
            text = host
        is_address = ":" in text or text.replace(".", "").isdigit()
        return is_address and depth_of(text) > limit


class Resolver(aiohttp.ThreadedResolver):
    """The system's resolver; puts what it finds on the map."""

    def __init__(self, found: Map) -> None:
        super().__init__()
        self._map = found

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up."""
        results = await super().resolve(host, port, family)
        self._map.note(host, [each["host"] for each in results])
        return results


def sockets(limit: Depth) -> Callable[[AddressInfo], socket.socket]:
    """Make a factory of sockets to addresses that lie no deeper than `limit`; Refused else."""

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if depth_of(str(address[0])) > limit:
            raise Refused
        return socket.socket(family, kind, protocol)

    return make
