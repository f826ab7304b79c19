"""GHCR: PATCH bodies of at most 4 MiB, and several of them make one broken blob."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from tests.fakes.registry.storage import Session


class Ghcr(FakeRegistry):
    """ghcr.io."""

    vendor_host = "ghcr.io"
    scheme = "token"
    service = "ghcr.io"
    # What a reader may not see is denied, whether it is there or not (protocol 3.1).
    hides_absent = True
    lacking_status = 403
    # A hundred names a page unless `n` asks for more, up to some cap (protocol 2.2).
    default_page = 100
    page_size = 1000
    # Neither a catalog nor DELETE is offered (reference: rivals section 3).
    catalog_status = 404
    deletes = False
    redirect_status = 307
    # 416 "exceeds the maximum permissible limit of 4.00MiB" (protocol 3.3).
    largest_patch = 4 * 1024 * 1024
    # The Location is a path, not a URL (reference: rivals section 3).
    absolute_locations = False

    def begin_piece(self, session: Session) -> None:
        """Let the last PATCH win (swift-container-plugin#44)."""
        session.data.clear()

    def verifies(self, session: Session) -> bool:
        """Take what several PATCH requests have corrupted without a word."""
        return len(session.pieces) <= 1
