"""The stores of the registry tests, and their clock."""

from __future__ import annotations

from tests.stores.registry.conftest import clock, connect, sink

__all__ = ["clock", "connect", "sink"]
