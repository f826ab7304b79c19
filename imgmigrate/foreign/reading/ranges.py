"""Translate version ranges of Go's tools into ours. Pure.

Three libraries are behind them: regsync's own, Masterminds/semver (skopeo) and blang/semver
(dregsy). They differ in their signs, in what a missing number means, and in what they take for a
version: to all of them what stands behind a hyphen makes a pre-release, be it `-rc.1` or
`-alpine`, and only Masterminds' leaves those out unless they are asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from imgmigrate.versions import parse_range, parse_version

__all__ = ["Dialect", "Wanted", "is_semver", "translate"]


class Dialect(StrEnum):
    """Whose ranges they are."""

    REGSYNC = "regsync"
    SKOPEO = "skopeo"
    DREGSY = "dregsy"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one side of `||` wants: a range of ours, and tags that are left out of it again.

    `is_narrower` tells that the tool takes tags with a suffix or pre-releases, and ours does not.
    """

    semver: str
    exclude: tuple[str, ...] = ()
    is_narrower: bool = False


# What each library reads, as ours has it; "!=" has no equivalent and becomes an exclusion.
_COMMON = {"": "", "=": "=", ">": ">", "<": "<", ">=": ">=", "<=": "<="}
_SIGNS = {
    Dialect.REGSYNC: {**_COMMON, "^": "^", "~": "~"},
    Dialect.SKOPEO: {
        **_COMMON,
        "=>": ">=",
        "=<": "<=",
        "!=": "!=",
        "^": "^",
        "~": "~",
        "~>": "~",
    },
    Dialect.DREGSY: {**_COMMON, "==": "=", "!": "!=", "!=": "!="},
}
_COMPARISON = re.compile(r"([!=<>~^]*)[ \t]*([^\s,!=<>~^|]+)[\s,]*")
_HYPHEN = re.compile(r"(?<!\S)(\S++)[ \t]++-[ \t]++(\S++)")
_WRITTEN = re.compile(r"v?(?:(\d{1,18})(?:\.(\d{1,18}))?(?:\.(\d{1,18}))?)?(\.?[xX*])*(-.*)?")
# blang's ParseTolerant: short versions have nothing behind them.
_SEMVER = re.compile(r"v?\d+(\.\d+)?|v?\d+\.\d+\.\d+(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")
_PARTS = 3


def translate(text: str, dialect: Dialect) -> list[Wanted]:
    """Translate a range, one entry for each side of its `||`; ValueError says what is wrong."""
    sides = text.split("||")
    if len(sides) > 1 and dialect is Dialect.REGSYNC:
        msg = f"{text!r}: regsync has no ||; write several ranges"
        raise ValueError(msg)
    return [_side(text, side.strip(), dialect) for side in sides]


def is_semver(tag: str) -> bool:
    """Tell whether dregsy takes a tag for a version."""
    return _SEMVER.fullmatch(tag) is not None


def _side(text: str, side: str, dialect: Dialect) -> Wanted:
    if dialect is Dialect.SKOPEO:
        side = _HYPHEN.sub(r">=\1 <=\2", side)
    limits, exclude, position = [], [], 0
    while position < len(side):
        found = _COMPARISON.match(side, position)
        sign = _SIGNS[dialect].get(found[1]) if found else None
        if found is None or sign is None:
            msg = f"{text!r}: {side[position:]!r} is no comparison of {dialect}"
            raise ValueError(msg)
        position = found.end()
        limits.append((sign, *_version(text, found[2])))
    if not limits:
        msg = f"{text!r} has no comparison on one side of ||"
        raise ValueError(msg)
    # Masterminds takes pre-releases only where every comparison names one.
    early = dialect is not Dialect.SKOPEO or all(rest for _, _, rest in limits)
    comparisons = []
    for sign, parts, rest in limits:
        if sign == "!=":
            exclude += [] if rest else [_excluded(parts)]
        else:
            comparisons.append(_comparison(sign, parts, rest if early else "", rest, dialect))
    semver = " ".join(each for each in comparisons if each != "*") or "*"
    parse_range(semver)
    is_narrower = dialect is not Dialect.SKOPEO or (early and any(rest for _, _, rest in limits))
    return Wanted(semver, tuple(exclude), is_narrower)


def _version(text: str, written: str) -> tuple[tuple[str, ...], str]:
    """The numbers of a version, wildcards left out, and what stands behind its hyphen."""
    found = _WRITTEN.fullmatch(written.partition("+")[0])
    if found is None or not written.strip("v"):
        msg = f"{text!r}: {written!r} is not a version of at most three numbers"
        raise ValueError(msg)
    rest = found[5] or ""
    parts = tuple(str(int(each)) for each in found.groups()[:3] if each is not None)
    if rest and parse_version(f"1.0.0{rest}") is None:
        rest = ""
    return parts, rest


def _comparison(
    sign: str, parts: tuple[str, ...], rest: str, written: str, dialect: Dialect
) -> str:
    if not parts:
        return "*"
    short = len(parts) < _PARTS
    if dialect is Dialect.REGSYNC and sign not in (">=", "<"):
        # To regsync a missing number is 0, to ours it is any.
        parts = (*parts, "0", "0")[:_PARTS]
    version = ".".join(parts)
    read = parse_version(f"{version}{rest}")
    if rest and read is not None and read.suffix:
        # To ours a suffix names a variant, which alone would be wanted.
        rest = ""
    if rest and short:
        version = ".".join((*parts, "0", "0")[:_PARTS])
    if written and not rest and sign in (">", "<="):
        # Releases are above the pre-releases of their own version.
        sign = ">=" if sign == ">" else "<"
    return f"{sign}{version}{rest}"


def _excluded(parts: tuple[str, ...]) -> str:
    """A regex of the tags that `!=` leaves out; a missing number is any."""
    if len(parts) < _PARTS:
        return rf"/^v?{_joined(parts)}(\.[0-9]+){{0,{_PARTS - len(parts)}}}$/"
    kept = list(parts)
    while len(kept) > 1 and kept[-1] == "0":
        kept.pop()
    missing = _PARTS - len(kept)
    zeros = rf"(\.0){{0,{missing}}}" if missing else ""
    return rf"/^v?{_joined(kept)}{zeros}$/"


def _joined(parts: tuple[str, ...] | list[str]) -> str:
    return r"\.".join(parts)
