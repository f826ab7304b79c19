"""What a registry serves: manifests, blobs, referrers; and the storage host beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.listing import Listing
from tests.support.images import OCI_INDEX, digest_of, parse

if TYPE_CHECKING:
    from tests.fakes.registry.storage import FakeRepository, StoredManifest
    from tests.support.images import Document


class Pulls(Listing):
    """Serve what is stored."""

    # Blobs are served by the storage host: 302 or 307 to a signed URL.
    redirect_status: int | None = None
    # The referrers API of distribution-spec 1.1; distribution itself has none.
    referrers_api: bool = False
    # What asking for the referrers of something that is not there gets: an empty list, or this.
    referrers_unknown: int | None = None
    # So many bytes more has a manifest by HEAD than by GET.
    head_padding: int = 0
    # What the HEAD of a manifest that is not there gets instead of 404, as GET does.
    absent_head: tuple[int, str] | None = None

    async def get_manifest(self, call: Call, repo: str, ref: str) -> web.StreamResponse:
        """Serve a manifest, or with HEAD describe it."""
        self.authorise(call, (repo, "pull"))
        found = self.storage.repositories.get(repo)
        if found is None:
            raise self._absent(call, self.unknown_repository(repo))
        digest = self.resolve(found, ref)
        if digest is None:
            raise self._absent(call, self.unknown_manifest(repo, ref))
        stored = found.manifests[digest]
        self.check_accept(call, stored)
        if call.request.headers.get("If-None-Match") == f'"{digest}"':
            return web.Response(status=304)
        headers = {
            "Content-Type": stored.media_type,
            "Docker-Content-Digest": self.reported_digest(digest, stored),
            "ETag": f'"{digest}"',
        }
        padding = b"." * self.head_padding if call.method == "HEAD" else b""
        return web.Response(body=stored.raw + padding, headers=headers)

    def resolve(self, found: FakeRepository, ref: str) -> str | None:
        """Find the digest of a tag or digest."""
        return found.resolve(ref)

    def unknown_manifest(self, repo: str, ref: str) -> Refusal:
        """Say that a tag or manifest is not there."""
        return Refusal(404, "MANIFEST_UNKNOWN", detail={"name": repo, "reference": ref})

    def _absent(self, call: Call, refusal: Refusal) -> Refusal:
        if call.method == "GET" or self.absent_head is None:
            return refusal
        return Refusal(*self.absent_head)

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
            target = (
                f"{scheme}://{self.cdn_host}/storage/blobs/{digest}?sig={self.storage.signature}"
            )
            return web.Response(status=self.redirect_status, headers={"Location": target})
        return await self.send_blob(call, data, headers)

    async def get_referrers(self, call: Call, repo: str, digest: str) -> web.StreamResponse:
        """List the manifests whose subject is `digest`, as an index."""
        self.authorise(call, (repo, "pull"))
        if not self.referrers_api:
            raise Refusal(404, "UNSUPPORTED", "404 page not found")
        found = self.storage.repositories.get(repo)
        if found is None:
            raise self.unknown_repository(repo)
        if self.referrers_unknown and digest not in found.manifests:
            raise Refusal(self.referrers_unknown, "MANIFEST_INVALID", "there is no such subject")
        listed = (_referrer(stored) for stored in found.manifests.values())
        entries = [each[1] for each in listed if each is not None and each[0] == digest]
        headers = {"Content-Type": OCI_INDEX}
        wanted = call.query.get("artifactType")
        if wanted:
            entries = [entry for entry in entries if entry["artifactType"] == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return web.Response(body=json.dumps(document).encode(), headers=headers)

    async def answer_cdn(self, call: Call) -> web.StreamResponse:
        """Serve a blob to whoever brings the signature, and nothing else."""
        digest = call.path.removeprefix("/storage/blobs/")
        if call.raw_query != f"sig={self.storage.signature}":
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


def _referrer(stored: StoredManifest) -> tuple[str, Document] | None:
    """The subject of a manifest and how the referrers API lists it; None without a subject."""
    document = parse(stored.raw)
    subject = document.get("subject")
    if subject is None:
        return None
    kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
    entry: Document = {
        "mediaType": stored.media_type,
        "digest": digest_of(stored.raw),
        "size": len(stored.raw),
        "artifactType": kind,
    }
    if "annotations" in document:
        entry["annotations"] = document["annotations"]
    return subject["digest"], entry
