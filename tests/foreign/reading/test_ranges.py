"""Ranges of Go's libraries become ours, each by its own rules."""

from __future__ import annotations

import re

import pytest

from imgmigrate.foreign.reading.ranges import NO_VERSIONS, Dialect, Wanted, is_semver, translate

STRANGE = NO_VERSIONS[Dialect.DREGSY]
REGSYNC, SKOPEO, DREGSY = Dialect.REGSYNC, Dialect.SKOPEO, Dialect.DREGSY


@pytest.mark.parametrize(
    ("dialect", "text", "semver"),
    [
        (REGSYNC, ">=3.5.1 <4.0", ">=3.5.1 <4.0"),
        # A missing number is 0 to regsync, and any to ours.
        (REGSYNC, "~1", "~1.0.0"),
        (REGSYNC, "^0.0", "^0.0.0"),
        (REGSYNC, ">v1.2", ">1.2.0"),
        (REGSYNC, "1.2", "1.2.0"),
        (REGSYNC, ">=1.2.0-rc.1", ">=1.2.0-rc.1"),
        (REGSYNC, "<=1.2.0-alpine", "<=1.2.0-alpine"),
        (REGSYNC, ">=1.2.3.4", ">=1.2.3.4"),
        (SKOPEO, ">= 3.12.0", ">=3.12.0"),
        (SKOPEO, "1.2 - 1.4", ">=1.2 <=1.4"),
        (SKOPEO, "~> 1.2.x, =<2", "~1.2 <=2"),
        (SKOPEO, "*", "*"),
        (SKOPEO, "1.X.x", "1"),
        (SKOPEO, ">=1.2.0-0", ">=1.2.0-0"),
        # Masterminds takes pre-releases where one comparison names one, and compares numbers
        # alone where some are missing and at the end of ~ and ^.
        (SKOPEO, ">1.2.0-rc.1 <2", ">1.2.0-rc.1 <2.0.0"),
        (SKOPEO, ">= v1.2.0-0a1b2c3", ">=1.2.0-0a1b2c3"),
        (SKOPEO, "~1.2-0", ">=1.2.0-0 <1.3.0-0"),
        (SKOPEO, "^0.2.3-rc.1", ">=0.2.3-rc.1 <0.3.0-0"),
        (SKOPEO, "1.2.0-0 - 1.4", ">=1.2.0-0 <1.5.0-0"),
        (SKOPEO, ">1.2 <2.0.0-rc.1", ">=1.3.0-0 <2.0.0-rc.1"),
        (DREGSY, ">=1.31.0 <1.31.9", ">=1.31.0 <1.31.9"),
        (DREGSY, ">1.2.x", ">1.2"),
        (DREGSY, "== 1.2.3", "=1.2.3"),
    ],
)
def test_a_range_is_written_in_our_language(dialect: Dialect, text: str, semver: str) -> None:
    """Signs, missing numbers and wildcards mean what they meant."""
    assert [each.semver for each in translate(text, dialect)] == [semver]


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        (SKOPEO, "^1 != 1.2.3", Wanted("^1", (r"/^v?1\.2\.3$/",))),
        (SKOPEO, "!=1.2", Wanted("*", (r"/^v?1\.2(\.[0-9]+){0,1}$/",))),
        (DREGSY, "!2.0.0", Wanted("*", (r"/^v?2(\.0){0,2}$/", STRANGE), any_suffix=True)),
        (
            DREGSY,
            "!=1.2.3-rc.1",
            Wanted("*", (r"/^v?1\.2\.3-rc\.1$/", STRANGE), any_suffix=True),
        ),
        # regsync compares rc10 with rc9 by its number.
        (REGSYNC, "<1.2.0-rc10", Wanted("<1.2.0-rc10", any_suffix=True, is_close=True)),
    ],
)
def test_what_is_not_wanted_is_an_exclusion(dialect: Dialect, text: str, expected: Wanted) -> None:
    """`!=` leaves tags out, however many numbers they are written with."""
    assert translate(text, dialect) == [expected]


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        (REGSYNC, ">=1 || <0", "regsync has no ||"),
        (REGSYNC, "!=1.2.3", "is no comparison of regsync"),
        (SKOPEO, ">= 1.2.3.4", "at most three numbers"),
        (SKOPEO, ">=1 ||", "no comparison on one side"),
        (SKOPEO, "==1.2", "is no comparison of skopeo"),
        (SKOPEO, "newest", "is not a version"),
        (SKOPEO, ">2 <1", "wants no version"),
        (DREGSY, "^1.2.3", "is no comparison of dregsy"),
        (DREGSY, "", "no comparison"),
    ],
)
def test_nonsense_is_refused(dialect: Dialect, text: str, expected: str) -> None:
    """The reason names the range, and whose it is."""
    with pytest.raises(ValueError, match=re.escape(expected)):
        translate(text, dialect)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("1", True),
        ("v1.2", True),
        ("1.2.3-alpine.1", True),
        ("1.2-alpine", False),
        ("1.2.3-01", False),
        ("1.2.3.4", False),
        ("1.2.3_x", False),
        ("latest", False),
    ],
)
def test_dregsys_versions(tag: str, expected: bool) -> None:
    """A short version has nothing behind it."""
    assert is_semver(tag) is expected


@pytest.mark.parametrize("text", ["12.x", "*", ">=1.X <2"])
def test_regsync_has_no_wildcards(text: str) -> None:
    """It fails at them; read as a number that is missing, 12.x would be 12.0.0 alone."""
    with pytest.raises(ValueError, match="regsync has no wildcards"):
        translate(text, Dialect.REGSYNC)
    assert translate("1.2.3-x86", Dialect.REGSYNC)
