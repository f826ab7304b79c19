"""Every test in this folder is an integration test, wherever it says so."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark it."""
    if Path(__file__).parent in item.path.parents:
        item.add_marker(pytest.mark.integration)
