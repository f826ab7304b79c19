"""What a registry takes: uploads, mounts, manifests."""

from __future__ import annotations

import json
import secrets
from typing import Any

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.pulls import Pulls
from tests.fakes.registry.storage import Session
from tests.support.images import MANIFEST_TYPES, digest_of

# The specification asks every registry to take at least this much; most take no more.
LARGEST_MANIFEST = 4 * 1024 * 1024


class Pushes(Pulls):
    """Store what is pushed, once it is proved."""

    # What a mount gets instead of being tried: 202 opens an upload session, the rest refuse.
    mount_status: int | None = None
    # What a token must allow to cancel an upload.
    cancel_right: str = "push"
    # The Location of an upload as a whole URL rather than a path.
    absolute_locations: bool = False

    async def start_upload(self, call: Call, repo: str) -> web.StreamResponse:
        """Open an upload session, or mount a blob from another repository."""
        digest, source = call.query.get("mount"), call.query.get("from")
        needs = [(repo, "pull"), (repo, "push")]
        if digest and source:
            needs.append((source, "pull"))
        self.authorise(call, *needs)
        if digest and source:
            if self.mount_status not in (None, 202):
                raise Refusal(self.mount_status or 500, "UNSUPPORTED", "mounts are refused")
            if self.mount_status is None and self.storage.has_blob(source, digest):
                self.storage.repository(repo).blobs.add(digest)
                return self._created(repo, "blobs", digest)
        session = Session(repo, secrets.token_hex(16), "")
        self.storage.sessions[session.name] = session
        return self._accepted(session)

    async def write_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Take the next piece of an upload (PATCH)."""
        session = self._session(call, repo, name)
        place = call.request.headers.get("Content-Range")
        if place and place.partition("-")[0] != str(len(session.data)):
            raise Refusal(416, "RANGE_INVALID", headers=_progress(session))
        await self._receive(call, session)
        return self._accepted(session)

    async def commit_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Take the last piece and the digest, which must be right (PUT)."""
        session = self._session(call, repo, name)
        digest = call.query.get("digest", "")
        await self._receive(call, session)
        algorithm = digest.partition(":")[0]
        data = bytes(session.data)
        if algorithm not in ("sha256", "sha512") or digest_of(data, algorithm) != digest:
            self.storage.sessions.pop(name, None)
            raise Refusal(400, "DIGEST_INVALID", detail={"digest": digest})
        if self.storage.sessions.pop(name, None) is None:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        self.storage.add_blob(repo, data, digest)
        return self._created(repo, "blobs", digest)

    async def get_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Say how far an upload is. An old Location is good enough to ask."""
        self.authorise(call, (repo, "pull"), (repo, "push"))
        session = self.storage.sessions.get(name)
        if session is None or session.repo != repo:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return self._accepted(session, status=204)

    async def cancel_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Forget an upload (DELETE)."""
        self.authorise(call, (repo, self.cancel_right))
        if self.storage.sessions.pop(name, None) is None:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return web.Response(status=204)

    async def put_manifest(self, call: Call, repo: str, ref: str) -> web.StreamResponse:
        """Take a manifest if its digest, its type and all that it names are right."""
        self.authorise(call, (repo, "pull"), (repo, "push"))
        raw = b"".join([piece async for piece in self.read_body(call)])
        if len(raw) > LARGEST_MANIFEST:
            raise Refusal(413, "MANIFEST_INVALID", "the manifest is too large")
        if ":" in ref and digest_of(raw, ref.partition(":")[0]) != ref:
            raise Refusal(400, "DIGEST_INVALID", detail={"digest": ref})
        media_type = call.request.headers.get("Content-Type", "")
        document = _document(raw, media_type)
        missing = self.missing(repo, document)
        if missing:
            detail = [{"digest": digest} for digest in missing]
            raise Refusal(400, "MANIFEST_BLOB_UNKNOWN", detail=detail)
        digest = self.storage.add_manifest(repo, ref, media_type, raw)
        stored = self.storage.repository(repo).manifests[digest]
        return self._created(repo, "manifests", self.reported_digest(digest, stored))

    def missing(self, repo: str, document: dict[str, Any]) -> list[str]:
        """List what a manifest names and the repository lacks; a subject may be missing."""
        found = self.storage.repository(repo)
        named = [entry["digest"] for entry in _entries(document)]
        return [each for each in named if each not in found.blobs and each not in found.manifests]

    def interrupted(self, session: Session) -> None:
        """Decide what becomes of a session whose request body broke off; it is kept."""

    async def _receive(self, call: Call, session: Session) -> None:
        try:
            with self.busy("write"):
                async for piece in self.read_body(call):
                    session.data += piece
        except BaseException:
            self.interrupted(session)
            raise

    def _session(self, call: Call, repo: str, name: str) -> Session:
        self.authorise(call, (repo, "pull"), (repo, "push"))
        session = self.storage.sessions.get(name)
        sent = f"{call.raw_query}&"
        if session is None or session.repo != repo or f"_state={session.state}&" not in sent:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload, or a stale Location")
        return session

    def _accepted(self, session: Session, status: int = 202) -> web.Response:
        session.renew()
        root = self.url if self.absolute_locations else ""
        target = f"/v2/{session.repo}/blobs/uploads/{session.name}?_state={session.state}"
        headers = {
            "Location": root + target,
            "Docker-Upload-Uuid": session.name,
            **_progress(session),
        }
        return web.Response(status=status, headers=headers)

    def _created(self, repo: str, kind: str, digest: str) -> web.Response:
        root = self.url if self.absolute_locations else ""
        location = f"{root}/v2/{repo}/{kind}/{digest}"
        headers = {"Location": location, "Docker-Content-Digest": digest}
        return web.Response(status=201, headers=headers)


def _progress(session: Session) -> dict[str, str]:
    # "0-0" means nothing or one byte: every real registry has this ambiguity.
    return {"Range": f"0-{max(0, len(session.data) - 1)}"}


def _document(raw: bytes, media_type: str) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise Refusal(400, "MANIFEST_INVALID", str(error)) from None
    if not isinstance(document, dict) or media_type not in MANIFEST_TYPES:
        raise Refusal(400, "MANIFEST_INVALID", f"{media_type!r} is not a manifest type")
    if document.get("mediaType", media_type) != media_type:
        raise Refusal(400, "MANIFEST_INVALID", "mediaType differs from Content-Type")
    return document


def _entries(document: dict[str, Any]) -> list[dict[str, Any]]:
    config = [document["config"]] if "config" in document else []
    entries = [*config, *document.get("layers", []), *document.get("manifests", [])]
    return [entry for entry in entries if not entry.get("urls")]
