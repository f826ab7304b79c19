"""A registry that attacks its clients; each switch is one attack (protocol 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from aiohttp import web

    from tests.fakes.registry.storage import Session

# Names that no client may use as they are: in a path, in a terminal, in a page.
BAD_TAGS = ("../x", "a b", f"sha256:{'0' * 64}", "_uploads", "", "x" * 129, "\x1b[2J", "<img>")


class Hostile(FakeRegistry):
    """Honest until a switch is set."""

    # Where the Bearer challenge sends credentials.
    foreign_realm: str | None = None
    # Where an upload's bytes are sent.
    foreign_location: str | None = None
    # Where blobs are said to be.
    foreign_redirect: str | None = None
    # A tag listing that never ends.
    endless_pages: bool = False
    # Names that no client may use as they are.
    extra_tags: tuple[str, ...] = ()
    # What every error says.
    message: str | None = None

    def realm(self) -> str:
        """Name a token server of the attacker's choice."""
        return self.foreign_realm or super().realm()

    def shown_tags(self, names: list[str]) -> list[Any] | None:
        """List names that are none."""
        return [*names, *self.extra_tags]

    async def get_tags(self, call: Call, repo: str) -> web.StreamResponse:
        """List tags, and go on for ever."""
        response = await super().get_tags(call, repo)
        if self.endless_pages:
            link = f'<{call.path}?n=1&last=again{self.arrivals}>; rel="next"'
            response.headers["Link"] = link
        return response

    async def get_blob(self, call: Call, repo: str, digest: str) -> web.StreamResponse:
        """Serve a blob, or lead away from here."""
        if self.foreign_redirect and call.method == "GET":
            headers = {"Location": self.foreign_redirect}
            raise Refusal(307, "UNKNOWN", headers=headers)
        return await super().get_blob(call, repo, digest)

    def refuse(self, call: Call, refusal: Refusal) -> web.Response:
        """Say an error in words of the attacker's choice."""
        if self.message is not None:
            code = "UNKNOWN"
            refusal = Refusal(refusal.status, code, self.message, headers=refusal.headers)
        return super().refuse(call, refusal)

    def _accepted(self, session: Session, status: int = 202) -> web.Response:
        response = super()._accepted(session, status)
        if self.foreign_location:
            response.headers["Location"] = self.foreign_location
        return response
