"""Ranges of Go's libraries become ours, each by its own rules."""

from __future__ import annotations

import re

import pytest

from imgmigrate.foreign.reading.ranges import Dialect, Wanted, is_semver, translate

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
        (REGSYNC, "<=1.2.0-alpine", "<1.2.0"),
        (SKOPEO, ">= 3.12.0", ">=3.12.0"),
        (SKOPEO, "1.2 - 1.4", ">=1.2 <=1.4"),
        (SKOPEO, "~> 1.2.x, =<2", "~1.2 <=2"),
        (SKOPEO, "*", "*"),
        (SKOPEO, "1.X.x", "1"),
        (SKOPEO, ">=1.2.0-0", ">=1.2.0-0"),
        # Masterminds takes pre-releases only where all comparisons name one.
        (SKOPEO, ">1.2.0-rc.1 <2", ">=1.2.0 <2"),
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
        (DREGSY, "!2.0.0", Wanted("*", (r"/^v?2(\.0){0,2}$/",), is_narrower=True)),
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
        (REGSYNC, ">= 1.2.3.4", "at most three numbers"),
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
        ("1.2.3_x", False),
        ("latest", False),
    ],
)
def test_dregsys_versions(tag: str, expected: bool) -> None:
    """A short version has nothing behind it."""
    assert is_semver(tag) is expected
