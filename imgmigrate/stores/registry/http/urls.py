"""Follow what a server points at: locations, redirects and links, all of them opaque.

Pure. A signed URL dies of any re-quoting, so URLs are strings here and only ever joined as
text; and a server may point anywhere, so every step says whether it stays at the origin.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["append_query", "next_link", "origin_of", "resolve", "same_origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
# No part can match in two ways: a header of 64 KiB must not cost seconds to read.
_PARAMETER = re.compile(r'[\s;]*([^\s=;,"<]+)\s*(?:=\s*(?:"([^"]*)"|([^\s;,"]*)))?')


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
    """The target of `Link: <...>; rel="next"`, whatever the order of its parameters."""
    for line in lines:
        for target, relations in _links(line):
            if "next" in relations.lower().split():
                return target
    return None


def _links(line: str) -> Iterator[tuple[str, str]]:
    """Every target of a header line with its `rel`, from left to right (RFC 8288 section 3)."""
    position = 0
    while (start := line.find("<", position)) >= 0 and (end := line.find(">", start)) >= 0:
        position, relations = end + 1, ""
        while found := _PARAMETER.match(line, position):
            position = found.end()
            if found[1].lower() == "rel":
                relations = relations or found[2] or found[3] or ""
        yield line[start + 1 : end], relations
