"""Why the index of a row takes the form that it takes: each reason, and its words."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["FormReason"]


class FormReason(StrEnum):
    """What decided between `keep`, `trim` and `unwrap`."""

    says: str

    def __new__(cls, value: str, says: str) -> Self:
        """Make a reason of its name in files, and its words."""
        made = str.__new__(cls, value)
        made._value_, made.says = value, says
        return made

    ASKED = "asked", "as the rule asks"
    RECORDED = "recorded", "as it is recorded"
    KNOWN = "known", "its registry is known to take an index without all of its images"
    REFUSED = "refused", "its registry is known to refuse an index without all of its images"
    UNKNOWN = (
        "unknown",
        "whether its registry takes an index without all of its images is not known",
    )
    LAYOUT = "layout", "whoever reads a layout expects all that an index lists"
