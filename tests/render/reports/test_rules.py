"""How `validate` says what rules ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.foreign.load import load_config
from imgmigrate.render.reports.rules import MOST_NAMES, MOST_RULES, rule_lines
from imgmigrate.render.style import Style

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = f"sha256:{'a' * 64}"


def said(folder: Path, *rules: str, verbose: bool = False, width: int = 80) -> list[str]:
    path = folder / "imgmigrate.yaml"
    path.write_text("version: 1\nimages:\n" + "".join(f"- {rule}\n" for rule in rules))
    config = load_config(path, environ={})
    return list(rule_lines(config, Style(width), verbose=verbose))


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        pytest.param("source: a.old/x", ["a.old/x (all tags)"], id="all"),
        pytest.param("source: 'a.old/x:1,v*'", ["a.old/x (tags 1, v*)"], id="names"),
        pytest.param(f"source: a.old/x@{DIGEST}", ["a.old/x (digest aaaaaaaaaaaa)"], id="digest"),
        pytest.param(
            "source: a.old/x, tags: {semver: '>=1.0', newest: 3}",
            ["a.old/x (semver >=1.0; newest 3 by semver)"],
            id="semver and newest",
        ),
        pytest.param(
            "source: 'a.old/**', tags: {include: ['v*', /^r/], exclude: ['*-rc*'], newest: 2, "
            "by: name}",
            ["a.old/** (tags v*, /^r/; exclude *-rc*; newest 2 by name)"],
            id="include, exclude and newest of a wildcard",
        ),
        pytest.param(
            "source: a.old/x, tags: {created_after: 90d, min: 1}",
            ["a.old/x (created_after 90 d 0 h ago; min 1)"],
            id="age and min",
        ),
        pytest.param(
            "source: a.old/x, tags: {created_after: 2024-05-01}",
            ["a.old/x (created_after 2024-05-01 00:00 UTC)"],
            id="date",
        ),
        pytest.param(
            "source: a.old/x, tags: {any: [{semver: '^2'}, {include: [latest]}], min: 2}",
            ["a.old/x (any of: semver ^2 | tags latest; min 2 in all)"],
            id="any",
        ),
    ],
)
def test_a_rule_says_what_it_selects(tmp_path: Path, rule: str, lines: list[str]) -> None:
    """Each condition of `tags` stands in the words of its key; none is passed over."""
    name = "{repository}" if "**" in rule else "x"
    found = said(tmp_path, f"{{{rule}, destination: 'b.new/{name}'}}")
    assert found == [f"  1. {lines[0]}", f"     -> b.new/{name}"]


@pytest.mark.parametrize(
    ("rule", "destination", "beside"),
    [
        ("source: 'a.old/x:1,2', destination: 'b.new/x:one,two'", "b.new/x:one,two", []),
        ("source: a.old/x, destination: 'b.new/x:old-{tag}'", "b.new/x:old-{tag}", []),
        (
            "source: 'a.old/**', destination: 'b.new/{match}:{tag}-x'",
            "b.new/{match}:{tag}-x",
            [],
        ),
        (
            r"source: a.old/x, destination: b.new/x, rename: {'1': one, '/^v(.*)/': '\1'}",
            "b.new/x",
            [r"rename 1 -> one, /^v(.*)/ -> \1"],
        ),
        (
            "source: 'a.old/**', destination: 'b.new/{name}', exclude_repositories: ['a.old/t/*']",
            "b.new/{name}",
            ["without a.old/t/*"],
        ),
        (
            "source: 'a.old/**', destination: 'b.new/{repository}', flatten: '-'",
            "b.new/{repository}",
            ["flatten: the parts of a name are joined with '-'"],
        ),
        (
            "source: a.old/x, destination: b.new/x, platforms: [linux/arm64, linux/amd64]",
            "b.new/x",
            ["only the platforms linux/amd64, linux/arm64"],
        ),
        (
            "source: a.old/x, destination: b.new/x, index: unwrap, foreign_layers: copy",
            "b.new/x",
            ["index: unwrap", "with layers that are not to be distributed"],
        ),
    ],
)
def test_a_rule_says_what_becomes_of_names(
    tmp_path: Path, rule: str, destination: str, beside: list[str]
) -> None:
    """New tags, renames, what a wildcard leaves out and the platforms are shown."""
    _, *rest = said(tmp_path, f"{{{rule}}}")
    assert rest == [f"     -> {destination}", *(f"     {each}" for each in beside)]


def test_many_rules_are_summed_up(tmp_path: Path) -> None:
    """Beyond 20 rules it is told how many go from where to where; --verbose lists each."""
    rules = [f"{{source: a.old/x{n}, destination: [b.new/x{n}]}}" for n in range(MOST_RULES)]
    assert len(said(tmp_path, *rules)) == 2 * MOST_RULES
    more = "{source: 'c.old/**', destination: ['b.new/{name}', 'oci:d/{name}']}"
    assert said(tmp_path, *rules, more) == [
        "  a.old -> b.new: 20 rules",
        "  c.old -> b.new: 1 rule",
        "  c.old -> OCI layouts: 1 rule",
        "  --verbose lists all",
    ]
    assert len(said(tmp_path, *rules, more, verbose=True)) == 2 * MOST_RULES + 3


def test_many_tags_are_cut_and_lines_fit(tmp_path: Path) -> None:
    """A list of hundreds of tags shows its kind in lines that fit; --verbose has it whole."""
    tags = [f"v{n}" for n in range(200)]
    rule = f"{{source: a.old/x, tags: [{', '.join(tags)}], destination: b.new/x}}"
    found = said(tmp_path, rule, width=50)
    assert all(len(line) <= 50 for line in found)
    assert f"and {200 - MOST_NAMES} more" in " ".join(line.strip() for line in found)
    whole = " ".join(line.strip() for line in said(tmp_path, rule, verbose=True))
    assert all(f"{tag}," in whole for tag in tags[:-1])


def test_rules_stand_in_their_order(tmp_path: Path) -> None:
    """A rule with a wildcard keeps its place among those without."""
    found = said(
        tmp_path,
        "{source: a.old/x, destination: b.new/x}",
        "{source: 'a.old/t/**', destination: 'b.new/{match}'}",
    )
    assert [line.split()[0] for line in found] == ["1.", "->", "2.", "->"]
