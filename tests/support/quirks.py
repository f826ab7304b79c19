"""Let a fake registry have the row of the quirk table that its vendor has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.stores.registry import quirks
from imgmigrate.stores.registry.quirks import Quirks, quirks_of

if TYPE_CHECKING:
    import pytest

    from tests.fakes.registry import FakeRegistry


def give_quirks(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look `registry`, which listens on loopback, up as the host that its profile stands for.

    It answers for itself, and what its vendor allows a second is not waited for.
    """
    if registry.vendor_host is None:
        return
    usual = Quirks()
    row = replace(
        quirks_of(registry.vendor_host), api_host=None, listing_host=None, quotas=usual.quotas
    )
    own = (re.compile(re.escape(registry.host)), row)
    monkeypatch.setattr(quirks, "_ROWS", (own, *quirks._ROWS))
