"""List the tags of a repository, or the repositories of a registry: every page, or an error.

Pages are followed by `Link` alone, at the registry's own origin only, and verbatim; what it means
by its cursor is its own business (protocol 2.2). A link that is not understood is an error: only
an answer without any ends a list.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import NotFound, ProtocolError
from imgmigrate.oci.documents import refuse_bomb
from imgmigrate.oci.reference import is_tag
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.http.limits import TAGS_BODY
from imgmigrate.stores.registry.http.urls import LINK_HINT, next_link, next_page
from imgmigrate.stores.registry.quirks import INNER_PATH
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["Listing", "list_names", "list_tags"]

# A million tags at Quay's hundred a page; a server that links on and on is an attack.
MOST_PAGES = 10_000
# Far above any repository; a server may fill few pages with very many names.
MOST_TAGS = 1_000_000
# A page may hold nothing that is a tag (digests, what was there already), hundreds hardly.
MOST_IDLE_PAGES = 100
# zot forgets where it was if the last tag of a page is deleted meanwhile (protocol 2.2).
MOST_WALKS = 3
# What old versions of distribution leave among the tags.
_LEFTOVERS = ("_uploads",)


class Listing(Struct, frozen=True):
    """A list that comes in pages: where it begins, the key of its names, and what they are.

    `noun` is for messages; what is no name for the specification is left out, and `skip` is told
    of it, each time that it is read.
    """

    subject: str
    path: str
    access: Access
    key: str
    noun: str
    is_name: Callable[[str], bool]
    skip: Callable[[str], object] | None = None

    def valid(self, names: list[object]) -> dict[str, None]:
        """The names of a page, in its order, but for what is none."""
        found: dict[str, None] = {}
        for name in names:
            if isinstance(name, str) and self.is_name(name):
                found[name] = None
            elif self.skip is not None and name not in _LEFTOVERS:
                self.skip(name if isinstance(name, str) else _described(name))
        return found


async def list_tags(
    remote: Remote, repo: str, *, skip: Callable[[str], object] | None = None
) -> list[str]:
    """List every tag, each once, in the registry's order; NotFound if it has no such repository.

    `skip` is told of each name that is no valid tag, perhaps more than once.
    """
    subject, path = f"{remote.host}/{repo}", f"/v2/{repo}/tags/list"
    tags = await list_names(
        remote, Listing(subject, path, Access(repo), "tags", "tag list", _is_tag, skip)
    )
    _warn(remote, repo, len(tags))
    return tags


async def list_names(remote: Remote, listing: Listing) -> list[str]:
    """List every name, each once, in the registry's order; NotFound if there is no such list."""
    for _ in range(MOST_WALKS):
        names = await _walk(remote, listing, f"?n={remote.quirks.tags_page}")
        if names is not None:
            return names
    raise ProtocolError(listing.subject, f"its {listing.noun} ends before its last page")


async def _walk(remote: Remote, listing: Listing, query: str) -> list[str] | None:
    """All pages; None if a later one was not found."""
    subject = listing.subject
    target = f"{listing.path}{query}"
    tags: dict[str, None] = {}
    idle = 0
    visited: set[bytes] = set()  # not the cursors themselves, which may be long
    while (page := sha256(target.encode()).digest()) not in visited and len(visited) < MOST_PAGES:
        visited.add(page)
        call = Call("GET", target, subject, listing.access, limit=TAGS_BODY, document=True)
        try:
            answer = await remote.call(call)
        except NotFound:
            if len(visited) == 1:
                raise
            return None
        names = _names(answer, listing)
        known = len(tags)
        tags |= listing.valid(names)
        idle = idle + 1 if len(tags) == known else 0
        link = _next_link(answer, listing)
        if link is None and query and len(visited) == 1 and len(names) == remote.quirks.tags_page:
            # Nexus' group repositories leave out the Link (nexus-public#117): a list that is
            # just as long as asked for may be cut, and one without a size is not.
            return await _walk(remote, listing, "")
        if link is None:
            return list(tags)
        if len(tags) > MOST_TAGS or idle > MOST_IDLE_PAGES:
            break
        target = _followed(remote, listing, answer.url, link)
    raise ProtocolError(subject, f"its {listing.noun} does not end")


def _next_link(answer: Answer, listing: Listing) -> str | None:
    try:
        return next_link(answer.headers("Link"))
    except ValueError as error:
        raise ProtocolError(listing.subject, f"{listing.noun}: {error}") from None


def _followed(remote: Remote, listing: Listing, url: str, link: str) -> str:
    try:
        target = next_page(remote.origin, listing.path, url, link)
    except ValueError as error:
        raise ProtocolError(listing.subject, f"{listing.noun}: {error}", hint=LINK_HINT) from None
    path, mark, query = target.partition("?")
    return f"{INNER_PATH.sub('', path)}{mark}{query}"


def _warn(remote: Remote, repo: str, count: int) -> None:
    most = remote.quirks.most_tags
    if most is not None and count >= most:
        message = (
            f"{remote.host}/{repo}: this registry lists no more than some {most} tags; "
            "those beyond are not seen"
        )
        remote.warn("listing_incomplete", message)


def _names(answer: Answer, listing: Listing) -> list[object]:
    """The names of a page; `null` is an empty page."""
    try:
        refuse_bomb(answer.body, MOST_TAGS)
        found = json.loads(answer.body)[listing.key]
    except (ValueError, LookupError, TypeError, RecursionError):
        found = False
    if found is not None and not isinstance(found, list):
        raise ProtocolError(listing.subject, f"its {listing.noun} is not one")
    return found or []


def _described(name: object) -> str:
    """Say what stands where a name should, in what is no name either."""
    return f"{'...' if isinstance(name, list | dict) else json.dumps(name)} (no text)"


def _is_tag(name: str) -> bool:
    """Tell tags from what must not be used in a path, and from what is left lying about."""
    return is_tag(name) and name not in _LEFTOVERS
