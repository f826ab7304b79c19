"""Pulp: manifests are tasks that may be answered 429 and done all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from aiohttp import web


class Pulp(FakeRegistry):
    """pulp_container."""

    scheme = "token"
    token_path = "/token/"
    # `n` is taken up to ten times the page (protocol 2.2).
    default_page = 100
    page_size = 1000
    single_post = True
    missing_answer = (400, "BLOB_UNKNOWN")
    # So many manifests more are taken, but answered 429 (protocol 3.3).
    slow_manifests: int = 0

    def continues(self, names: list[str], start: int, end: int) -> bool:
        """Link on whenever a page is full: the last one may be empty (protocol 2.2)."""
        return end <= len(names)

    def mounted(self, call: Call, repo: str, digest: str, source: str | None) -> bool:
        """Answer 404, not 202, where there is nothing to mount (protocol 3.1)."""
        if set(call.query) != {"from", "mount"}:
            return False
        if not source or not self.storage.has_blob(source, digest):
            raise Refusal(404, "BLOB_UNKNOWN", f"no blob {digest} in {source}")
        return super().mounted(call, repo, digest, source)

    async def write_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Fail with 500 where others say 416 (protocol 3.4)."""
        try:
            return await super().write_upload(call, repo, name)
        except Refusal as refusal:
            if refusal.status != 416:
                raise
            raise Refusal(500, "UNKNOWN", "internal server error") from None

    async def put_manifest(self, call: Call, repo: str, ref: str) -> web.StreamResponse:
        """Take a manifest, and perhaps not wait for its task."""
        response = await super().put_manifest(call, repo, ref)
        if self.slow_manifests:
            self.slow_manifests -= 1
            raise Refusal(429, "TOOMANYREQUESTS", "the task takes longer than this request")
        return response
