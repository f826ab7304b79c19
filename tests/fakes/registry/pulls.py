"""What a registry serves: tags, the catalog, manifests, blobs; and the storage host beside it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.registry.access import Access, Scheme, User
from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.storage import Storage, StoredManifest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from pathlib import Path


class Pulls(Access):
    """Serve what is stored."""

    # Most names on a page of tags or repositories; None: everything at once, unless `n` asks.
    page_size: int | None = None
    # `Link` as a whole URL rather than a path.
    absolute_links: bool = False
    # Blobs are served by the storage host: 302 or 307 to a signed URL.
    redirect_status: int | None = None

    def __init__(
        self,
        *,
        auth: Scheme = "none",
        users: Iterable[User] = (),
        tls: ssl.SSLContext | None = None,
        log: Path | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(auth=auth, users=users, tls=tls, log=log, port=port)
        self.storage = Storage()
        # Needs its escapes: whoever re-quotes a redirect gets 403, as from S3.
        self._signature = f"a%2Fb%2B{secrets.token_hex(8)}%3D"

    async def get_root(self, call: Call) -> web.StreamResponse:
        """Answer `GET /v2/`."""
        self.authorise(call)
        return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})

    async def get_catalog(self, call: Call) -> web.StreamResponse:
        """List the repositories."""
        self.authorise(call)
        names, link = self._page(call, sorted(self.storage.repositories))
        return web.json_response({"repositories": names}, headers=link)

    async def get_tags(self, call: Call, repo: str) -> web.StreamResponse:
        """List the tags of a repository."""
        self.authorise(call, (repo, "pull"))
        found = self.storage.repositories.get(repo)
        if found is None:
            raise Refusal(404, "NAME_UNKNOWN", detail={"name": repo})
        names, link = self._page(call, sorted(found.tags))
        return web.json_response({"name": repo, "tags": names}, headers=link)

    async def get_manifest(self, call: Call, repo: str, ref: str) -> web.StreamResponse:
        """Serve a manifest, or with HEAD describe it."""
        self.authorise(call, (repo, "pull"))
        found = self.storage.repositories.get(repo)
        digest = found.resolve(ref) if found else None
        if found is None or digest is None:
            code = "MANIFEST_UNKNOWN" if found else "NAME_UNKNOWN"
            raise Refusal(404, code, detail={"name": repo, "reference": ref})
        stored = found.manifests[digest]
        self.check_accept(call, stored)
        if call.request.headers.get("If-None-Match") == f'"{digest}"':
            return web.Response(status=304)
        headers = {
            "Content-Type": stored.media_type,
            "Docker-Content-Digest": self.reported_digest(digest, stored),
            "ETag": f'"{digest}"',
        }
        return web.Response(body=stored.raw, headers=headers)

    async def get_blob(self, call: Call, repo: str, digest: str) -> web.StreamResponse:
        """Serve a blob or send the client to the storage host; with HEAD describe it."""
        self.authorise(call, (repo, "pull"))
        if not self.storage.has_blob(repo, digest):
            raise Refusal(404, "BLOB_UNKNOWN", detail=digest)
        data = self.storage.blobs[digest]
        headers = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        if call.method == "HEAD":
            headers["Content-Type"] = "application/octet-stream"
            return web.Response(headers=headers, body=data)
        if self.redirect_status:
            scheme = "https" if self._tls else "http"
            target = f"{scheme}://{self.cdn_host}/storage/blobs/{digest}?sig={self._signature}"
            return web.Response(status=self.redirect_status, headers={"Location": target})
        return await self.send_blob(call, data, headers)

    async def answer_cdn(self, call: Call) -> web.StreamResponse:
        """Serve a blob to whoever brings the signature, and nothing else."""
        digest = call.path.removeprefix("/storage/blobs/")
        if call.raw_query != f"sig={self._signature}":
            raise Refusal(403, "SignatureDoesNotMatch")
        if "Authorization" in call.request.headers or call.method != "GET":
            raise Refusal(400, "InvalidArgument", "only one auth mechanism allowed")
        return await self.send_blob(call, self.storage.blobs[digest], {})

    def check_accept(self, call: Call, stored: StoredManifest) -> None:
        """Refuse to serve a type that was not accepted, as distribution does."""
        accepted = ",".join(call.request.headers.getall("Accept", ["*/*"]))
        types = {each.partition(";")[0].strip() for each in accepted.split(",")}
        if not types & {stored.media_type, "*/*", "application/*"}:
            raise Refusal(404, "MANIFEST_UNKNOWN", f"{stored.media_type} is not accepted")

    def reported_digest(self, digest: str, stored: StoredManifest) -> str:
        """Say what the `Docker-Content-Digest` header of a manifest is."""
        return digest

    def _page(self, call: Call, names: list[str]) -> tuple[list[str], dict[str, str]]:
        size = self.page_size
        if call.query.get("n", "").isdigit():
            asked = int(call.query["n"])
            size = asked if size is None else min(asked, size)
        names = [name for name in names if name > call.query.get("last", "")]
        if size is None or len(names) <= size:
            return names, {}
        root = self.url if self.absolute_links else ""
        target = f"{root}{call.path}?n={size}&last={names[size - 1]}"
        return names[:size], {"Link": f'<{target}>; rel="next"'}
