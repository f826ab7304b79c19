"""Docker Hub: metered pulls, a token server on a host of its own, names of two parts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Self

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal, make_call
from tests.fakes.registry.server import FakeRegistry
from tests.fakes.registry.vendor_lists import cut

if TYPE_CHECKING:
    from tests.fakes.registry.access import User

_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*/[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
# docs.docker.com/docker-hub/usage: per six hours.
WINDOW = 21600
HUB_TOKEN = "token-of-the-hub-api-1"
_NAMESPACE = re.compile(r"/v2/namespaces/([a-z0-9_-]+)/repositories")


class DockerHub(FakeRegistry):
    """hub.docker.com as pulls and pushes meet it."""

    vendor_host = "docker.io"
    scheme = "token"
    service = "registry.docker.io"
    namespaces = frozenset({"library", "robot", "team"})
    # 401 with a pull-only token, whether the repository is absent or private (protocol 3.1).
    hides_absent = True
    catalog_status = 401
    redirect_status = 307
    # A layer of some 100 MB in one PUT is "400 Bad Request", while smaller ones pass
    # (atlanhq/application-sdk#2020); the limit is not documented.
    whole_put_status = 400
    largest_whole_put = 64 * 1024 * 1024
    # What `ratelimit-limit` says, and how much of it is left; None: not limited, no headers.
    pulls_allowed = 200
    pulls_left: int | None = 200
    # So many repositories are counted and not listed.
    hidden = 0

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.auth_host = await self._listen(0, self._serve_tokens)
        return self

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer the Hub API too, which is at hub.docker.com; private ones need its own token."""
        if call.path == "/v2/auth/token":
            login = json.loads(b"".join([piece async for piece in self.read_body(call)]))
            if login != {"identifier": self.user.name, "secret": self.user.password}:
                raise Refusal(401, "UNAUTHORIZED", "wrong credentials")
            return web.json_response({"access_token": HUB_TOKEN})
        found = _NAMESPACE.fullmatch(call.path)
        if found is None:
            return await super().answer(call)
        is_owner = call.request.headers.get("Authorization") == f"Bearer {HUB_TOKEN}"
        names = [
            {"name": name.partition("/")[2]}
            for name in sorted(self.storage.repositories)
            if name.startswith(f"{found[1]}/") and (is_owner or self._may(None, name, "pull"))
        ]
        page, link = cut(call, names, "page_size")
        following = f"{self.url}{link}" if link else None
        count = len(names) + self.hidden
        return web.json_response({"count": count, "next": following, "results": page})

    def realm(self) -> str:
        """Tokens come from another host: auth.docker.io."""
        return f"http://{self.auth_host}/token"

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Fail for names that it does not like (ggcr#1679); foreign namespaces grant nothing."""
        if not _NAME.fullmatch(repo):
            raise Refusal(400, "NAME_INVALID", f"invalid repository name {repo}")
        return super().granted(user, repo, asked) if self.has_namespace(repo) else set()

    async def get_manifest(self, call: Call, repo: str, ref: str) -> web.StreamResponse:
        """Count a GET as a pull, a HEAD not; say in headers what is left (protocol 3.7)."""
        if call.method == "GET" and self.pulls_left is not None and self.pulls_left <= 0:
            link = "https://www.docker.com/increase-rate-limits"
            message = f"You have reached your pull rate limit. {link}"
            raise Refusal(429, "TOOMANYREQUESTS", message, headers=self._limits())
        response = await super().get_manifest(call, repo, ref)
        if call.method == "GET" and self.pulls_left is not None:
            self.pulls_left -= 1
        response.headers.update(self._limits())
        return response

    def _limits(self) -> dict[str, str]:
        if self.pulls_left is None:
            return {}
        return {
            "ratelimit-limit": f"{self.pulls_allowed};w={WINDOW}",
            "ratelimit-remaining": f"{self.pulls_left};w={WINDOW}",
            "docker-ratelimit-source": "00000000-0000-0000-0000-000000000000",
        }

    async def _serve_tokens(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._logged(make_call(0, request), self.issue_token)
