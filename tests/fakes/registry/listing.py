"""What a registry lists: tags and repositories, in pages as each vendor cuts them."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from tests.fakes.registry.access import Access, Scheme, User
from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.storage import FakeRepository, Storage

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from pathlib import Path


class Listing(Access):
    """List what is stored."""

    # Most names on a page of tags or repositories; None: everything at once, unless `n` asks.
    page_size: int | None = None
    # `n` is heeded for tags; otherwise all of them come at once, without a Link.
    pages_tags: bool = True
    # Names on a page if the client does not ask for a number; None: as many as fit.
    default_page: int | None = None
    # A larger `n` than this is refused with this answer; None: any is taken.
    largest_n: int | None = None
    n_refused: tuple[int, str] = (400, "PAGINATION_NUMBER_INVALID")
    # `Link` as a whole URL rather than a path.
    absolute_links: bool = False
    # What `_catalog` gets where it is not offered.
    catalog_status: int | None = None
    # A token to pull alone is good for nothing in a repository that is not there.
    hides_absent: bool = False

    def __init__(
        self,
        *,
        auth: Scheme | None = None,
        users: Iterable[User] = (),
        tls: ssl.SSLContext | None = None,
        log: Path | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(auth=auth, users=users, tls=tls, log=log, port=port)
        self.storage = Storage()

    async def get_root(self, call: Call) -> web.StreamResponse:
        """Answer `GET /v2/`."""
        self.authorise(call)
        return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})

    async def get_catalog(self, call: Call) -> web.StreamResponse:
        """List the repositories."""
        self.authorise(call)
        if self.catalog_status:
            raise Refusal(self.catalog_status, "UNSUPPORTED", "the catalog is not offered")
        names, link = self._page(call, sorted(self.storage.repositories))
        return web.json_response({"repositories": names}, headers=link)

    async def get_tags(self, call: Call, repo: str) -> web.StreamResponse:
        """List the tags of a repository."""
        self.authorise(call, (repo, "pull"))
        found = self.storage.repositories.get(repo)
        if found is None:
            raise self.unknown_repository(repo)
        names, link = self._page(call, self.tag_names(found))
        return web.json_response({"name": repo, "tags": self.shown_tags(names)}, headers=link)

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Say which of the actions of a scope a token will hold."""
        if self.hides_absent and repo not in self.storage.repositories and "push" not in asked:
            return set()
        return super().granted(user, repo, asked)

    def unknown_repository(self, repo: str) -> Refusal:
        """Say that a repository is not there."""
        return Refusal(404, "NAME_UNKNOWN", detail={"name": repo})

    def tag_names(self, found: FakeRepository) -> list[str]:
        """What is listed as tags, in order."""
        return sorted(found.tags)

    def shown_tags(self, names: list[str]) -> list[Any] | None:
        """What a page of tags looks like in the answer."""
        return list(names)

    def place_of(self, names: list[str], cursor: str) -> int:
        """Find where the page after a cursor begins; by default the cursor is a name."""
        return bisect_right(names, cursor)

    def cursor(self, names: list[str], end: int) -> str:
        """Name the end of a page, for the next request's `last`."""
        return names[end - 1]

    def continues(self, names: list[str], start: int, end: int) -> bool:
        """Tell whether a page is followed by another."""
        return end < len(names)

    def link_path(self, path: str) -> str:
        """The path of the next page."""
        return path

    def page_length(self, call: Call) -> int | None:
        """How many names the page may have."""
        asked = call.query.get("n", "")
        if not self.pages_tags and call.path.endswith("/tags/list"):
            return None
        if not asked.isdigit():
            return self.default_page or self.page_size
        if self.largest_n is not None and int(asked) > self.largest_n:
            raise Refusal(*self.n_refused, f"n is larger than {self.largest_n}")
        return int(asked) if self.page_size is None else min(int(asked), self.page_size)

    def _page(self, call: Call, names: list[str]) -> tuple[list[str], dict[str, str]]:
        size = self.page_length(call)
        last = call.query.get("last")
        start = self.place_of(names, last) if last else 0
        end = len(names) if size is None else start + size
        page = names[start:end]
        if size is None or not self.continues(names, start, end):
            return page, {}
        root = self.url if self.absolute_links else ""
        cursor = quote(self.cursor(names, min(end, len(names))), safe="")
        target = f"{root}{self.link_path(call.path)}?n={size}&last={cursor}"
        return page, {"Link": f'<{target}>; rel="next"'}
