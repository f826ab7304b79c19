"""GHCR: PATCH bodies of at most 4 MiB, and several of them make one broken blob."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.registry.server import FakeRegistry
from tests.fakes.registry.vendor_lists import cut

if TYPE_CHECKING:
    from tests.fakes.registry.calls import Call
    from tests.fakes.registry.storage import Session

_OWNER = re.compile(r"/(orgs|users)/([A-Za-z0-9-]+)/packages")


class Ghcr(FakeRegistry):
    """ghcr.io."""

    vendor_host = "ghcr.io"
    scheme = "token"
    service = "ghcr.io"
    # What a reader may not see is denied, whether it is there or not (protocol 3.1).
    hides_absent = True
    lacking_status = 403
    # A hundred names a page unless `n` asks for more, up to some cap (protocol 2.2).
    default_page = 100
    page_size = 1000
    # Neither a catalog nor DELETE is offered (protocol 2.2).
    catalog_status = 404
    deletes = False
    redirect_status = 307
    # 416 "exceeds the maximum permissible limit of 4.00MiB" (protocol 3.3).
    largest_patch = 4 * 1024 * 1024
    # The Location is a path, not a URL (swift-container-plugin#44).
    absolute_locations = False
    # Owners that are people: an organization of that name is 404.
    people: frozenset[str] = frozenset()
    # What GitHub answers a token that may not list; None: it may.
    list_refusal: tuple[int, str] | None = None

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer GitHub's API too, which is at api.github.com, to a token alone."""
        found = _OWNER.fullmatch(call.path)
        if found is None:
            return await super().answer(call)
        if call.request.headers.get("Authorization") != f"Bearer {self.user.password}":
            return _refusal(401, "Requires authentication")
        if self.list_refusal is not None:
            return _refusal(*self.list_refusal)
        if call.query.get("package_type") != "container":
            return _refusal(400, "Package type is missing")
        kind, owner = found.groups()
        names = [
            {"name": name.partition("/")[2], "package_type": "container"}
            for name in sorted(self.storage.repositories)
            if name.startswith(f"{owner}/")
        ]
        if not names or (kind == "users") != (owner in self.people):
            return _refusal(404, "Not Found")
        page, link = cut(call, names, "per_page")
        headers = {}
        if link:
            headers["Link"] = f'<{self.url}{link}&package_type=container>; rel="next"'
        return web.json_response(page, headers=headers)

    def begin_piece(self, session: Session) -> None:
        """Let the last PATCH win (protocol 3.3)."""
        session.data.clear()

    def verifies(self, session: Session) -> bool:
        """Take what several PATCH requests have corrupted without a word."""
        return len(session.pieces) <= 1


def _refusal(status: int, message: str) -> web.Response:
    """Say no as GitHub's API words it."""
    link = "https://docs.github.com/rest/packages/packages"
    document = {"message": message, "documentation_url": link, "status": str(status)}
    return web.json_response(document, status=status)
