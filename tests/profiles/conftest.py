"""Every profile as source and as destination, beside an ordinary registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.profiles.journey import travel
from tests.profiles.vendors import VENDORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.profiles.journey import Journey

SCENES = [
    pytest.param((vendor, role), id=f"{vendor.name}-as-{role}")
    for vendor in VENDORS
    for role in ("source", "destination")
]


@pytest.fixture(params=SCENES)
async def journey(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Journey]:
    """Every profile in every role."""
    vendor, role = request.param
    async with travel(vendor, role, tmp_path, monkeypatch) as journey:
        yield journey
