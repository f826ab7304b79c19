"""`defaults`: the tags and the immutable tags of rules that do not say them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.oci.reference import Digest

if TYPE_CHECKING:
    from imgmigrate.rules.rule import Rule
    from tests.config.conftest import Load, Refuse

HEAD = "version: 1\n"
RULE = "images:\n- source: quay.io/a\n  destination: new.example/a\n"
ONE = Digest.of(b"one")


def selected(rule: Rule, *tags: str) -> set[str]:
    return {tag for tag in tags if rule.selects(tag)}


@pytest.mark.parametrize(
    ("defaults", "source", "written", "expected"),
    [
        ("'v*'", "quay.io/a", "", {"v1", "v2"}),
        ("[v1, main]", "quay.io/a", "", {"v1", "main"}),
        ("/^v/", "quay.io/a", "", {"v1", "v2"}),
        ("{include: ['v*'], exclude: [v2]}", "quay.io/a", "", {"v1"}),
        ("{any: [{include: [v1]}, {semver: '>=2'}]}", "quay.io/a", "", {"v1", "v2"}),
        ("'v*'", "quay.io/a", "tags: '*'", {"v1", "v2", "main"}),
        ("'v*'", "quay.io/a", "tags: {exclude: ['v*']}", {"main"}),
        ("'v*'", "quay.io/a:main", "", {"main"}),
        ("'v*'", f"quay.io/a@{ONE}", "", set()),
    ],
)
def test_a_rule_has_its_own_tags_or_the_defaults(
    load: Load, defaults: str, source: str, written: str, expected: set[str]
) -> None:
    """What a rule says of its tags, behind its source too, stands instead of the defaults."""
    text = f"{HEAD}defaults: {{tags: {defaults}}}\n{RULE}".replace("quay.io/a\n", f"{source}\n")
    (rule,) = load(f"{text}  {written}\n").rules
    assert selected(rule, "v1", "v2", "main") == expected


@pytest.mark.parametrize(
    ("written", "expected"), [("", {"v1"}), ("immutable_tags: main", {"main"})]
)
def test_a_rule_has_its_own_immutable_tags_or_the_defaults(
    load: Load, written: str, expected: set[str]
) -> None:
    """Likewise for the tags that a source never moves."""
    (rule,) = load(f"{HEAD}defaults: {{immutable_tags: 'v*'}}\n{RULE}  {written}\n").rules
    assert {tag for tag in ("v1", "main") if rule.is_immutable(tag)} == expected


def test_defaults_hold_for_globs_and_for_positional_names(load: Load) -> None:
    """A rule of many repositories has them, and new names pair with the default tags."""
    above = f"{HEAD}defaults: {{tags: [v1, v2]}}\nimages:\n"
    many = "- {source: 'quay.io/**', destination: 'new.example/{repository}'}\n"
    (glob,) = load(above + many).globs
    assert glob.rule.explicit_tags == ("v1", "v2")
    (rule,) = load(f"{above}- {{source: quay.io/a, destination: 'new.example/a:1,2'}}\n").rules
    assert [str(address) for _, address in rule.explicit_addresses()] == [
        "new.example/a:1",
        "new.example/a:2",
    ]


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        ("tags: 'a b'", "defaults.tags"),
        ("tags: ['v*', '/(/']", "defaults.tags[1]: the regex /(/ does not compile"),
        ("tags: []", "defaults.tags: is an empty list"),
        ("tags: {newest: 0}", "defaults.tags.newest: must be a whole number of tags"),
        ("tags: {inclde: x}", "defaults.tags.inclde: is not a known key; did you mean include?"),
        ("tags: {any: [{x: y}]}", "defaults.tags.any[0].x: is not a known key"),
        ("immutable_tags: ['/(/']", "defaults.immutable_tags[0]: the regex /(/"),
        ("rename: {a: b}", "defaults.rename: is not supported yet"),
        ("tgs: x", "defaults.tgs: is not a known key; did you mean tags?"),
    ],
)
def test_wrong_defaults_are_refused_where_they_stand(
    refuse: Refuse, defaults: str, said: str
) -> None:
    """The error names the line and key of the defaults, once, whatever rules there are."""
    found = refuse(f"{HEAD}defaults:\n  {defaults}\n{RULE}")
    assert found.startswith("prod.yaml:3: ")
    assert said in found
    assert "\n" not in found
