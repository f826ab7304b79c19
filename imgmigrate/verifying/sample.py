"""Choose some of many images, the same ones each time: by the hash of their addresses. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgmigrate.config.values.shares import Share
    from imgmigrate.oci.reference import Reference

__all__ = ["sampled"]

T = TypeVar("T")


def sampled(rows: Sequence[T], share: Share, address: Callable[[T], Reference]) -> list[T]:
    """Keep a share of the rows, at least one of any, in their order.

    Whoever has the same addresses chooses the same ones, and one more image changes the choice
    by one at most.
    """
    most = min(len(rows), max(share.of(len(rows)), 1))
    order = sorted(range(len(rows)), key=lambda number: _rank(address(rows[number])))
    kept = set(order[:most])
    return [row for number, row in enumerate(rows) if number in kept]


def _rank(address: Reference) -> bytes:
    return hashlib.sha256(str(address).encode()).digest()
