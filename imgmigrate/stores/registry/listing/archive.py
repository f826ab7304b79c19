"""Tell what is archived from what is absent, where a registry answers 404 to both.

ECR lists archived images and gives them to nobody; no answer says why (docs.aws.amazon.com:
AmazonECR, "Archiving an image"). Its tags belong to images, so one that is listed and not to be
had is archived. Taken for absent it would be overwritten at a destination, and silently left
out at a source.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import AccessDenied, Archived, NotFound
from imgmigrate.stores.registry.listing.pages import list_tags

if TYPE_CHECKING:
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["Archive"]


class Archive:
    """The tags of a registry's repositories, each listed once for all that is asked about it.

    A list that is older than the question may name what was deleted since: before it is held
    against a tag it is read again.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._tags: dict[str, frozenset[str]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def check(self, repo: str, ref: str) -> None:
        """Raise Archived if a tag that cannot be read is listed; a digest is in no list."""
        if ":" in ref:
            return
        async with self._locks[repo]:
            if repo not in self._tags or ref in self._tags[repo]:
                self._tags[repo] = await self._list(repo)
            if ref not in self._tags[repo]:
                return
        hint = f"{self._remote.quirks.restoring}, or leave it out"
        cause = "its repository lists the tag and does not give it: it is archived"
        raise Archived(f"{self._remote.host}/{repo}:{ref}", cause, hint=hint, status=404)

    async def _list(self, repo: str) -> frozenset[str]:
        try:
            return frozenset(await list_tags(self._remote, repo))
        except (NotFound, AccessDenied):  # it is not there yet, or nobody can tell
            return frozenset()
