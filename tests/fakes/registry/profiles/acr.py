"""Azure Container Registry: short headers, and bodies that are cut at 20 MB."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tests.fakes.registry.access import User
from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from aiohttp import web

# Azure/acr#797.
LONGEST_AUTHORIZATION = 6 * 1024


class Acr(FakeRegistry):
    """NAME.azurecr.io."""

    vendor_host = "team.azurecr.io"
    scheme = "token"
    user = User("00000000-0000-0000-0000-000000000000", "Secret-of-Azure-1")
    token_path = "/oauth2/token"
    # The OAuth2 form is there for Azure's own tokens, not for passwords (protocol 1.2).
    oauth_status = 400
    # Azure/acr#749; the catalog gives a hundred (regclient#404).
    page_size = 1000
    redirect_status = 307
    referrers_api = True
    # The body of one request is cut there (protocol 3.3).
    body_cut = 20 * 1000 * 1000

    def new_token(self, scopes: list[str]) -> str:
        """Make a token that grows with its scopes (regclient#797)."""
        return secrets.token_urlsafe(1200 * max(1, len(scopes)))

    def page_length(self, call: Call) -> int | None:
        """Cut the catalog at a hundred names."""
        size = super().page_length(call)
        return min(size or 100, 100) if call.path.endswith("_catalog") else size

    async def answer(self, call: Call) -> web.StreamResponse:
        """Refuse an Authorization that the front end has no room for (Azure/acr#797)."""
        if len(call.request.headers.get("Authorization", "")) > LONGEST_AUTHORIZATION:
            raise Refusal(400, "UNKNOWN", "Request Header Or Cookie Too Large")
        if call.path == "/acr/v1/_catalog":
            return await self.get_catalog(call)
        return await super().answer(call)
