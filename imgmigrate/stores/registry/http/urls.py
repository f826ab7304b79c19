"""Follow what a server points at: locations, redirects and links, all of them opaque.

Pure. A signed URL dies of any re-quoting, so URLs are strings here and only ever joined as
text; and a server may point anywhere, so every step says whether it stays at the origin.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "LINK_HINT",
    "append_query",
    "next_link",
    "next_page",
    "origin_of",
    "resolve",
    "same_origin",
]

# What a registry behind a proxy needs to know its own address.
LINK_HINT = "let the proxy before it pass on Host (with the port) and X-Forwarded-Proto"

_DEFAULT_PORTS = {"http": 80, "https": 443}
# No part can match in two ways: a header of 64 KiB must not cost seconds to read.
_PARAMETER = re.compile(r"""[\s;]*([^\s=;,"<]+)\s*(?:=\s*(?:"([^"]*)"|'([^']*)'|([^\s;,"]*)))?""")
_GAP = re.compile(r"[\s,;>]*")
# A target without angle brackets. A comma may be a part of it, unless it ends there.
_BARE = re.compile(r"[^\s;<>]+")


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an http(s) URL; ValueError if it has none of them."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        msg = f"it points to {url!r}, which is not a plain http(s) URL"
        raise ValueError(msg)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]


def same_origin(one: str, other: str) -> bool:
    """Tell whether two URLs reach the same server in the same way."""
    return origin_of(one) == origin_of(other)


def resolve(base: str, location: str) -> str:
    """Resolve `location` against the URL that was answered; ValueError if it must not be followed.

    A registry behind a proxy that ends TLS often answers `http://` for itself: that is read
    as https. Any other step from https to http is refused.
    """
    location = location.strip()
    if not location.isprintable() or " " in location:
        msg = f"it points to {location!r}, which is not a URL"
        raise ValueError(msg)
    target = urljoin(base, location).partition("#")[0]
    here, there = origin_of(base), origin_of(target)
    if (here[0], there[0]) != ("https", "http"):
        return target
    if there[1] == here[1] and there[2] in (here[2], _DEFAULT_PORTS["http"]):
        rest = target[len("http://") + len(urlsplit(target).netloc) :]
        return f"https://{urlsplit(base).netloc}{rest}"
    msg = f"it points from https to http://{there[1]}, which would expose what is sent"
    raise ValueError(msg)


def append_query(url: str, parameter: str) -> str:
    """Add an already quoted `name=value`, leaving every other character as it is."""
    return f"{url}{'&' if '?' in url else '?'}{parameter}"


def next_link(lines: Iterable[str]) -> str | None:
    """The target of `Link: <...>; rel="next"`, whatever the order of its parameters.

    Registries and their proxies lose the brackets, the double quotes and the relation itself
    (heroku/docker-registry-client#11). A list whose link was not understood is not at its end,
    so a link that says no relation leads on; ValueError if several do.
    """
    links = [link for line in lines for link in _links(line)]
    for target, relations in links:
        if "next" in relations.lower().split():
            return target
    silent = list(dict.fromkeys(target for target, relations in links if not relations.strip()))
    if len(silent) > 1:
        msg = "its Link names several pages, and not which one is next"
        raise ValueError(msg)
    return silent[0] if silent else None


def next_page(origin: str, path: str, base: str, link: str) -> str:
    """The path and query, at `origin`, of the page that the one at `base` links to.

    Behind a proxy a registry may not know its own name, port and scheme (nexus-public#1011,
    fluxcd/image-reflector-controller#343): nothing is ever asked but `origin`, and there what
    `link` names at the same host, or the list's own `path` whatever the host. ValueError for
    anything else, which names both hosts.
    """
    link = link.strip()
    if not link.isprintable() or " " in link:
        msg = f"it points to {link!r}, which is not a URL"
        raise ValueError(msg)
    target = urljoin(base, link).partition("#")[0]
    scheme, host, port = origin_of(target)
    place, own = urlsplit(target).netloc, origin_of(origin)
    rest = target[len(scheme) + len("://") + len(place) :]
    rest = rest if rest.startswith("/") else f"/{rest}"
    where, mark, query = rest.partition("?")
    if host == own[1] and port in (own[2], *_DEFAULT_PORTS.values()):
        return rest
    if unquote(where).endswith(path):
        return f"{path}{mark}{query}"
    msg = f"it goes on at another host, {scheme}://{place}, and not at {origin}"
    raise ValueError(msg)


def _links(line: str) -> Iterator[tuple[str, str]]:
    """Every target of a header line with its `rel`, from left to right (RFC 8288 section 3)."""
    position, last = 0, line.rfind(">")
    while found := _GAP.match(line, position):
        position = found.end()
        if position == len(line):
            return
        if line[position] == "<" and position < last:
            end = line.index(">", position)
            target, position = line[position + 1 : end], end + 1
        else:
            bare = _BARE.match(line, position + (line[position] == "<"))
            if bare is None:
                position += 1
                continue
            target, position = bare[0].strip("\"',"), bare.end()
        relations = ""
        while found := _PARAMETER.match(line, position):
            position = found.end()
            if found[1].lower() == "rel":
                relations = relations or found[2] or found[3] or found[4] or ""
        yield target, relations
