"""GitLab's container registry: tokens from GitLab itself, projects that must exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from tests.fakes.registry.access import User
    from tests.fakes.registry.storage import FakeRepository


class GitLab(FakeRegistry):
    """registry.gitlab.com, and GitLab of one's own."""

    vendor_host = "registry.gitlab.com"
    scheme = "token"
    # protocol 1.5.
    token_path = "/jwt/auth"
    service = "container_registry"
    # GROUP/PROJECT must exist, images may be one or two levels below it (protocol 3.6).
    namespaces = frozenset({"team/tools"})
    absolute_locations = True
    page_size = 1000
    default_page = 100

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Grant nothing outside of a project."""
        return super().granted(user, repo, asked) if self.has_namespace(repo) else set()

    def resolve(self, found: FakeRepository, ref: str) -> str | None:
        """Take `sha256-<hex>` for the digest, and so the image for its referrers (oras#2148)."""
        digest = super().resolve(found, ref)
        if digest is None and ref.startswith("sha256-"):
            return super().resolve(found, ref.replace("-", ":", 1))
        return digest
