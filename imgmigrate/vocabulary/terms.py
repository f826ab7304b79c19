"""Names of which a later minor version may have more.

A plan may come from a version that knows actions and reasons which this one does not. Such a
name is read as itself, compares as text and is shown as it is; it is none of the listed ones.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["Term"]


class Term(StrEnum):
    """A listed name, or one of a later version. Subclasses list names with what they mean."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # Not kept: a file may hold as many of them as somebody likes.
        unlisted = str.__new__(cls, value)
        unlisted._name_ = unlisted._value_ = value
        return unlisted

    @property
    def is_understood(self) -> bool:
        """Tell whether this version knows the name."""
        return self in type(self)._value2member_map_
