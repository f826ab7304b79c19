"""What every kind of state promises is kept by one in PostgreSQL."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from imgmigrate.state.base import open_state
from imgmigrate.state.postgres import rows
from tests.state.suite import SharedBehaviour

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.state.base import StateStore

pytestmark = pytest.mark.heavy


class TestSmallState(SharedBehaviour):
    """One that is read whole."""

    @pytest.fixture
    def opened(self, url: str) -> Callable[[], StateStore]:
        """Open the same state as often as asked."""
        return partial(open_state, url)


class TestLargeState(SharedBehaviour):
    """One whose records stay in the database."""

    @pytest.fixture
    def opened(self, url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], StateStore]:
        """Open the same state, which is large with its first record."""
        monkeypatch.setattr(rows, "SMALL", 0)
        return partial(open_state, url)


class TestPooled(SharedBehaviour):
    """One behind a PgBouncer in transaction mode, with records that stay there."""

    @pytest.fixture
    def opened(self, pooled: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], StateStore]:
        """Open the same state through the pooler."""
        monkeypatch.setattr(rows, "SMALL", 0)
        return partial(open_state, pooled)
