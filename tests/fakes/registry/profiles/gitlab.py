"""GitLab's container registry: tokens from GitLab itself, projects that must exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry
from tests.fakes.registry.vendor_lists import numbered_page

if TYPE_CHECKING:
    from aiohttp import web

    from tests.fakes.registry.access import User
    from tests.fakes.registry.storage import FakeRepository


_LIST = re.compile(r"/api/v4/(groups|projects)/(.+)/registry/repositories")


class GitLab(FakeRegistry):
    """registry.gitlab.com, and GitLab of one's own."""

    vendor_host = "registry.gitlab.com"
    scheme = "token"
    # protocol 1.5.
    token_path = "/jwt/auth"
    service = "container_registry"
    # GROUP/PROJECT must exist, images may be one or two levels below it (protocol 3.6).
    namespaces = frozenset({"team/tools"})
    absolute_locations = True
    page_size = 1000
    default_page = 100

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer the API v4 too: a group lists what is in all its projects."""
        found = _LIST.fullmatch(call.path)
        if found is None:
            return await super().answer(call)
        if call.request.headers.get("Authorization") != f"Bearer {self.user.password}":
            raise Refusal(401, "UNAUTHORIZED", "401 Unauthorized")
        groups = {name.partition("/")[0] for name in self.namespaces or ()}
        places = groups if found[1] == "groups" else self.namespaces or ()
        if found[2] not in places:
            raise Refusal(404, "NOT_FOUND", "404 Not Found")
        names = [
            {"path": name}
            for name in sorted(self.storage.repositories)
            if name == found[2] or name.startswith(f"{found[2]}/")
        ]
        return numbered_page(call, names, "per_page")

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Grant nothing outside of a project."""
        return super().granted(user, repo, asked) if self.has_namespace(repo) else set()

    def resolve(self, found: FakeRepository, ref: str) -> str | None:
        """Take `sha256-<hex>` for the digest, and so the image for its referrers (oras#2148)."""
        digest = super().resolve(found, ref)
        if digest is None and ref.startswith("sha256-"):
            return super().resolve(found, ref.replace("-", ":", 1))
        return digest
