"""Versions and ranges: what a tag reads as, and what a range wants."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.oci.reference import is_tag
from imgmigrate.versions import parse_loose, parse_range, parse_version


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("1", ((1,), None, "")),
        ("1.25", ((1, 25), None, "")),
        ("v1.25.3", ((1, 25, 3), None, "")),
        ("V2", ((2,), None, "")),
        ("24.04", ((24, 4), None, "")),
        ("20240131", ((20240131,), None, "")),
        ("1.26.0-rc.1", ((1, 26, 0), "rc.1", "")),
        ("1.26-RC1", ((1, 26), "rc.1", "")),
        ("1.26-beta2", ((1, 26), "beta.2", "")),
        ("2.0.0-beta.2.1", ((2, 0, 0), "beta.2.1", "")),
        ("3.14rc1", ((3, 14), "rc.1", "")),
        ("3.14.0a1", ((3, 14, 0), "a.1", "")),
        ("8.0.100-preview.7", ((8, 0, 100), "preview.7", "")),
        ("1.0-SNAPSHOT", ((1, 0), "snapshot", "")),
        ("1.26.0-1", ((1, 26, 0), "1", "")),
        ("1.26-0", ((1, 26), "0", "")),
        ("1.25-alpine", ((1, 25), None, "alpine")),
        ("1.25-alpine3.20", ((1, 25), None, "alpine3.20")),
        ("1.25.3-debian-12-r1", ((1, 25, 3), None, "debian-12-r1")),
        ("1.0.0_build.5", ((1, 0, 0), None, "build.5")),
        ("1.2.3-b4f2c1", ((1, 2, 3), None, "b4f2c1")),
        ("1.25-main", ((1, 25), None, "main")),
        ("2024-01-31", ((2024,), None, "01-31")),
        ("1.27-rc1-alpine", ((1, 27), "rc.1", "alpine")),
        ("3.14rc1-slim-bookworm", ((3, 14), "rc.1", "slim-bookworm")),
        ("latest", None),
        ("v", None),
        ("version-1", None),
        ("1.2.3.4", None),
        ("1.25x", None),
        ("1.25.", None),
        ("1.25-", None),
        ("1.25.foo", None),
    ],
)
def test_a_tag_reads_as_numbers_prerelease_and_suffix(
    tag: str, expected: tuple[object, ...] | None
) -> None:
    """Missing numbers and a `v` are forgiven; a pre-release is told from a variant's suffix."""
    found = parse_version(tag)
    assert (found and (found.parts, found.prerelease, found.suffix)) == expected


def test_versions_are_ordered_as_semver_says() -> None:
    """Numbers count as numbers, in pre-releases too, and a pre-release comes before its release."""
    tags = ["1.9", "1.10-alpha", "1.10-beta2", "1.10-beta10", "1.10-rc.1", "1.10", "v1.10.1", "2"]
    orders = [found.order for tag in tags if (found := parse_version(tag))]
    assert len(orders) == len(tags)
    assert sorted(orders) == orders


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("*", "0 1.2 v99.0.1", "1.2-rc1 1.2-alpine latest"),
        ("1.x", "1 1.0 1.99.3", "2 0.9 1.2-rc1"),
        ("1.25.*", "1.25 1.25.9", "1.26 1.24.9"),
        ("1.25", "1.25 v1.25.0 1.25.9", "1.26 1.24.9 1.25-alpine"),
        ("=1.25.3", "1.25.3 v1.25.3", "1.25 1.25.4"),
        (">=1.25", "1.25 1.25.1 2", "1.24.9 1.25-rc1 1.25-alpine"),
        (">1.25", "1.26 2", "1.25.9 1.25"),
        (">1.25.3", "1.25.4", "1.25.3"),
        ("<2", "1.99 0", "2 2.0.1 2.0.0-rc.1"),
        ("<=1.25", "1.25.9 1", "1.26"),
        ("<=1.25.3", "1.25.3 1", "1.25.4"),
        ("^1.25", "1.25 1.99.1", "2 1.24 2.0-rc1"),
        ("^1.25.3", "1.25.3 1.26", "1.25.2 2"),
        ("^0.3", "0.3 0.3.9", "0.4 1"),
        ("^0.0.3", "0.0.3", "0.0.4 0.1"),
        ("^0", "0.9", "1"),
        ("~1.25.3", "1.25.3 1.25.9", "1.26 1.25.2"),
        ("~1.25", "1.25 1.25.9", "1.26"),
        ("~1", "1 1.99", "2"),
        (">=1.25 <1.27", "1.25 1.26.9", "1.27 1.24"),
        (">=1.25, <1.27", "1.25 1.26.9", "1.27 1.24"),
        (">= 1.25 < 1.27", "1.25", "1.27"),
        ("1.25 || 1.27", "1.25.1 1.27", "1.26"),
        ("~1.25||^2", "1.25.1 2.9", "1.26 3"),
        ("^v1.25", "v1.25 1.26", "2"),
        # Suffixes: the one that is named, exactly, and no other.
        ("^1.25-alpine", "1.25-alpine v1.26.1-alpine", "1.25 1.26-alpine3.20 2-alpine 1.26-slim"),
        (">=1.25-alpine <1.27", "1.26-alpine", "1.27-alpine 1.26"),
        ("1.25 || 1.25-alpine", "1.25 1.25.1-alpine", "1.25-slim"),
        # Pre-releases: as soon as one is named.
        (">=1.26.0-rc.1", "1.26.0-rc.1 1.26.0-rc2 1.26 1.27-beta1", "1.26.0-beta.9 1.25"),
        (">=1.26-0", "1.26-alpha 1.26 1.28-rc1", "1.25.9"),
        ("^1.26-0", "1.99-rc1", "2.0-rc1"),
        (">=1.26-0 <2", "1.99-rc1", "2.0-rc1"),
        ("<=2.0-rc1", "2.0-rc1 2.0-beta1 1.9-rc1", "2.0-rc2 2.0"),
        (">=1.26-rc1-alpine", "1.26-rc2-alpine 1.27-alpine", "1.26-rc2 1.27"),
    ],
)
def test_a_range_wants_exactly_its_versions(text: str, inside: str, outside: str) -> None:
    """Every operator, partial versions, suffixes and pre-releases."""
    wanted = parse_range(text)
    assert [tag for tag in inside.split() if not wanted.matches(tag)] == []
    assert [tag for tag in outside.split() if wanted.matches(tag)] == []


@pytest.mark.parametrize(
    ("text", "tag", "reason"),
    [
        (">=1.25 <2", "1.24", "too old"),
        (">=1.25 <2", "2.1", "too new"),
        (">=1.25", "latest", "not a version"),
        (">=1.25", "1.26-rc1", "a pre-release, which is not asked for"),
        (">=1.25", "1.26-alpine", "suffix alpine is not asked for"),
        (">=1.25-alpine", "1.26", "without the suffix alpine"),
        ("1.25 || 1.27", "1.26", "in none of the ranges"),
        ("1.25 || 1.27", "1.24", "too old"),
        (">=1.25", "1.25", None),
    ],
)
def test_a_refusal_has_a_reason(text: str, tag: str, reason: str | None) -> None:
    """Whoever asks why a tag is not in a range is told."""
    assert parse_range(text).refusal(tag) == reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be empty"),
        ("  ", "cannot be empty"),
        ("newest", "'newest' is not a version"),
        ("^", "is not a comparison"),
        ("=>1", "is not a comparison"),
        ("!=1.2", "is not a version"),
        ("1.2 ||", "nothing on one side of ||"),
        ("|| 1.2", "nothing on one side of ||"),
        ("1.2 | 1.3", "is not a comparison"),
        ("1.2.3.4", "is not a version"),
        ("1.2 - 1.4", "write >=1.2 <=1.4"),
        ("^1.x", "before a wildcard means nothing"),
        (">=2 <1", "wants no version"),
        (">1.2.3 <1.2.3", "wants no version"),
        (">=1.25-alpine <1.27-slim", "no tag has both"),
    ],
)
def test_nonsense_is_refused_with_the_fix(text: str, message: str) -> None:
    """A range that cannot be read, or that no version is in, is an error, never empty."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_range(text)


NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=3).map(
    lambda ns: ".".join(map(str, ns))
)
TAGS = st.builds(
    lambda *ps: "".join(ps),
    st.sampled_from(["", "v"]),
    NUMBERS,
    st.sampled_from(["", "-rc1", "-alpine", "-0"]),
)


@given(TAGS, TAGS)
def test_comparisons_part_what_they_compare(one: str, other: str) -> None:
    """Of full versions, everything is below or not below another one, never both."""
    version = parse_version(other)
    if version is None or parse_version(one) is None or version.prerelease or version.suffix:
        return
    full = ".".join(map(str, (*version.parts, 0, 0)[:3]))
    below, above = parse_range(f"<{full}").matches(one), parse_range(f">={full}").matches(one)
    assert not (below and above)
    found = parse_version(one)
    assert found is not None
    plain = found.prerelease is None and not found.suffix
    assert (below or above) == plain


@given(st.text("0123456789.vrcalpine-_x", max_size=20))
def test_any_tag_can_be_read(text: str) -> None:
    """Reading a tag never fails, whatever it is."""
    if is_tag(text):
        assert parse_version(text) is None or parse_range("*").refusal(text) != "not a version"


@pytest.mark.parametrize(
    ("text", "wanted", "others"),
    [
        (">=12", "12 16-alpine 13.1.2.3 12.0.1-x_1", "12-alpine 11 latest 12x"),
        (">12", "13 13.0.1-x", "12 12.5 13-x"),
        ("<2", "1 2-alpine 1.9.9-z", "2 2.0.1-a"),
        ("<=1.2", "1.2 1.2.9 1.3-rc", "1.3"),
        ("~1.2", "1.2 1.2.9-x 1.3-rc", "1.3 1.2-rc"),
        ("^0.2.3", "0.2.3 0.2.9 0.3.0-rc", "0.3.0 0.2.3-rc"),
        ("^1.2.3.4", "1.2.3.4 1.3", "1.2.3.3 1.2.3 2"),
        ("=1.2.0", "1.2 v1.2.0 1.2.0.0", "1.2.1 1.2.0-rc"),
        ("1.x", "1 1.9-x", "2 1-rc"),
        ("*", "0 1-x", "latest 0.0.1_"),
        (">=1.2.0-rc.2 <1.2.0", "1.2.0-rc.2 1.2.0-rc.10 1.2.0-rc.2.1 1.2-z", "1.2.0-rc.1 1.2.0"),
        (">=1.0.0-1 <1.0.0-a", "1.0.0-1 1.0.0-9 1.0.0-1.x", "1.0.0-0 1.0.0-a 1.0.0-b"),
        ("<1 || 2.0.0-a", "0.9 2.0.0-a", "2 2.0.0-b 1"),
    ],
)
def test_with_any_suffix_all_behind_a_hyphen_is_a_pre_release(
    text: str, wanted: str, others: str
) -> None:
    """Its order alone decides, as semver.org has it; any count of numbers is a version."""
    found = parse_range(text, any_suffix=True)
    tags = [*wanted.split(), *others.split()]
    assert [tag for tag in tags if found.matches(tag)] == wanted.split()


@pytest.mark.parametrize("text", ["^x", ">1.x", "newest", ">2 <1", ">=1 ||", ""])
def test_nonsense_is_refused_with_any_suffix_too(text: str) -> None:
    """A range that wants nothing is a mistake."""
    with pytest.raises(ValueError):
        parse_range(text, any_suffix=True)


@given(st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){0,3}(-[0-9A-Za-z.-]{0,6})?", fullmatch=True))
def test_a_loose_version_is_equal_to_itself_and_not_above_its_release(tag: str) -> None:
    """What stands behind the hyphen never puts it above."""
    version, release = parse_loose(tag), parse_loose(tag.partition("-")[0])
    assert version is not None
    assert release is not None
    assert version == parse_loose(tag)
    assert version <= release
