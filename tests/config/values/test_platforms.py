"""`platforms:` of a rule and of all of them: what may be written, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.config.conftest import Load, Refuse

RULE = "images:\n- source: q.io/a:v1\n  destination: x.io/b\n"
HEAD = "version: 1\n"


@pytest.mark.parametrize(
    ("defaults", "written", "expected"),
    [
        ("", "", ()),
        ("", "all", ()),
        ("", "[all]", ()),
        ("", "linux/amd64", ("linux/amd64",)),
        ("", "[linux/arm64/v8, linux/amd64]", ("linux/amd64", "linux/arm64/v8")),
        ("", "[linux/x86_64, linux/amd64]", ("linux/amd64",)),
        ("", "['windows/amd64:10.0.17763']", ("windows/amd64:10.0.17763",)),
        ("", "['linux/*']", ("linux/*",)),
        ("[linux/amd64]", "", ("linux/amd64",)),
        ("linux/amd64", "linux/arm64", ("linux/arm64",)),
        ("linux/amd64", "all", ()),
        ("all", "", ()),
    ],
)
def test_a_rule_has_its_own_platforms_or_the_defaults(
    load: Load, defaults: str, written: str, expected: tuple[str, ...]
) -> None:
    """A rule's own choice stands instead of the defaults; equal choices are written alike."""
    above = f"defaults: {{platforms: {defaults}}}\n" if defaults else ""
    below = f"  platforms: {written}\n" if written else ""
    (rule,) = load(HEAD + above + RULE + below).rules
    assert rule.platforms == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("[]", "is an empty list; name a platform, write all, or remove the key"),
        ("[all, linux/amd64]", "names all and others; keep one of the two"),
        ("linux", "'linux' is no platform; write os/architecture[/variant]"),
        ("'linux/amd64,linux/arm64'", "is no platform"),
        ("{linux: amd64}", "must be all, or a list such as [linux/amd64, linux/arm64]"),
        ("[[linux/amd64]]", "must be all, or a list"),
    ],
)
def test_a_wrong_choice_is_refused_with_its_place(
    refuse: Refuse, written: str, expected: str
) -> None:
    """File, line, key, cause and fix; in a rule and in the defaults."""
    said = refuse(f"{HEAD}{RULE}  platforms: {written}\n")
    assert said.startswith("prod.yaml:5: images[0].platforms")
    assert expected in said
    said = refuse(f"{HEAD}defaults:\n  platforms: {written}\n{RULE}")
    assert said.startswith("prod.yaml:3: defaults.platforms")
    assert expected in said


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("v1", "images[1]: x.io/b:v1 is asked with platforms linux/arm64, and all in line 3"),
        ("'v*'", "images[1]: line 3 asks the same with platforms all"),
    ],
)
def test_one_address_has_one_choice(refuse: Refuse, tags: str, expected: str) -> None:
    """Two rules that ask the same for other platforms name both lines."""
    rule = f"- {{source: q.io/a, destination: x.io/b, tags: {tags}"
    assert expected in refuse(f"{HEAD}images:\n{rule}}}\n{rule}, platforms: linux/arm64}}\n")
