"""Limits that people write as a number or as a share of the whole: `10`, `2.5%`.

Pure. A ValueError says what is wrong and shows an example.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import floor

from msgspec import Struct

__all__ = ["Share", "read_share"]

_SHARE = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(%?)\s*")
ALL_PERCENT = 100


class Share(Struct, frozen=True):
    """At most so many: `number` of them, or that many in a hundred."""

    number: Fraction
    is_percent: bool = False

    def of(self, total: int) -> int:
        """How many of `total` that allows; a share is rounded down."""
        return floor(total * self.number / ALL_PERCENT) if self.is_percent else int(self.number)

    def __str__(self) -> str:
        number = f"{float(self.number):g}" if self.is_percent else f"{int(self.number)}"
        return f"{number}%" if self.is_percent else number


def read_share(value: object) -> Share:
    """Read `10` or `2.5%`."""
    found = _SHARE.fullmatch(str(value))
    if found:
        share = Share(Fraction(found[1]), is_percent=bool(found[2]))
        whole = share.number.denominator == 1
        if (share.is_percent and share.number <= ALL_PERCENT) or (whole and not share.is_percent):
            return share
    msg = "must be a number or a percentage, such as 10 or 2.5%"
    raise ValueError(msg)
