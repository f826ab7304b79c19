"""List the tags of a repository: every page, or an error.

Pages are followed by `Link` alone, verbatim and at the registry's own origin only; what it
means by its cursor is its own business (protocol 2.2).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from imgmigrate.errors import NotFound, ProtocolError
from imgmigrate.oci.reference import is_tag
from imgmigrate.stores.registry.auth import Access
from imgmigrate.stores.registry.http.limits import TAGS_BODY
from imgmigrate.stores.registry.http.urls import next_link, same_origin
from imgmigrate.stores.registry.remote import Call

if TYPE_CHECKING:
    from imgmigrate.stores.registry.http.session import Answer
    from imgmigrate.stores.registry.remote import Remote

__all__ = ["list_tags"]

# ECR answers 405 above 1000; every other registry clamps by itself.
TAGS_PAGE_SIZE = 1000
# A million tags at Quay's hundred a page; a server that links on and on is an attack.
MOST_PAGES = 10_000
# zot forgets where it was if the last tag of a page is deleted meanwhile (protocol 2.2).
MOST_WALKS = 3
# What old versions of distribution leave among the tags.
_NOT_TAGS = frozenset({"_uploads"})


async def list_tags(remote: Remote, repo: str) -> list[str]:
    """List every tag, each once, in the registry's order; NotFound if it has no such repository."""
    for _ in range(MOST_WALKS - 1):
        tags = await _walk(remote, repo)
        if tags is not None:
            return tags
    tags = await _walk(remote, repo)
    if tags is None:
        raise ProtocolError(f"{remote.host}/{repo}", "its tag list ends before its last page")
    return tags


async def _walk(remote: Remote, repo: str) -> list[str] | None:
    """All pages; None if a later one was not found."""
    subject = f"{remote.host}/{repo}"
    target = f"/v2/{repo}/tags/list?n={TAGS_PAGE_SIZE}"
    tags: dict[str, None] = {}
    visited: set[str] = set()
    while target not in visited and len(visited) < MOST_PAGES:
        visited.add(target)
        call = Call("GET", target, subject, Access(repo), limit=TAGS_BODY)
        try:
            answer = await remote.call(call)
        except NotFound:
            if len(visited) == 1:
                raise
            return None
        tags |= dict.fromkeys(_tags(answer, subject))
        link = next_link(answer.headers("Link"))
        if link is None:
            return list(tags)
        target = remote.resolve(subject, answer.url, link)
        if not same_origin(target, remote.origin):
            raise ProtocolError(subject, "its tag list continues at another host")
    raise ProtocolError(subject, "its tag list does not end")


def _tags(answer: Answer, subject: str) -> list[str]:
    """The valid names of a page; `null` is an empty page."""
    try:
        found = json.loads(answer.body)["tags"]
    except (ValueError, LookupError, TypeError, RecursionError):
        found = False
    if found is not None and not isinstance(found, list):
        raise ProtocolError(subject, "its tag list is not one")
    return [
        tag for tag in found or () if isinstance(tag, str) and is_tag(tag) and tag not in _NOT_TAGS
    ]
