"""zot: OCI media types alone, mounts that ignore `from`, a `last` that must exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from tests.fakes.registry.storage import Session

_DOCKER = "application/vnd.docker."


class Zot(FakeRegistry):
    """zot as it comes; `compat` holds "docker2s2" where Docker's media types are let in."""

    scheme = "basic"
    single_post = True
    referrers_api = True
    missing_answer = (400, "BLOB_UNKNOWN")
    compat: tuple[str, ...] = ()

    def check_manifest(
        self, repo: str, ref: str, media_type: str, document: dict[str, Any]
    ) -> None:
        """Refuse Docker's media types unless they are let in (protocol 3.5)."""
        if media_type.startswith(_DOCKER) and "docker2s2" not in self.compat:
            raise Refusal(415, "MANIFEST_INVALID", f"{media_type} is not supported")

    def mounted(self, call: Call, repo: str, digest: str, source: str | None) -> bool:
        """Look in every repository, whatever `from` says (protocol 3.1)."""
        return any(digest in each.blobs for each in self.storage.repositories.values())

    def place_of(self, names: list[str], cursor: str) -> int:
        """Lose its place with a `last` that is no longer there (protocol 2.2)."""
        if cursor not in names:
            raise Refusal(404, "MANIFEST_UNKNOWN", f"no tag {cursor}")
        return super().place_of(names, cursor)

    def interrupted(self, session: Session) -> None:
        """Delete the session whose body broke off (protocol 3.4)."""
        self.storage.sessions.pop(session.name, None)
