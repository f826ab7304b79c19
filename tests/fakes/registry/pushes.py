"""What a registry takes of manifests: stored once proved, and deleted where that is offered."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.uploads import Uploads
from tests.support.images import MANIFEST_TYPES, digest_of

# The specification asks every registry to take at least this much; most take no more.
LARGEST_MANIFEST = 4 * 1024 * 1024


class Pushes(Uploads):
    """Store manifests whose digest, type and parts are right."""

    # What a manifest that is taken gets; some say 202.
    taken_status: int = 201
    # What a manifest gets whose parts are missing, and one that is too large.
    missing_answer: tuple[int, str] = (400, "MANIFEST_BLOB_UNKNOWN")
    too_large_answer: tuple[int, str] = (413, "MANIFEST_INVALID")
    # Globs of tags that may not be moved once they are there; with `immutable_same` not even
    # to what they show already.
    immutable: tuple[str, ...] = ()
    immutable_same: bool = False
    # Says with `OCI-Subject` that it has understood a subject, if it has the referrers API.
    says_subject: bool = True
    # Manifests, and tags alone, can be deleted.
    deletes: bool = True
    deletes_tags: bool = True
    tag_delete_refused: tuple[int, str] = (405, "UNSUPPORTED")
    # The right that deleting needs.
    delete_right: str = "delete"
    # A tag takes its manifest along, and with that all its other tags.
    tag_takes_manifest: bool = False
    # A manifest is not deleted while a tag names it; the code that says so.
    tagged_stay: str | None = None

    async def put_manifest(self, call: Call, repo: str, ref: str) -> web.StreamResponse:
        """Take a manifest if its digest, its type and all that it names are right."""
        self.authorise(call, (repo, "pull"), (repo, "push"))
        raw = b"".join([piece async for piece in self.read_body(call)])
        self.check_place(call, repo)
        if len(raw) > LARGEST_MANIFEST:
            raise Refusal(*self.too_large_answer, "the manifest is too large")
        if ":" in ref and digest_of(raw, ref.partition(":")[0]) != ref:
            raise Refusal(400, "DIGEST_INVALID", detail={"digest": ref})
        media_type = call.request.headers.get("Content-Type", "")
        document = _document(raw, media_type)
        self.check_manifest(repo, ref, media_type, document)
        missing = self.missing(repo, document)
        if missing:
            detail = [{"digest": digest} for digest in missing]
            raise Refusal(*self.missing_answer, detail=detail)
        self._check_tag(repo, ref, raw)
        digest = self.storage.add_manifest(repo, ref, media_type, raw)
        stored = self.storage.repository(repo).manifests[digest]
        response = self._created(repo, "manifests", self.reported_digest(digest, stored))
        response.set_status(self.taken_status)
        if self.referrers_api and self.says_subject and "subject" in document:
            response.headers["OCI-Subject"] = document["subject"]["digest"]
        return response

    async def delete_manifest(self, call: Call, repo: str, ref: str) -> web.StreamResponse:
        """Delete a tag, or a manifest with all its tags."""
        self.authorise(call, (repo, self.delete_right))
        if not self.deletes:
            raise Refusal(405, "UNSUPPORTED", "The operation is unsupported.")
        found = self.storage.repositories.get(repo)
        if found is None:
            raise self.unknown_repository(repo)
        if ":" not in ref and not self.deletes_tags:
            raise Refusal(*self.tag_delete_refused)
        digest = self.resolve(found, ref)
        if digest is None:
            raise self.unknown_manifest(repo, ref)
        if ":" in ref and self.tagged_stay and digest in found.tags.values():
            raise Refusal(400, self.tagged_stay, "the manifest is still tagged")
        if ":" in ref or self.tag_takes_manifest:
            del found.manifests[digest]
            found.tags = {tag: one for tag, one in found.tags.items() if one != digest}
        else:
            del found.tags[ref]
        return web.Response(status=202)

    def check_manifest(
        self, repo: str, ref: str, media_type: str, document: dict[str, Any]
    ) -> None:
        """Refuse what this registry does not take, however right it is."""

    def immutable_tag(self, repo: str, tag: str) -> Refusal:
        """Say that a tag may not be moved."""
        return Refusal(409, "TAG_IMMUTABLE", f"the tag {tag} cannot be overwritten")

    def missing(self, repo: str, document: dict[str, Any]) -> list[str]:
        """List what a manifest names and the repository lacks; a subject may be missing."""
        found = self.storage.repository(repo)
        named = [entry["digest"] for entry in entries_of(document)]
        return [each for each in named if each not in found.blobs and each not in found.manifests]

    def _check_tag(self, repo: str, tag: str, raw: bytes) -> None:
        shown = self.storage.repository(repo).tags.get(tag)
        if shown is None or not any(fnmatchcase(tag, glob) for glob in self.immutable):
            return
        if self.immutable_same or digest_of(raw, shown.partition(":")[0]) != shown:
            raise self.immutable_tag(repo, tag)


def entries_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """List the descriptors in a manifest that must be in place; foreign layers need not be."""
    config = [document["config"]] if "config" in document else []
    entries = [*config, *document.get("layers", []), *document.get("manifests", [])]
    return [entry for entry in entries if not entry.get("urls")]


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
