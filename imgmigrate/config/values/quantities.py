"""Read limits as people write them: `50/s`, `200MiB/s`, `24h`, a proxy's URL.

Pure. A ValueError says what is wrong and shows an example; never the value of a proxy, which
may hold a password.
"""

from __future__ import annotations

import re
from math import inf
from typing import Any
from urllib.parse import urlsplit

__all__ = ["read_bandwidth", "read_duration", "read_proxy", "read_rate"]

_NUMBER = r"\s*+([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*+"
_RATE = re.compile(_NUMBER + r"(?:/\s*+s)?\s*+")
# "MB" and "MiB" differ; "Mb" and "Mbit" are bits, and asking is better than guessing.
_BANDWIDTH = re.compile(_NUMBER + r"([kKMGT]?i?B?)\s*+(?:/\s*+s)?\s*+")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Beyond any network, and before floats lose bytes.
MOST_BANDWIDTH = 1e15
MOST_RATE = 1e6


def read_rate(value: Any) -> float | None:
    """Requests per second: `50`, `0.5` or `50/s`."""
    if value is None:
        return None
    found = _RATE.fullmatch(value if isinstance(value, str) else repr(value))
    rate = float(found[1]) if found else 0.0
    if not 0 < rate <= MOST_RATE:
        msg = "must be a number of requests per second above 0, such as 50"
        raise ValueError(msg)
    return rate


def read_bandwidth(value: Any) -> float | None:
    """Bytes per second: `200MiB/s`, `1.5 GB/s` or plain bytes."""
    if value is None:
        return None
    found = _BANDWIDTH.fullmatch(value if isinstance(value, str) else repr(value))
    rate = 0.0
    # "200i" is no unit.
    if found and not (found[2].startswith("i")):
        unit = found[2].removesuffix("B")
        base = 1024 if unit.endswith("i") else 1000
        rate = float(found[1]) * base ** _POWERS[unit.removesuffix("i").upper()]
    if not 1 <= rate <= MOST_BANDWIDTH:
        msg = "must be bytes per second, such as 200MiB/s, 1.5GB/s or 1000000"
        raise ValueError(msg)
    return rate


def read_duration(value: object, *, needs_unit: bool = False, most: float = inf) -> float:
    """Seconds, at most `most`: `90s`, `5m`, `1h`, `7d`, `2w` or, where no unit is needed, `90`."""
    found = _DURATION.fullmatch(str(value))
    span = float(found[1]) * _SECONDS[found[2]] if found else inf
    if found is None or span > most or (needs_unit and not found[2]):
        msg = "is not a duration such as 90s, 5m, 1h or 7d"
        raise ValueError(msg)
    return span


def read_proxy(value: Any) -> str | None:
    """The URL of an HTTP proxy, `http://[user:password@]host[:port]`; empty is none."""
    if value is None or value == "":
        return None
    try:
        parts = urlsplit(str(value))
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if (
        not is_usable
        or parts.scheme not in ("http", "https")
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or not str(value).isprintable()
        or " " in str(value)
    ):
        msg = "must be an HTTP proxy such as http://proxy.example.com:3128"
        raise ValueError(msg)
    return str(value)
