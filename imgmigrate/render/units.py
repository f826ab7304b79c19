"""Say numbers the way people read them: counts, sizes, durations, rates, times, long lists.

Pure. What is unknown is `?`, never a guess.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgmigrate.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["UNKNOWN", "amount", "count", "duration", "listed", "moment", "rate", "size"]

UNKNOWN = "?"
_KIBI = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Count things: `1 image`, `8,214 images`."""
    word = noun if number == 1 else plural or f"{noun}s"
    return f"{number:,} {word}"


def listed(names: Sequence[str], most: int | None) -> str:
    """List names, `most` of them and how many more there are; all where `most` is None."""
    if most is None or len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def size(octets: int | None) -> str:
    """Print bytes in binary units with three significant digits."""
    if octets is None:
        return UNKNOWN
    value, unit = float(octets), 0
    # 1023.6 KiB would be printed as 1024 KiB.
    while abs(value) >= _KIBI - 0.5 and unit < len(_UNITS) - 1:
        value /= _KIBI
        unit += 1
    if unit == 0:
        return f"{octets} B"
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f} {_UNITS[unit]}"


def amount(octets: int | None, unsure: int | None = None) -> str:
    """Print bytes that are to come; where some of them may turn out not to, it is a bound."""
    return f"at most {size(octets)}" if unsure else size(octets)


def rate(octets: int, seconds: float) -> str:
    """Print bytes per second; `?` where no time has passed."""
    return f"{size(int(octets / seconds))}/s" if seconds > 0 else UNKNOWN


def duration(seconds: float | None) -> str:
    """Print a span of time with its two largest units."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, round(seconds))
    if whole < 10:
        return f"{max(0.0, seconds):.1f} s"
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def moment(text: str) -> str:
    """Print an RFC 3339 time to the second, in UTC; what is no time stays as it is, printable."""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter at the two ends of time
        return printable(text)
    return found.strftime("%Y-%m-%d %H:%M:%S UTC")
