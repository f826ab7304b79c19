"""Registries that differ from the honest one: each a subclass stating facts, with its source.

A profile overrides class attributes and single methods; tests may also set the attributes
of one instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry
from tests.support.images import digest_of

if TYPE_CHECKING:
    from tests.fakes.registry.storage import Session, StoredManifest


class Distribution2(FakeRegistry):
    """Distribution 2.8, as Debian's docker-registry was measured to behave."""

    absolute_locations = True
    cancel_right = "delete"

    def _page(self, call: Call, names: list[str]) -> tuple[list[str], dict[str, str]]:
        # `n` is ignored for tags: everything at once, without a Link.
        return super()._page(call, names) if call.path.endswith("_catalog") else (names, {})

    def reported_digest(self, digest: str, stored: StoredManifest) -> str:
        """Report the sha256 digest, whatever was asked for."""
        return digest_of(stored.raw)

    def interrupted(self, session: Session) -> None:
        """Lose the session: its status is 404 BLOB_UPLOAD_INVALID from then on."""
        self.storage.sessions.pop(session.name, None)


class Hostile(FakeRegistry):
    """A registry that attacks its clients; each switch is one attack."""

    # Where the Bearer challenge sends credentials.
    foreign_realm: str | None = None
    # Where an upload's bytes are sent.
    foreign_location: str | None = None
    # A tag listing that never ends.
    endless_pages: bool = False
    # Names that no client may use as they are.
    extra_tags: tuple[str, ...] = ()

    def realm(self) -> str:
        """Name a token server of the attacker's choice."""
        return self.foreign_realm or super().realm()

    def _accepted(self, session: Session, status: int = 202) -> web.Response:
        response = super()._accepted(session, status)
        if self.foreign_location:
            response.headers["Location"] = self.foreign_location
        return response

    async def get_tags(self, call: Call, repo: str) -> web.StreamResponse:
        """List tags, and worse."""
        self.authorise(call, (repo, "pull"))
        found = self.storage.repositories.get(repo)
        if found is None:
            raise Refusal(404, "NAME_UNKNOWN")
        names, link = self._page(call, sorted(found.tags))
        if self.endless_pages:
            link = {"Link": f'<{call.path}?n=1&last=again{self.arrivals}>; rel="next"'}
        return web.json_response({"name": repo, "tags": [*names, *self.extra_tags]}, headers=link)
