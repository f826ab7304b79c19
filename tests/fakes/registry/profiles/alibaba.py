"""Alibaba Cloud's ACR: namespaces that must exist, and no manifest with the empty config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.registry.calls import Refusal
from tests.fakes.registry.server import FakeRegistry
from tests.support.images import OCI_EMPTY

if TYPE_CHECKING:
    from tests.fakes.registry.access import User


class AlibabaAcr(FakeRegistry):
    """registry.REGION.aliyuncs.com."""

    vendor_host = "registry.cn-beijing.aliyuncs.com"
    scheme = "token"
    token_path = "/auth"
    # protocol 3.3; repositories come into being below them if the namespace says so.
    namespaces = frozenset({"team"})
    # Listed by the vendor's own API alone (Harbor's adapter).
    catalog_status = 404

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Grant nothing in a namespace that is not there."""
        return super().granted(user, repo, asked) if self.has_namespace(repo) else set()

    def check_manifest(
        self, repo: str, ref: str, media_type: str, document: dict[str, Any]
    ) -> None:
        """Refuse the empty config, as of attestations (zrlog#254)."""
        if document.get("config", {}).get("mediaType") == OCI_EMPTY:
            raise Refusal(400, "MANIFEST_INVALID", f"config {OCI_EMPTY} is not supported")
