"""Harbor: projects that must exist, 401 for much, Basic challenges after Bearer tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.fakes.registry.access import User
from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry
from tests.fakes.registry.vendor_lists import numbered_page

if TYPE_CHECKING:
    from aiohttp import web

BASIC = {"WWW-Authenticate": 'Basic realm="harbor"'}
_PROJECT = re.compile(r"/api/v2\.0/projects/([a-z0-9._-]+)/repositories")


class Harbor(FakeRegistry):
    """Harbor 2.x in front of a distribution of its own."""

    scheme = "token"
    user = User("robot$mover", "Secret-of-the-Robot-1")
    token_path = "/service/token"
    service = "harbor-registry"
    # Projects: nothing is created above a repository (protocol 3.3).
    namespaces = frozenset({"team"})
    # `_catalog` is Basic only, and for administrators (protocol 1.1).
    catalog_status = 401
    referrers_api = True
    # Another length on HEAD than on GET, as compression has it (protocol 2.1).
    head_padding = 6
    # Projects that are proxy caches of another registry.
    proxies: frozenset[str] = frozenset()

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer the API v2.0 too, to Basic credentials alone; nobody else sees a project."""
        if not call.path.startswith("/api/v2.0/projects"):
            return await super().answer(call)
        is_known = self._user(call) is not None
        names = sorted(self.storage.repositories) if is_known else []
        found = _PROJECT.fullmatch(call.path)
        if found is None:
            projects = [
                {"name": name, "registry_id": 1 if name in self.proxies else None}
                for name in sorted({name.partition("/")[0] for name in names})
            ]
            return numbered_page(call, projects, "page_size")
        inside = [{"name": name} for name in names if name.startswith(f"{found[1]}/")]
        if not inside:
            raise Refusal(403, "FORBIDDEN", f"project {found[1]}")
        return numbered_page(call, inside, "page_size")

    def challenge(
        self, call: Call, needs: tuple[tuple[str, str], ...], error: str | None
    ) -> dict[str, str]:
        """Challenge with Basic once an Authorization was sent (protocol 1.1)."""
        if "Authorization" in call.request.headers:
            return BASIC
        return super().challenge(call, needs, error)

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Grant nothing in a project that is not there."""
        return super().granted(user, repo, asked) if self.has_namespace(repo) else set()

    def mounted(self, call: Call, repo: str, digest: str, source: str | None) -> bool:
        """Answer 401 to a mount from a project that is not there (harbor#17097)."""
        if source and not self.has_namespace(source):
            raise Refusal(401, "UNAUTHORIZED", f"project of {source} not found", headers=BASIC)
        return super().mounted(call, repo, digest, source)

    def place_of(self, names: list[str], cursor: str) -> int:
        """Insist on a `last` that is one of the names (protocol 2.2)."""
        if cursor not in names:
            raise Refusal(400, "BAD_REQUEST", "the last is invalid")
        return super().place_of(names, cursor)

    def immutable_tag(self, repo: str, tag: str) -> Refusal:
        """Say that a tag may not be moved (protocol 3.6)."""
        message = f"Failed to process request due to '{repo}:{tag}' configured as immutable."
        return Refusal(412, "PRECONDITION", message)
