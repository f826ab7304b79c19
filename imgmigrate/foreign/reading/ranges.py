"""Translate version ranges of Go's tools into ours. Pure.

Three libraries are behind them: regsync's own, Masterminds/semver (skopeo) and blang/semver
(dregsy). They differ in their signs, in what a missing number means, and in what they take for a
version. To all of them what stands behind a hyphen makes a pre-release, be it `-rc.1` or
`-alpine`, which is what `suffixes: any` means in ours; only Masterminds' leaves those out, unless
a comparison on the same side of `||` names one.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from msgspec import Struct

from imgmigrate.versions import parse_range

__all__ = ["NO_VERSIONS", "VERSIONS", "Dialect", "Wanted", "filters_of", "is_semver", "translate"]


class Dialect(StrEnum):
    """Whose ranges they are."""

    REGSYNC = "regsync"
    SKOPEO = "skopeo"
    DREGSY = "dregsy"


class Wanted(Struct, frozen=True):
    """What one side of `||` wants: a range of ours, and tags that are left out of it again.

    `any_suffix` is how ours is to be read. `is_close` tells that the tool orders a pre-release
    that is named in its own way, or in two ways by its version.
    """

    semver: str
    exclude: tuple[str, ...] = ()
    any_suffix: bool = False
    is_close: bool = False


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
_WRITTEN = re.compile(r"v?((?:[0-9]{1,18}(?:\.[0-9]{1,18})*)?)(?:\.?[xX*])*(-.*)?")
_WILD = re.compile(r"[xX*]")
_PARTS = 3
# A suffix as semver.org has it: no empty word, and no number that begins with 0.
_WORD = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SUFFIX = rf"-{_WORD}(?:\.{_WORD})*"
# blang's ParseTolerant: short versions have nothing behind them.
VERSIONS = rf"/^v?[0-9]+(\.[0-9]+)?$|^v?[0-9]+\.[0-9]+\.[0-9]+({_SUFFIX})?$/"
# What `suffixes: any` lets in and the library does not: it is no version to it.
_STRANGE = r"_|^v?[0-9]+(\.[0-9]+){3}|^[^-]*-(\.|$)|\.\.|\.$|-(.*\.)?0[0-9]+(\.|$)"
NO_VERSIONS = {
    Dialect.SKOPEO: f"/{_STRANGE}/",
    Dialect.DREGSY: rf"/^v?[0-9]+(\.[0-9]+)?-|{_STRANGE}/",
}
_SEMVER = re.compile(VERSIONS.strip("/"))
# Where regsync compares letters and digits of a word one after the other.
_MIXED = re.compile(r"[0-9][A-Za-z-]|[A-Za-z-][0-9]")


def translate(text: str, dialect: Dialect) -> list[Wanted]:
    """Translate a range, one entry for each side of its `||`; ValueError says what is wrong."""
    sides = text.split("||")
    if len(sides) > 1 and dialect is Dialect.REGSYNC:
        msg = f"{text!r}: regsync has no ||; write several ranges"
        raise ValueError(msg)
    return [_side(text, side.strip(), dialect) for side in sides]


def filters_of(sides: list[Wanted]) -> list[dict[str, Any]]:
    """Write sides as filters of ours, those that are read alike as one."""
    groups: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for each in sides:
        groups.setdefault((each.exclude, each.any_suffix), []).append(each.semver)
    return [
        {
            **({"exclude": list(exclude)} if exclude else {}),
            "semver": " || ".join(ranges),
            **({"suffixes": "any"} if any_suffix else {}),
        }
        for (exclude, any_suffix), ranges in groups.items()
    ]


def is_semver(tag: str) -> bool:
    """Tell whether dregsy takes a tag for a version."""
    return _SEMVER.search(tag) is not None


def _side(text: str, side: str, dialect: Dialect) -> Wanted:
    if dialect is Dialect.SKOPEO:
        side = _HYPHEN.sub(r">=\1 <=\2", side)
    limits, position = [], 0
    while position < len(side):
        found = _COMPARISON.match(side, position)
        sign = _SIGNS[dialect].get(found[1]) if found else None
        if found is None or sign is None:
            msg = f"{text!r}: {side[position:]!r} is no comparison of {dialect}"
            raise ValueError(msg)
        position = found.end()
        limits.append((sign, *_version(text, found[2], dialect)))
    if not limits:
        msg = f"{text!r} has no comparison on one side of ||"
        raise ValueError(msg)
    early = [rest for _, _, rest in limits if rest]
    any_suffix = dialect is not Dialect.SKOPEO or bool(early)
    exclude = [_excluded(parts, rest) for sign, parts, rest in limits if sign == "!="]
    if any_suffix and dialect in NO_VERSIONS:
        exclude.append(NO_VERSIONS[dialect])
    comparisons = [
        _comparison(sign, parts, rest, dialect, any_suffix=any_suffix)
        for sign, parts, rest in limits
        if sign != "!="
    ]
    semver = " ".join(each for each in comparisons if each != "*") or "*"
    parse_range(semver, any_suffix=any_suffix)
    # Masterminds before 3.4 took pre-releases only where every comparison names one.
    is_mixed = dialect is Dialect.SKOPEO and 0 < len(early) < len(limits)
    is_natural = dialect is Dialect.REGSYNC and any(_MIXED.search(each[1:]) for each in early)
    return Wanted(semver, tuple(exclude), any_suffix, is_mixed or is_natural)


def _version(text: str, written: str, dialect: Dialect) -> tuple[tuple[str, ...], str]:
    """The numbers of a version, wildcards left out, and what stands behind its hyphen."""
    found = _WRITTEN.fullmatch(written.partition("+")[0])
    parts = tuple(str(int(each)) for each in found[1].split(".") if each) if found else ()
    is_regsyncs = dialect is Dialect.REGSYNC
    if is_regsyncs and _WILD.search(written.partition("-")[0]):
        msg = f"{text!r}: regsync has no wildcards; write such as ~1.2.0 or >=1 <2"
        raise ValueError(msg)
    is_long = len(parts) > _PARTS and not is_regsyncs
    if found is None or is_long or not written.strip("v"):
        msg = f"{text!r}: {written!r} is not a version of at most three numbers"
        raise ValueError(msg)
    rest = found[2] or ""
    return parts, rest if rest != "-" else ""


def _comparison(
    sign: str, parts: tuple[str, ...], rest: str, dialect: Dialect, *, any_suffix: bool
) -> str:
    if not parts:
        return "*"
    full = (*parts, "0", "0")[: max(len(parts), _PARTS)]
    if dialect is Dialect.SKOPEO and any_suffix:
        return _by_numbers(sign, parts, f"{'.'.join(full)}{rest}")
    if rest or (dialect is Dialect.REGSYNC and sign not in (">=", "<")):
        # To regsync a missing number is 0, to ours it is any.
        parts = full
    return f"{sign}{'.'.join(parts)}{rest}"


def _by_numbers(sign: str, parts: tuple[str, ...], version: str) -> str:
    """Masterminds compares numbers alone where some are missing, and at the end of `~` and `^`.

    So 1.3.0-rc.1 is not below the end of ~1.2, although it comes before 1.3.0.
    """
    is_short = len(parts) < _PARTS
    if sign in (">=", "<") or (not is_short and sign in ("", "=", ">", "<=")):
        return f"{sign}{version}"
    kept = len(parts)
    if sign == "~":
        kept = min(kept, 2)
    elif sign == "^":
        kept = next((n for n, each in enumerate(parts, 1) if each != "0"), kept)
    after = [*parts[: kept - 1], str(int(parts[kept - 1]) + 1), "0", "0"][:_PARTS]
    end = f"{'.'.join(after)}-0"
    if sign == ">":
        return f">={end}"
    return f"<{end}" if sign == "<=" else f">={version} <{end}"


def _excluded(parts: tuple[str, ...], rest: str) -> str:
    """A regex of the tags that `!=` leaves out; a missing number is any."""
    suffix = re.escape(rest).replace(r"\-", "-")
    if len(parts) < _PARTS and not rest:
        return rf"/^v?{_joined(parts)}(\.[0-9]+){{0,{_PARTS - len(parts)}}}$/"
    kept = list(parts)
    while len(kept) > 1 and kept[-1] == "0":
        kept.pop()
    missing = _PARTS - len(kept)
    zeros = rf"(\.0){{0,{missing}}}" if missing else ""
    return rf"/^v?{_joined(kept)}{zeros}{suffix}$/"


def _joined(parts: tuple[str, ...] | list[str]) -> str:
    return r"\.".join(parts)
