"""Ask a registry for what refers to a manifest (distribution-spec "Listing Referrers").

Only the answer to the question itself tells whether there is such an API (protocol 0.8). That is
learnt once a repository: many registries have none, and each image would cost a request in vain.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import NotFound, ProtocolError, Rejected, StoreError
from imgmigrate.oci.manifest import LARGEST_MANIFEST, OCI_INDEX, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.oci.referrers import MOST_REFERRERS, listed_in
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.http.urls import LINK_HINT, next_link, next_page
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["Referrers"]

# A page has hundreds; a server that links on and on is an attack.
MOST_PAGES = 100
# How registries say that they have no such API (protocol 3.5).
_NO_API = frozenset({400, 404, 405, 501})
# Of these some speak of the path, which is the same for all images of a repository.
_NO_PATH = frozenset({404, 405, 501})
# These codes say something of the manifest, and nothing of the API; Quay says the second.
_NO_SUBJECT = frozenset({"MANIFEST_UNKNOWN", "MANIFEST_INVALID"})
# Nothing has it, and nothing refers to it.
_NOTHING = Digest.of(b"imgmigrate asks whether there is a referrers API")


class Referrers:
    """The referrers API of a registry, where it has one, by repository."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._has_api: dict[str, bool] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Why nobody could tell whether there is an API: for those who waited for the answer.
        self._failed: dict[str, StoreError] = {}

    async def are_listed(self, repo: str, digest: Digest) -> bool:
        """Tell whether a repository has the API, by a manifest that is there; asks once."""
        if repo not in self._has_api:
            await self.of(repo, digest)
        return self._has_api.get(repo, False)

    async def of(self, repo: str, digest: Digest) -> tuple[Referrer, ...]:
        """List the referrers of a manifest that is there; none where there is no API.

        A registry that fails, limits its rate or refuses us has said nothing: a StoreError.
        """
        if repo not in self._has_api:
            has_waited = self._asking[repo].locked()
            async with self._asking[repo]:
                if has_waited and repo in self._failed:
                    raise self._failed[repo]
                if repo not in self._has_api:
                    return await self._ask_first(repo, digest)
        return await self._ask(repo, digest) if self._has_api[repo] else ()

    async def _ask_first(self, repo: str, digest: Digest) -> tuple[Referrer, ...]:
        self._failed.pop(repo, None)
        try:
            return await self._ask(repo, digest)
        except StoreError as error:
            if repo not in self._has_api:
                self._failed[repo] = error
            raise

    async def _ask(self, repo: str, digest: Digest) -> tuple[Referrer, ...]:
        """Read all pages, and learn from the first whether there is such an API."""
        path, subject = f"/v2/{repo}/referrers/{digest}", f"{self._remote.host}/{repo}@{digest}"
        target, visited = path, set[str]()
        found: dict[Digest, Referrer] = {}
        while target not in visited and len(visited) < MOST_PAGES:
            is_first = not visited
            visited.add(target)
            call = Call("GET", target, subject, Access(repo), limit=LARGEST_MANIFEST)
            page: Manifest | None = None
            odd: StoreError = ProtocolError(subject, "its list of referrers is something else")
            try:
                answer = await self._remote.call(call)
                page = _read(answer, subject)
            except (NotFound, Rejected) as error:
                if error.status not in _NO_API:
                    raise
                odd = error
            if page is None:
                if is_first and await self._means_none(repo, odd):
                    return ()
                raise odd
            self._has_api[repo] = True
            # Nothing was to be left out: what filters all the same is not whole.
            if answer.header("OCI-Filters-Applied"):
                raise ProtocolError(subject, "its list of referrers is filtered unasked")
            found |= {each.descriptor.digest: each for each in _listed(page, digest, subject)}
            link = _next(answer, subject)
            if link is None:
                return tuple(found.values())
            if len(found) > MOST_REFERRERS:
                break
            target = self._followed(path, answer.url, link, subject)
        raise ProtocolError(subject, "its list of referrers does not end")

    async def _means_none(self, repo: str, odd: StoreError) -> bool:
        """Tell whether an answer that is no list means that there are no referrers.

        Where the API is known it does not. What may be about one image alone, as a proxy's refusal
        is, decides nothing of the others: a second question does.
        """
        if odd.code in _NO_SUBJECT:
            return True
        if repo not in self._has_api:
            is_plain = odd.status in _NO_PATH and odd.code in (None, "UNSUPPORTED")
            self._has_api[repo] = not is_plain and await self._lists_nothing(repo)
        return not self._has_api[repo]

    async def _lists_nothing(self, repo: str) -> bool:
        """Tell whether the API answers where nothing is to be listed."""
        subject = f"{self._remote.host}/{repo}@{_NOTHING}"
        call = Call("GET", f"/v2/{repo}/referrers/{_NOTHING}", subject, Access(repo))
        try:
            return _read(await self._remote.call(call), subject) is not None
        except (NotFound, Rejected) as error:
            if error.status not in _NO_API:
                raise
            return error.code in _NO_SUBJECT

    def _followed(self, path: str, url: str, link: str, subject: str) -> str:
        try:
            return next_page(self._remote.origin, path, url, link)
        except ValueError as error:
            raise ProtocolError(subject, f"list of referrers: {error}", hint=LINK_HINT) from None


def _read(answer: Answer, subject: str) -> Manifest | None:
    """Read a page; None if it is no index, as web servers answer anything with something.

    A list that is one and is wrong is an error: nobody may take it for an empty one.
    """
    said = (answer.header("Content-Type") or "").partition(";")[0].strip()
    if said != OCI_INDEX and b'"manifests"' not in answer.body:
        return None
    try:
        return Manifest.parse(answer.body, OCI_INDEX)
    except ValueError as error:
        raise ProtocolError(subject, f"list of referrers: {error}") from None


def _listed(page: Manifest, digest: Digest, subject: str) -> tuple[Referrer, ...]:
    try:
        return listed_in(page, digest)
    except ValueError as error:
        raise ProtocolError(subject, f"list of referrers: {error}") from None


def _next(answer: Answer, subject: str) -> str | None:
    try:
        return next_link(answer.headers("Link"))
    except ValueError as error:
        raise ProtocolError(subject, f"list of referrers: {error}") from None
