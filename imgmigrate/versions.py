"""Read tags as versions, and say which versions a range wants.

Pure. A tag is a version if it begins, behind an optional `v`, with one to three numbers
(`1`, `1.25`, `v1.25.3`); missing ones count as 0. What follows is told apart by its first word:

- a pre-release: a word such as `rc`, `alpha`, `beta`, `dev` (`1.26.0-rc.1`, `1.26-beta2`,
  `3.14rc1`), or a plain number (`1.26.0-1`, as semver.org reads it);
- a suffix, which is anything else (`1.25-alpine`, `1.25.3-debian-12-r1`) and names a variant.

A range wants no pre-releases unless one of its own versions is one (`>=1.26.0-rc.1`, `>=1.26-0`),
and no suffix but the one that it names itself (`^1.25-alpine`). Each side of `||` is for itself.

A range with any suffix reads tags as most libraries of Go do (`LooseVersion`): whatever stands
behind the hyphen makes a pre-release, so that `12-alpine` is below `12`, and all are wanted that
its bounds let in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from semver import Version as SemVer

__all__ = [
    "LooseVersion",
    "Version",
    "VersionRange",
    "parse_loose",
    "parse_range",
    "parse_version",
]

# What comes before a release in the wild: SemVer's own examples, Python's and Maven's habits.
_EARLY = (
    "alpha|beta|rc|cr|preview|pre|prerelease|dev|develop|snapshot|nightly|canary|next|milestone"
    "|unstable|experimental|ea|a|b|c|m"
)
# A digit may follow with or without something between: rc1, rc.1, rc-1.
_PRE = re.compile(rf"(?i)({_EARLY})[.-]?(\d+(?:\.\d+)*)?(?![A-Za-z])|(0|[1-9]\d*)(?=[.-]|$)")
_NUMBERS = re.compile(r"[vV]?(\d{1,18})(?:\.(\d{1,18}))?(?:\.(\d{1,18}))?(?![\d]|\.\d)")
_COMPARATOR = re.compile(r"(\^|~|>=|<=|>|<|=|)\s*([^\s,<>=^~|]+)\s*,?\s*")
_LOOSE = re.compile(r"v?([0-9]{1,18}(?:\.[0-9]{1,18})*)(?:-(.*))?")
_WILD = re.compile(r"(?i)[vV]?(?:(\d{1,18})(?:\.(\d{1,18}))?)?\.?[x*](?:\.[x*])*")
_EXAMPLE = "write such as >=1.25 <2, ^1.25, ~1.25.3 or 1.25 || 1.27"


@dataclass(frozen=True, slots=True)
class Version:
    """A tag read as a version. `parts` are the numbers that are written, 1 to 3 of them."""

    text: str
    parts: tuple[int, ...]
    prerelease: str | None = None
    suffix: str = ""
    order: SemVer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from semver import Version as SemVer

        major, minor, patch = (*self.parts, 0, 0)[:3]
        object.__setattr__(self, "order", SemVer(major, minor, patch, self.prerelease))


def parse_version(tag: str) -> Version | None:
    """Read a tag as a version; None if it is none."""
    found = _NUMBERS.match(tag)
    if found is None:
        return None
    parts = tuple(int(part) for part in found.groups() if part is not None)
    rest = tag[found.end() :]
    if not rest:
        return Version(tag, parts)
    bare = rest[1:] if rest[0] in "-_." else rest
    early = _PRE.match(bare)
    if early is not None and (early[1] or rest[0] == "-"):
        suffix = bare[early.end() :]
        if not suffix or suffix[0] in "-_.":
            return Version(tag, parts, _identifiers(early), suffix.lstrip("-_."))
    if rest[0] not in "-_" or not bare:
        return None  # 1.25x, 1.25. and the like say nothing
    return Version(tag, parts, None, bare)


def _identifiers(early: re.Match[str]) -> str:
    """Print a pre-release as SemVer compares it: `rc10` comes after `rc2`."""
    if early[3] is not None:
        return early[3]
    numbers = [str(int(part)) for part in (early[2] or "").split(".") if part]
    return ".".join([early[1].lower(), *numbers])


# What a release has for identifiers: it is above all of its pre-releases.
_RELEASE = ((2, 0, ""),)


@dataclass(frozen=True, slots=True, order=True)
class LooseVersion:
    """Any count of numbers, then a pre-release whatever it is called; in semver.org's order."""

    numbers: tuple[int, ...]
    identifiers: tuple[tuple[int, int, str], ...] = _RELEASE
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text


def parse_loose(tag: str) -> LooseVersion | None:
    """Read a tag as a version with whatever suffix; None if it is none."""
    found = _LOOSE.fullmatch(tag)
    if found is None:
        return None
    parts = tuple(int(part) for part in found[1].split("."))
    identifiers = (
        (0, int(each), "") if each.isdecimal() else (1, 0, each)
        for each in (found[2] or "").split(".")
    )
    return _loose(parts, tuple(identifiers) if found[2] else _RELEASE, tag)


def _loose(
    parts: tuple[int, ...], identifiers: tuple[tuple[int, int, str], ...], text: str
) -> LooseVersion:
    """Leave out zeros at the end: 1.2 is 1.2.0."""
    while parts and parts[-1] == 0:
        parts = parts[:-1]
    return LooseVersion(parts, identifiers, text)


class _Bounds(Struct, frozen=True):
    """One side of `||`: an interval, and what else its versions may be.

    Its ends are of one kind: SemVer, or LooseVersion where any suffix is wanted.
    """

    lower: Any
    is_open: bool  # whether `lower` itself is outside
    upper: Any
    is_closed: bool  # whether `upper` itself is inside
    prereleases: bool
    suffix: str

    def refusal(self, version: Version) -> str | None:
        """Say why a version is not wanted; None if it is."""
        if version.suffix != self.suffix:
            if not version.suffix:
                return f"without the suffix {self.suffix}"
            return f"suffix {version.suffix} is not asked for"
        if version.prerelease is not None and not self.prereleases:
            return "a pre-release, which is not asked for"
        return self.outside(version.order)

    def outside(self, order: Any) -> str | None:
        """Say on which side of the interval something is; None if it is in it."""
        if self.lower is not None and (order <= self.lower if self.is_open else order < self.lower):
            return "too old"
        if self.upper is not None:
            over = order > self.upper if self.is_closed else order >= self.upper
            return "too new" if over else None
        return None


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Which versions are wanted; equal to another if both were written alike."""

    text: str
    _sides: tuple[_Bounds, ...] = field(repr=False, compare=False)
    any_suffix: bool = False

    def matches(self, tag: str) -> bool:
        """Tell whether a tag is a version in the range."""
        return self.refusal(tag) is None

    def refusal(self, tag: str) -> str | None:
        """Say why a tag is not in the range; None if it is."""
        if self.any_suffix:
            loose = parse_loose(tag)
            if loose is None:
                return "not a version"
            reasons = [side.outside(loose) for side in self._sides]
        else:
            version = parse_version(tag)
            if version is None:
                return "not a version"
            reasons = [side.refusal(version) for side in self._sides]
        if None in reasons:
            return None
        return reasons[0] if len(set(reasons)) == 1 else "in none of the ranges"

    def __str__(self) -> str:
        return f"{self.text} with any suffix" if self.any_suffix else self.text


def parse_range(text: str, *, any_suffix: bool = False) -> VersionRange:
    """Parse a range; ValueError says what is wrong and shows how ranges are written."""
    if not text.strip():
        msg = f"a version range cannot be empty; {_EXAMPLE}"
        raise ValueError(msg)
    limits = _loose_limits if any_suffix else _limits
    sides = tuple(_side(text, side.strip(), limits) for side in text.split("||"))
    return VersionRange(text, sides, any_suffix)


def _side(text: str, side: str, read: Callable[[str, str, str], _Limit]) -> _Bounds:
    if not side:
        msg = f"{text!r} has nothing on one side of ||; {_EXAMPLE}"
        raise ValueError(msg)
    if re.search(r"\s-\s", side):
        msg = f"{text!r}: a hyphen does not make a range; write >=1.2 <=1.4"
        raise ValueError(msg)
    limits, position = [], 0
    while position < len(side):
        found = _COMPARATOR.match(side, position)
        if found is None:
            msg = f"{text!r}: {side[position:]!r} is not a comparison; {_EXAMPLE}"
            raise ValueError(msg)
        limits.append(read(text, found[1], found[2]))
        position = found.end()
    suffixes = {each.suffix for each in limits if each.suffix}
    if len(suffixes) > 1:
        named = " and ".join(sorted(suffixes))
        msg = f"{text!r} names the suffixes {named}: no tag has both; separate them by ||"
        raise ValueError(msg)
    return _intersection(text, limits, suffixes.pop() if suffixes else "")


class _Limit(Struct, frozen=True):
    """What one comparison demands."""

    lower: Any = None
    is_open: bool = False
    upper: Any = None
    is_closed: bool = False
    suffix: str = ""
    prereleases: bool = False


def _intersection(text: str, limits: list[_Limit], suffix: str) -> _Bounds:
    """Make one interval of all; ValueError if nothing is in it."""
    lower: Any = None
    upper: Any = None
    is_open = is_closed = False
    for each in limits:
        if each.lower is not None and (lower is None or each.lower >= lower):
            is_open = each.is_open or (is_open and each.lower == lower)
            lower = each.lower
        if each.upper is not None and (upper is None or each.upper <= upper):
            is_closed = each.is_closed and (is_closed or each.upper != upper)
            upper = each.upper
    if lower is not None and upper is not None:
        is_single = lower == upper and is_closed and not is_open
        if not (lower < upper or is_single):
            msg = f"{text!r} wants no version: nothing is above {lower} and below {upper}"
            raise ValueError(msg)
    prereleases = any(each.prereleases for each in limits)
    return _Bounds(lower, is_open, upper, is_closed, prereleases, suffix)


def _limits(text: str, operator: str, written: str) -> _Limit:
    wild = _wild_parts(text, operator, written)
    if wild is not None:
        return _between(wild, _first_release, _first_after)
    version = parse_version(written)
    if version is None:
        raise _no_version(text, written)
    order, is_early = version.order, version.prerelease is not None
    found = _compared(operator, version.parts, order, _first_after, is_exact=is_early)
    if operator == "<" and not is_early:
        # Below 2.0.0 are not the pre-releases of 2.0.0, whatever SemVer's order says.
        found = _Limit(upper=order.replace(prerelease="0"))
    return replace(found, suffix=version.suffix, prereleases=is_early)


def _loose_limits(text: str, operator: str, written: str) -> _Limit:
    """As `_limits`, where every suffix is a pre-release that its order alone lets in."""
    wild = _wild_parts(text, operator, written)
    if wild is not None:
        return _between(wild, _loose_release, _loose_after)
    version = parse_loose(written)
    if version is None:
        raise _no_version(text, written)
    numbers = written.removeprefix("v").partition("-")[0]
    parts = tuple(int(part) for part in numbers.split("."))
    is_early = version.identifiers != _RELEASE
    return _compared(operator, parts, version, _loose_after, is_exact=is_early)


def _compared(
    operator: str,
    parts: tuple[int, ...],
    order: Any,
    after: Callable[[tuple[int, ...]], Any],
    *,
    is_exact: bool,
) -> _Limit:
    """What an operator demands of a version; missing numbers are any unless it `is_exact`.

    `after` makes the end of all that begins with some numbers.
    """
    has_gap = len(parts) < 3 and not is_exact
    end, is_closed = (after(parts), False) if has_gap else (order, True)
    if operator in ("^", "~"):
        return _Limit(order, upper=after(_kept(operator, parts)))
    if operator in ("", "="):
        return _Limit(order, upper=end, is_closed=is_closed)
    if operator == ">=":
        return _Limit(order)
    if operator == ">":
        return _Limit(end, is_open=is_closed)
    if operator == "<":
        return _Limit(upper=order)
    return _Limit(upper=end, is_closed=is_closed)


def _wild_parts(text: str, operator: str, written: str) -> tuple[int, ...] | None:
    """The numbers of `*`, `1.x` and `1.25.*`; None where no wildcard is written."""
    wild = _WILD.fullmatch(written)
    if wild is None:
        return None
    if operator not in ("", "="):
        msg = f"{text!r}: {operator} before a wildcard means nothing; leave one of them out"
        raise ValueError(msg)
    return tuple(int(part) for part in wild.groups() if part is not None)


def _between(
    parts: tuple[int, ...],
    first: Callable[[tuple[int, ...]], Any],
    after: Callable[[tuple[int, ...]], Any],
) -> _Limit:
    """All that begins with some numbers; with none it is everything."""
    return _Limit(first(parts), upper=after(parts)) if parts else _Limit()


def _no_version(text: str, written: str) -> ValueError:
    return ValueError(f"{text!r}: {written!r} is not a version; {_EXAMPLE}")


def _loose_release(parts: tuple[int, ...]) -> LooseVersion:
    return _loose(parts, _RELEASE, ".".join(map(str, parts)))


def _loose_after(parts: tuple[int, ...]) -> LooseVersion:
    """The least release that no longer begins with `parts`."""
    return _loose_release((*parts[:-1], parts[-1] + 1))


def _kept(operator: str, parts: tuple[int, ...]) -> tuple[int, ...]:
    """What must not change: `~` keeps the minor, `^` everything up to the first number above 0."""
    if operator == "~":
        return parts[:2]
    for number, part in enumerate(parts):
        if part:
            return parts[: number + 1]
    return parts


def _first_release(parts: tuple[int, ...]) -> SemVer:
    from semver import Version as SemVer

    major, minor, patch = (*parts, 0, 0)[:3]
    return SemVer(major, minor, patch)


def _first_after(parts: tuple[int, ...]) -> SemVer:
    """The least version, pre-releases included, that no longer begins with `parts`."""
    from semver import Version as SemVer

    major, minor, patch = (*parts[:-1], parts[-1] + 1, 0, 0)[:3]
    return SemVer(major, minor, patch, "0")
