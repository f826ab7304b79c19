"""Regexes of repositories become globs, or are told to have none."""

from __future__ import annotations

import re

import pytest

from imgmigrate.foreign.reading.repositories import exclusion_of, globs_of, literal_of
from imgmigrate.matching import compile_regex


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("team/app", ["team/app"]),
        ("team/.*", ["team/**"]),
        ("team/.+", ["team/**"]),
        (".*", ["**"]),
        ("^team/.*$", ["team/**"]),
        (r"my\.app", ["my.app"]),
        ("team-[^/]*", ["team-*"]),
        ("[^/]+/app", ["?*/app"]),
        # ** as a segment of ours may be none, .* between slashes is not.
        ("team/.*/app", ["team/*/**/app"]),
        ("(team|tmp)/.*", ["team/**", "tmp/**"]),
        ("(?:a|b(c|d))", ["a", "bc", "bd"]),
        ("web-[12]", ["web-1", "web-2"]),
        ("webs?", ["web", "webs"]),
        # Only the ends are anchored, as Go's tools compile it.
        ("a|m|b", ["a**", "**m**", "**b"]),
        ("^a$|^b$", ["a", "b"]),
    ],
)
def test_a_plain_regex_is_a_glob(expression: str, expected: list[str]) -> None:
    """What repeats anything, and what has few choices, can be said."""
    assert globs_of(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "my.app",
        "[a-z]+",
        r"\d+",
        "a{2}",
        "(ab)+",
        "(?i)a",
        "x.+",
        r"a\*",
        "[ab][cd][ef][gh][ij][kl][mn]",
        "(" * 2000 + "a" + ")" * 2000,
        "(a",
        "a*",
    ],
)
def test_any_other_regex_has_no_glob(expression: str) -> None:
    """Nothing is guessed, and nothing explodes."""
    assert globs_of(expression) is None


@pytest.mark.parametrize(
    "expression", ["tmp-.*", "a|m/x|b", "^x", ".*", "[^/]+/app", "team/(app|db)", "b$"]
)
def test_an_exclusion_matches_the_same_names(expression: str) -> None:
    """The host before them is no part of what is matched."""
    names = ("tmp-1", "x", "ab", "b", "am/xy", "m/x", "team/app", "team/sub/app", "app", "oldb/c")
    regex = exclusion_of("old.io", expression)
    assert regex is not None
    compiled = compile_regex(regex)
    for name in names:
        expected = re.search(f"^{expression}$", name) is not None
        assert (compiled.search(f"old.io/{name}") is not None) is expected, name


@pytest.mark.parametrize("expression", [r"\Aa", r"a\b", "x(^a)", "(?i)a"])
def test_what_looks_around_is_no_exclusion(expression: str) -> None:
    """It would see the host."""
    assert exclusion_of("old.io", expression) is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("jenkins/", "jenkins/"), (r"a\.b", "a.b"), ("a|b", None), ("a.*", None), ("x?", None)],
)
def test_a_literal_is_told_from_a_choice(expression: str, expected: str | None) -> None:
    """Only one text is one."""
    assert literal_of(expression) == expected
