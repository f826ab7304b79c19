"""Wildcards, placeholders, flattened names, renamed tags: what they mean and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.rules.templates import check_names, concrete_rule, parse_renaming

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.rules.rule import GlobRule
    from tests.config.conftest import Load, Refuse

DIGEST = "sha256:" + "a" * 64


def config(source: str, destination: str, more: str = "") -> str:
    return f"version: 1\nimages:\n- source: '{source}'\n  destination: '{destination}'\n{more}"


def only_glob(load: Load, source: str, destination: str, more: str = "") -> GlobRule:
    found = load(config(source, destination, more))
    assert found.rules == ()
    return found.globs[0]


@pytest.mark.parametrize(
    ("source", "repository", "destination", "more", "expected"),
    [
        ("h.old/team/**", "team/a/b", "n.io/{repository}", "", "n.io/team/a/b"),
        ("h.old/team/**", "team/a/b", "n.io/x/{match}", "", "n.io/x/a/b"),
        ("h.old/team/**", "team/a/b", "n.io/x/{name}", "", "n.io/x/b"),
        ("h.old/team/**", "team/a/b", "n.io/{namespace}-x/{name}", "", "n.io/team/a-x/b"),
        ("h.old/team/**", "team/a/b", "n.io/{registry}/{match}", "", "n.io/h.old/a/b"),
        ("h.old/team/app-*", "team/app-x", "n.io/{match}", "", "n.io/x"),
        ("h.old/team/*/api", "team/a/api", "n.io/{match}", "", "n.io/a/api"),
        ("h.old/**", "a", "n.io/{namespace}/{name}", "", "n.io/a"),
        ("h.old/**", "a/b/c", "n.io/m/{repository}", "  flatten: '-'\n", "n.io/m/a-b-c"),
        ("h.old/team/**", "team/a/b", "n.io/{match}", "  flatten: __\n", "n.io/a__b"),
        ("h.old/**", "a/b/c", "n.io/{namespace}/{name}", "  flatten: _\n", "n.io/a_b/c"),
        ("docker.io/*", "library/nginx", "n.io/{name}", "", "n.io/nginx"),
        ("oci:in/**", "in/a/b", "n.io/{match}", "", "n.io/a/b"),
        ("h.old/**", "a/b", "oci:out/{repository}", "", "oci:out/a/b"),
    ],
)
def test_placeholders_are_filled_from_the_source(
    load: Load,
    tmp_path: Path,
    source: str,
    repository: str,
    destination: str,
    more: str,
    expected: str,
) -> None:
    """Each stands for what DESIGN section 3 says, and an empty namespace leaves no slash."""
    rule = only_glob(load, source, destination, more)
    made = concrete_rule(rule, Repository(rule.rule.source.store, repository), str(tmp_path))
    assert rule.takes(Reference(made.source))
    assert [str(each.repository) for each in made.destinations] == [expected]


@pytest.mark.parametrize(
    ("source", "destination", "more", "expected"),
    [
        ("q.io/a/b:v1", "n.io/{repository}", "", "n.io/a/b:v1"),
        ("q.io/a/b:v1", "n.io/all:{name}-{tag}", "", "n.io/all:b-v1"),
        ("q.io/a/b:v1", "n.io/{name}:latest", "", "n.io/b:latest"),
        ("q.io/a/b:v1", "n.io/all:{name}", "", "n.io/all:b"),
        ("nginx:v1", "n.io/{registry}/{repository}", "", "n.io/docker.io/library/nginx:v1"),
        (f"q.io/a@{DIGEST}", "n.io/a:{digest}", "", f"n.io/a:{DIGEST.replace(':', '-')}"),
        ("q.io/a", "n.io/b", "  tags: v1\n  rename: {v1: w1}\n", "n.io/b:w1"),
        ("q.io/a", "n.io/b", "  tags: v1\n  rename: {'/^v/': ''}\n", "n.io/b:1"),
        ("q.io/a", "n.io/b", "  tags: v1.2\n  rename: {'/^v(\\d+)\\./': 'r\\1-'}\n", "n.io/b:r1-2"),
        ("q.io/a", "n.io/b:x-{tag}", "  tags: v1\n  rename: {v1: w1}\n", "n.io/b:x-w1"),
        ("q.io/a", "q.io/a", "  tags: v1\n  rename: {v1: w1}\n", "q.io/a:w1"),
    ],
)
def test_one_repository_is_mapped_when_the_config_is_read(
    load: Load, source: str, destination: str, more: str, expected: str
) -> None:
    """Without a wildcard nothing has to be listed to know the address."""
    (rule,) = load(config(source, destination, more)).rules
    assert [str(address) for _, address in rule.explicit_addresses()] == [expected]


@pytest.mark.parametrize(
    ("source", "destination", "more", "expected"),
    [
        ("q.io/**", "n.io/x", "", "destination: every repository that the wildcard matches"),
        ("q.io/a", "n.io/{match}", "", "{match} is what a wildcard of the source matched"),
        ("q.io/a", "n.io/{digest}", "", "{digest} is the digest that the source names"),
        (
            "q.io/a",
            "n.io/{repositry}",
            "",
            "{repositry} is no placeholder; did you mean {repository}?",
        ),
        ("q.io/a", "n.io/{name", "", "a brace has no partner"),
        ("q.io/a", "n.io/{tag}", "", "{tag} can only stand behind the colon"),
        ("q.io/**", "n.io/{match}:{tag},x", "", "{tag} cannot stand there"),
        ("q.io/**", "n.io/{match}:a,b", "", "so the source must name each exactly"),
        ("q.io/{x}", "n.io/a", "", "source: a placeholder has no meaning in a source"),
        ("q.io/**", "n.io/*/{name}", "", "a wildcard has no meaning in a destination"),
        ("q.io:5000/a", "n.io/{registry}/a", "", "becomes 'n.io/q.io:5000/a'"),
        ("q.io/**", "N_.io/{name}", "", "is not a registry host"),
        ("q.io/**", "q.io/{repository}", "", "source and destination are the same"),
        (f"q.io/**@{DIGEST}", "n.io/{name}", "", "a digest belongs to one repository"),
        ("q.*/a", "n.io/{name}", "", "a wildcard cannot stand for a registry; write host/**"),
        ("**", "n.io/{name}", "", "a wildcard cannot stand for a registry"),
        ("q.io/A*", "n.io/{name}", "", "it must be lower case"),
        ("oci:in/**/../x", "n.io/{name}", "", ".. cannot stand behind a wildcard"),
        ("q.io/**", "n.io/{name}", "  flatten: '/'\n", "'/' cannot join the segments"),
        ("q.io/a", "n.io/a", "  flatten: '-'\n", "flatten: no destination has a placeholder"),
        ("q.io/a", "n.io/a", "  exclude_repositories: x\n", "the source names one repository"),
        (
            "q.io/**",
            "n.io/{name}",
            "  exclude_repositories: ['tmp/*']\n",
            "exclude_repositories[0]: 'tmp/*' matches nothing at q.io; write 'q.io/tmp/*'",
        ),
        ("q.io/**", "n.io/{name}", "  exclude_repositories: q.io/a:v1\n", "names a tag"),
        ("q.io/a", "n.io/a", "  rename: {'/(/': x}\n", "rename: the regex /(/ does not compile"),
        ("q.io/a", "n.io/a", "  rename: {'/a/': '\\1'}\n", "names no group of /a/"),
        ("q.io/a", "n.io/a", "  rename: {'v*': x}\n", "'v*' is not a tag; a pattern to rename by"),
        ("q.io/a", "n.io/a", "  rename: {a: b, b: a}\n", "a -> b -> a goes round in a circle"),
        ("q.io/a", "n.io/a", "  rename: {a: x, b: x}\n", "a and b both become x"),
        ("q.io/a:v1", "n.io/a:w1", "  rename: {v1: x}\n", "it renames tags by position"),
        (f"q.io/a@{DIGEST}", "n.io/a", "  rename: {v1: x}\n", "the source names a digest"),
        ("q.io/a:v1", "n.io/a", "  rename: {'/v/': 'y z'}\n", "is not a tag"),
        ("q.io/a:v1", "q.io/a", "  rename: {v2: x}\n", "source and destination are the same"),
        ("q.io/a:v1,v2", "q.io/a", "  rename: {v1: v2}\n", "takes as a source too"),
    ],
)
def test_what_cannot_be_mapped_is_refused_with_its_place(
    refuse: Refuse, source: str, destination: str, more: str, expected: str
) -> None:
    """Every mistake that shows without a listing is an error of the config."""
    assert expected in refuse(config(source, destination, more))


def test_a_name_that_is_too_long_names_rule_and_result(load: Load, tmp_path: Path) -> None:
    """What only a match shows is refused with the rule's line and the name that came out."""
    rule = only_glob(load, "q.io/**", "n.io/mirror/{repository}")
    long = "/".join(["segment"] * 31)
    with pytest.raises(ConfigError, match=r"prod.yaml:3: for q.io/segment.*'n.io/mirror/segment"):
        concrete_rule(rule, Repository("q.io", long), str(tmp_path))


def test_a_renamed_tag_that_is_none_is_refused(load: Load) -> None:
    """A form may make a tag longer than tags may be, which only the tag shows."""
    (rule,) = load(config("q.io/a", "n.io/a:" + "x" * 100 + "-{tag}")).rules
    tag = "v" * 100
    with pytest.raises(ConfigError, match="which is not a tag"):
        check_names(rule, rule.source.at(tag), rule.addresses(tag))


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("a", "b"), ("b", "b"), ("v1-rc2", "v1-pre2"), ("v1.2.3", "v1-2-3"), ("x", "x")],
)
def test_tags_are_renamed_once_exact_names_first(tag: str, expected: str) -> None:
    """Exact before regexes, the first regex that matches, and every match of it."""
    renaming = parse_renaming({"a": "b", r"/-rc(\d+)$/": r"-pre\1", r"/\./": "-"})
    assert renaming.of(tag) == expected


@pytest.mark.parametrize(
    ("pattern", "excluded"),
    [("q.io/team/tmp-*", True), ("**/tmp-*", True), ("/tmp-/", True), ("q.io/team/tmp", False)],
)
def test_excluded_repositories_are_not_taken(load: Load, pattern: str, excluded: bool) -> None:
    """Globs, regexes and exact names leave repositories out."""
    more = f"  exclude_repositories: ['{pattern}']\n"
    rule = only_glob(load, "q.io/team/**", "n.io/{name}", more)
    reference = Reference(Repository("q.io", "team/tmp-1"))
    assert rule.takes(reference) is not excluded
