"""Distribution, the registry of the CNCF that most others descend from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fakes.registry.calls import Refusal
from tests.fakes.registry.server import FakeRegistry
from tests.support.images import digest_of

if TYPE_CHECKING:
    from tests.fakes.registry.storage import Session, StoredManifest

# The largest page, and what asking the catalog for more gets (protocol 2.2).
LARGEST_PAGE = 1000


class Distribution2(FakeRegistry):
    """Distribution 2.8, as Debian's docker-registry 2.8.2 was measured to behave."""

    absolute_locations = True
    cancel_right = "delete"
    largest_n = LARGEST_PAGE
    # `n` counts for the catalog alone (protocol 2.2).
    pages_tags = False
    # Off unless the server's `storage.delete.enabled` says otherwise (oras#952).
    deletes = False
    # Tags cannot be deleted by name even then: measured.
    deletes_tags = False
    tag_delete_refused = (400, "DIGEST_INVALID")
    # "request body too large" (protocol 3.5).
    too_large_answer = (400, "MANIFEST_INVALID")

    def shown_tags(self, names: list[str]) -> list[Any] | None:
        """Say null for no tags at all: measured."""
        return names or None

    def reported_digest(self, digest: str, stored: StoredManifest) -> str:
        """Report the sha256 digest, whatever was asked for (protocol 3.5)."""
        return digest_of(stored.raw)

    def interrupted(self, session: Session) -> None:
        """Lose the session: its status is 404 from then on (protocol 3.4)."""
        self.storage.sessions.pop(session.name, None)

    def check_manifest(
        self, repo: str, ref: str, media_type: str, document: dict[str, Any]
    ) -> None:
        """Refuse foreign layers with a 500 that is permanent, and three errors: measured."""
        foreign = [layer["digest"] for layer in document.get("layers", []) if _is_foreign(layer)]
        if foreign:
            codes = ("UNKNOWN", "UNKNOWN", "MANIFEST_BLOB_UNKNOWN")
            refusal = Refusal(500, codes[0], "unknown error")
            errors = [{"code": code, "message": "unknown", "detail": foreign[0]} for code in codes]
            refusal.body = json.dumps({"errors": errors}).encode()
            raise refusal


class Distribution3(FakeRegistry):
    """Distribution 3.1: pages, deletes tags; an old Location may be asked (protocol 3.4)."""

    absolute_locations = True
    # A larger `n` is clamped (protocol 2.2).
    page_size = LARGEST_PAGE
    default_page = 100
    deletes = False


def _is_foreign(layer: dict[str, Any]) -> bool:
    """Docker's type is foreign with and without URLs, the standard's only with them: measured."""
    kind = layer["mediaType"]
    return "rootfs.foreign" in kind or ("nondistributable" in kind and "urls" in layer)
