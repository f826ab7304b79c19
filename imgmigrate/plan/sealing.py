"""The bytes of a plan's file, and the hash that seals them.

JSON Lines: a header, one change a line sorted by address, a trailer with the sha256 of every
byte before it (DESIGN section 6).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgmigrate.plan.model import Change, Header

__all__ = ["body_of", "line_of", "sealed"]


def body_of(header: Header, changes: tuple[Change, ...]) -> bytes:
    """Give all lines but the closing one."""
    first = header.model_dump(mode="json", by_alias=True)
    return b"".join([line_of(first), *(line_of(change.line()) for change in changes)])


def line_of(document: dict[str, Any]) -> bytes:
    """Give one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def sealed(body: bytes) -> str:
    """Give the hash that the closing line has."""
    return hashlib.sha256(body).hexdigest()
