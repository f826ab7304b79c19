"""Quay: storage redirects, a hundred tags a page, an upload Range that is off by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from tests.fakes.registry.access import User
    from tests.fakes.registry.storage import Session


class Quay(FakeRegistry):
    """quay.io, and Quay of one's own."""

    vendor_host = "quay.io"
    scheme = "token"
    token_path = "/v2/auth"
    # The organisation must exist; a repository in it comes with the first push (protocol 3.6).
    namespaces = frozenset({"team"})
    hides_absent = True
    # At most a hundred names a page, whatever `n` (protocol 2.2).
    page_size = 100
    redirect_status = 302
    single_post = True
    # The scope `registry:catalog:*` breaks the token, too (protocol 1.3).
    catalog_status = 401
    # Manifests may be answered 202 (harbor#10455).
    taken_status = 202
    referrers_api = True
    says_subject = False
    referrers_unknown = 400

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer the API v1 too; private repositories are shown to an OAuth token alone."""
        if call.path != "/api/v1/repository":
            return await super().answer(call)
        is_owner = call.request.headers.get("Authorization") == f"Bearer {self.user.password}"
        names = [
            name
            for name in sorted(self.storage.repositories)
            if name.partition("/")[0] == call.query["namespace"]
            and (is_owner or self._may(None, name, "pull"))
        ]
        start = int(call.query.get("next_page", "0"))
        repositories = []
        for name in names[start : start + 100]:
            namespace, _, rest = name.partition("/")
            repositories.append({"namespace": namespace, "name": rest, "kind": "image"})
        document: dict[str, object] = {"repositories": repositories}
        if start + 100 < len(names):
            document["next_page"] = str(start + 100)
        return web.json_response(document)

    # quay/quay: endpoints/v2/manifest.py.
    delete_right = "push"

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Asking for `delete` makes the token worthless (containers/image)."""
        if "delete" in asked or not self.has_namespace(repo):
            return set()
        return super().granted(user, repo, asked)

    def mounted(self, call: Call, repo: str, digest: str, source: str | None) -> bool:
        """Refuse a mount that does not say from where (kaniko#1177)."""
        if source is None:
            raise Refusal(400, "INVALID_REQUEST", "from is missing")
        return super().mounted(call, repo, digest, source)

    def progress(self, session: Session) -> dict[str, str]:
        """Count to one too many, and to -1 at the beginning (protocol 3.2)."""
        end = len(session.data) if session.pieces else len(session.data) - 1
        return {"Range": f"bytes=0-{end}"}

    async def get_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Say how far an upload is, but not where it goes on (protocol 3.2)."""
        response = await super().get_upload(call, repo, name)
        del response.headers["Location"]
        return response

    def immutable_tag(self, repo: str, tag: str) -> Refusal:
        """Say that a tag may not be moved (protocol 3.6)."""
        return Refusal(409, "TAG_IMMUTABLE", f"tag {tag} is immutable")
