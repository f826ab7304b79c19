"""Artifactory: digests among the tags, 403 for what is not there, no whole blob in a PUT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.registry.calls import Refusal
from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from tests.fakes.registry.storage import FakeRepository


class Artifactory(FakeRegistry):
    """A Docker repository of Artifactory 7.90."""

    scheme = "token"
    token_path = "/v2/token"
    # The OAuth2 form is refused (protocol 1.2).
    oauth_status = 401
    lacking_status = 403
    absolute_locations = True
    referrers_api = True
    # RTFACT-19344, by way of Harbor's adapter; its answer is not documented.
    whole_put_status = 405
    # RTFACT-13797.
    absent_head = (403, "DENIED")

    def tag_names(self, found: FakeRepository) -> list[str]:
        """List digests and `_uploads` among the tags (skopeo#2346, oras#1907)."""
        return sorted([*found.tags, *found.manifests, "_uploads"])

    def cursor(self, names: list[str], end: int) -> str:
        """Count, where others name the last tag (renovate#15080)."""
        return str(end)

    def place_of(self, names: list[str], cursor: str) -> int:
        """Go on at a number."""
        if not cursor.isdigit():
            raise Refusal(400, "PAGINATION_NUMBER_INVALID", "last must be a number")
        return int(cursor)
