"""Nexus Repository: nulls among the tags, and links that lead to another port's paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from aiohttp import web

_PREFIX = "/repository/docker-hosted"


class Nexus(FakeRegistry):
    """A hosted Docker repository of Nexus 3, through its connector port."""

    scheme = "basic"
    page_size = 1000

    def shown_tags(self, names: list[str]) -> list[Any] | None:
        """Put null among the tags, or for them all (skopeo#2409)."""
        return [*names, None] if names else None

    def link_path(self, path: str) -> str:
        """Link to the path on the main port (nexus-public#1011)."""
        return f"{_PREFIX}{path}"

    async def answer(self, call: Call) -> web.StreamResponse:
        """Refuse that path on the connector port (nexus-public#1011)."""
        if call.path.startswith("/repository/"):
            raise Refusal(400, "UNKNOWN", "Not a docker request")
        return await super().answer(call)
