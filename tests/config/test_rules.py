"""Rules: sources, inline tags, destinations, renames, and rules that contradict each other."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

import pytest

from imgmigrate.foreign.load import load_config
from imgmigrate.rules.rule import Overwrite, Rule

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.conftest import Load, Refuse

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def config(*rules: str) -> str:
    return "version: 1\nimages:\n" + "".join(f"- {{{rule}}}\n" for rule in rules)


def rule(source: str, destination: str, more: str = "") -> str:
    return f"source: '{source}', destination: {destination}{more}"


def pairs(found: Rule) -> list[tuple[str, str]]:
    return [(str(source), str(address)) for source, address in found.explicit_addresses()]


@pytest.mark.parametrize(
    ("source", "destination", "more", "expected"),
    [
        ("q.io/a:v1", "x.io/b", "", [("q.io/a:v1", "x.io/b:v1")]),
        ("nginx:1", "x.io/b", "", [("docker.io/library/nginx:1", "x.io/b:1")]),
        (
            "q.io/a:v1,v2",
            "x.io/b",
            "",
            [("q.io/a:v1", "x.io/b:v1"), ("q.io/a:v2", "x.io/b:v2")],
        ),
        (
            "q.io/a:v1,v2",
            "'x.io/b:w1,w2'",
            "",
            [("q.io/a:v1", "x.io/b:w1"), ("q.io/a:v2", "x.io/b:w2")],
        ),
        ("q.io/a", "'x.io/b:w1'", ", tags: v1", [("q.io/a:v1", "x.io/b:w1")]),
        ("q.io/a", "x.io/b", ", tags: [1.20]", [("q.io/a:1.20", "x.io/b:1.20")]),
        (
            "q.io/a",
            "[x.io/b, y.io/b, 'z.io/b:w']",
            ", tags: [v1]",
            [
                ("q.io/a:v1", "x.io/b:v1"),
                ("q.io/a:v1", "y.io/b:v1"),
                ("q.io/a:v1", "z.io/b:w"),
            ],
        ),
        ("q.io/a", "[x.io/b, x.io/b]", ", tags: v1", [("q.io/a:v1", "x.io/b:v1")]),
        ("q.io/a:v1", "q.io/a:v2", "", [("q.io/a:v1", "q.io/a:v2")]),
        (f"q.io/a@{DIGEST}", "x.io/b", "", [(f"q.io/a@{DIGEST}", f"x.io/b@{DIGEST}")]),
        (f"q.io/a@{DIGEST}", "'x.io/b:v1'", "", [(f"q.io/a@{DIGEST}", "x.io/b:v1")]),
        (f"q.io/a@{DIGEST}", "'q.io/a:v1'", "", [(f"q.io/a@{DIGEST}", "q.io/a:v1")]),
        (
            f"q.io/a@{DIGEST}",
            f"'x.io/b@{DIGEST}'",
            "",
            [(f"q.io/a@{DIGEST}", f"x.io/b@{DIGEST}")],
        ),
        ("oci:./in//a:v1", "'oci:out/a'", "", [("oci:in/a:v1", "oci:out/a:v1")]),
        ("localhost:5000/a:v1", "x.io/b", "", [("localhost:5000/a:v1", "x.io/b:v1")]),
        ("q.io/a", "x.io/b", "", []),
        ("q.io/a:v*,v1", "x.io/b", "", [("q.io/a:v1", "x.io/b:v1")]),
        ("q.io/a:v1,v1", "x.io/b", "", [("q.io/a:v1", "x.io/b:v1")]),
    ],
)
def test_explicit_tags_and_digests_map_to_addresses(
    load: Load, source: str, destination: str, more: str, expected: list[tuple[str, str]]
) -> None:
    """Every form that a rule may name an image by, and where it goes."""
    (found,) = load(config(rule(source, destination, more))).rules
    assert pairs(found) == expected


@pytest.mark.parametrize(
    ("source", "more", "selected", "has_patterns"),
    [
        ("q.io/a", "", {"v1", "v1-rc", "latest"}, True),
        ("q.io/a", ", tags: v1", {"v1"}, False),
        ("q.io/a", ", tags: ['v*']", {"v1", "v1-rc"}, True),
        ("q.io/a", ", tags: ['*-rc', latest]", {"v1-rc", "latest"}, True),
        ("q.io/a", ", tags: '/^v[0-9]$/'", {"v1"}, True),
        ("q.io/a:/rc/", "", {"v1-rc"}, True),
        ("q.io/a:/v1,|l/", "", {"latest"}, True),
        ("q.io/a:v*", "", {"v1", "v1-rc"}, True),
        ("oci:in:/rc/", "", {"v1-rc"}, True),
        (f"q.io/a@{DIGEST}", "", set(), False),
    ],
)
def test_a_rule_selects_tags(
    load: Load, source: str, more: str, selected: set[str], has_patterns: bool
) -> None:
    """Absent tags are all tags; only patterns need a listing."""
    (found,) = load(config(rule(source, "x.io/b", more))).rules
    assert {tag for tag in ("v1", "v1-rc", "latest") if found.selects(tag)} == selected
    assert found.has_patterns is has_patterns
    assert (found.digest is not None) == (source.find("@") > 0)


def test_a_selected_tag_goes_to_every_destination(load: Load) -> None:
    """Tags that a pattern found keep their names."""
    (found,) = load(config(rule("q.io/a:v*", "[x.io/b, 'oci:out/b']"))).rules
    assert [str(each) for each in found.addresses("v7")] == ["x.io/b:v7", "oci:out/b:v7"]
    assert found.digest_addresses() == ()


def test_a_rule_knows_its_place_and_its_policy(load: Load, tmp_path: Path) -> None:
    """The number counts from 1; a rule's own policy beats the default."""
    text = (
        "version: 1\ndefaults: {overwrite: never}\nimages:\n"
        "- source: q.io/a\n  destination: x.io/a\n"
        "- source: q.io/b\n  destination: x.io/b\n  overwrite: always\n"
    )
    first, second = load(text).rules
    assert (first.number, first.line, first.overwrite) == (1, 4, Overwrite.NEVER)
    assert (second.number, second.line, second.overwrite) == (2, 6, Overwrite.ALWAYS)
    assert first.file == f"{tmp_path}/prod.yaml"


@pytest.mark.parametrize("first", ["{}/out", "./x/../out", "link", "{}/link"])
def test_a_layout_has_the_name_that_is_written_first(
    load: Load, tmp_path: Path, first: str
) -> None:
    """However a folder is written, it is one address: absolute, relative or through a link."""
    (tmp_path / "link").symlink_to("out")
    name = first.format(tmp_path)
    others = [name, f"{tmp_path}/out", "./x/../out", "out/", "link", f"{tmp_path}/./link"]
    layouts = str([f"oci:{each}" for each in others])
    (found,) = load(config(rule("q.io/a:v1", layouts))).rules
    assert pairs(found) == [("q.io/a:v1", f"oci:{os.path.normpath(name)}:v1")]


@pytest.mark.parametrize("other", ["{}/out", "link", "{}/link", "link/../out"])
def test_two_sources_for_one_layout_under_two_names_are_refused(
    refuse: Refuse, tmp_path: Path, other: str
) -> None:
    """What is refused under one spelling is refused under two."""
    (tmp_path / "link").symlink_to("out")
    rules = [rule("q.io/a:v1", "oci:out"), rule("q.io/b:v1", f"'oci:{other.format(tmp_path)}'")]
    said = refuse(config(*rules))
    assert "oci:out:v1 is asked from q.io/b:v1, and from q.io/a:v1" in said


@pytest.mark.parametrize("other", ["{}/out", "link"])
def test_a_layout_is_not_its_own_destination_under_another_name(
    refuse: Refuse, tmp_path: Path, other: str
) -> None:
    """Source and destination are compared by the folder."""
    (tmp_path / "link").symlink_to("out")
    said = refuse(config(rule(f"oci:{other.format(tmp_path)}:1", "oci:out")))
    assert "source and destination are the same" in said


def test_the_folder_of_the_config_is_resolved_once(tmp_path: Path) -> None:
    """Through links in its path, and `..` behind one means what it means to the system."""
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/deep")
    path = tmp_path / "link" / ".." / "imgmigrate.yaml"
    path.write_text(config(rule("q.io/a:v1", "oci:../out")))
    found = load_config(path)
    assert (found.base, found.state) == (
        tmp_path / "real",
        tmp_path / "real" / "state" / "imgmigrate",
    )
    linked = tmp_path / "link" / "imgmigrate.yaml"
    linked.symlink_to("../imgmigrate.yaml")
    assert load_config(linked).base == tmp_path / "real" / "deep"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rule("q.io/A", "x.io/b"), "images[0].source: 'q.io/A': 'A' is not a repository name"),
        (rule("https://q.io/a", "x.io/b"), "images[0].source: "),
        (rule("", "x.io/b"), "images[0].source: "),
        (rule("q.io/a:", "x.io/b"), "images[0].source: a pattern cannot be empty"),
        (rule("q.io/a:v1, v2", "x.io/b"), "images[0].source: ' v2' is not a tag"),
        (rule("q.io/a:/(/", "x.io/b"), "images[0].source: the regex /(/ does not compile"),
        (rule("q.io/a@sha256:x", "x.io/b"), "images[0].source: not a digest"),
        (
            rule(f"q.io/a:v1@{DIGEST}", "x.io/b"),
            "it names a tag and a digest; 'v1' would be ignored",
        ),
        (rule("localhost:5000", "x.io/b"), "localhost:5000 is a registry, without a repository"),
        (rule("q.io:443", "x.io/b"), "q.io:443 is a registry, without a repository"),
        (rule("oci:~/a", "x.io/b"), "images[0].source: ~ is not expanded"),
        (rule("q.io/a:v1", "x.io/b", ", tags: v1"), "it names tags, and tags: does too"),
        (rule(f"q.io/a@{DIGEST}", "x.io/b", ", tags: v1"), "it names tags, and tags: does too"),
        (rule("q.io/a", "x.io/b", ", tags: ['a b']"), "images[0].tags[0]: 'a b' is not a tag"),
        (rule("q.io/a", "x.io/b", ", tags: 'a,b'"), "images[0].tags: 'a,b' is not a tag; several"),
        (rule("q.io/a", "x.io/b", ", tags: []"), "images[0].tags: is an empty list"),
        (rule("q.io/a", "x.io/b", ", tags: [[v1]]"), "images[0].tags[0]: must be a text"),
        (rule("q.io/a", "[]"), "images[0].destination: is an empty list"),
        (rule("q.io/a", "[x.io/b, X]"), "images[0].destination[1]: 'X': 'library/X' is not"),
        (rule("q.io/a", "x.io/b:v1"), "tags are renamed by position"),
        (rule("q.io/a:v*", "x.io/b:v1"), "tags are renamed by position"),
        (rule("q.io/a:v1,v2", "x.io/b:v1"), "it names 1 tags, the source 2"),
        (rule("q.io/a:v1,v1", "'x.io/b:a,b'"), "the source names a tag twice"),
        (rule("q.io/a:v1", "'x.io/b:/v/'"), "'/v/' is not a tag"),
        (rule("q.io/a:v1", "'x.io/b:'"), "'' is not a tag"),
        (rule(f"q.io/a@{DIGEST}", "'x.io/b:v1,v2'"), "a digest gets one tag"),
        (rule("q.io/a:v1", f"'x.io/b@{DIGEST}'"), "a digest cannot be chosen at a destination"),
        (rule(f"q.io/a@{DIGEST}", f"'x.io/b@{OTHER}'"), "a digest cannot be chosen"),
        (rule("q.io/a", "x.io/a", ", overwrite: maybe"), "overwrite: 'maybe' is none of 'owned'"),
        # what later versions bring
        (rule("q.io/a", "'x.io/*'"), "a wildcard has no meaning in a destination"),
        # copies onto themselves
        (rule("q.io/a", "q.io/a"), "images[0].destination: source and destination are the same"),
        (rule("q.io/a:v1", "[x.io/b, q.io/a]"), "source and destination are the same"),
        (rule("q.io/a:v1,v2", "'q.io/a:w,v2'"), "source and destination are the same"),
        (rule("nginx:1", "index.docker.io/library/nginx"), "source and destination are the same"),
        (rule(f"q.io/a@{DIGEST}", "q.io/a"), "source and destination are the same"),
        (rule("oci:a/b", "'oci:./a//b'"), "source and destination are the same"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(refuse: Refuse, text: str, expected: str) -> None:
    """File, line and key are always there."""
    said = refuse(config(text))
    assert said.startswith("prod.yaml:3: images[0]")
    assert expected in said


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            rule("q.io/a:v1", "x.io/c"),
            rule("q.io/b:v1", "x.io/c"),
            "images[1]: x.io/c:v1 is asked from q.io/b:v1, and from q.io/a:v1 in line 3",
        ),
        (rule("q.io/a:v1", "x.io/c"), rule("q.io/a:v2", "x.io/c:v1"), "and from q.io/a:v1"),
        (rule(f"q.io/a@{DIGEST}", "x.io/c:v1"), rule("q.io/a:v1", "x.io/c"), "is asked from"),
        (
            rule("q.io/a:v1", "x.io/c"),
            rule("q.io/a:v1", "x.io/c", ", overwrite: always"),
            "is asked with overwrite always, and owned in line 3",
        ),
        (
            rule("q.io/a", "x.io/c"),
            rule("q.io/a", "x.io/c", ", overwrite: always"),
            "line 3 asks the same with overwrite owned",
        ),
    ],
)
def test_two_rules_that_contradict_each_other_name_both_lines(
    refuse: Refuse, first: str, second: str, expected: str
) -> None:
    """One address has one source and one policy."""
    said = refuse(config(first, second))
    assert said.startswith("prod.yaml:4: images[1]: ")
    assert expected in said


def test_one_rule_cannot_ask_two_tags_for_one_address(refuse: Refuse) -> None:
    """Also within a rule a renamed tag must be its own."""
    assert "is asked from q.io/a:v2, and from q.io/a:v1" in refuse(
        config(rule("q.io/a:v1,v2", "'x.io/c:w,w'"))
    )


def test_the_same_rule_twice_is_one(load: Load) -> None:
    """The first stays, with its place; rules that only overlap stay both."""
    same = rule("q.io/a:v1", "x.io/c")
    found = load(config(same, same, rule("q.io/a:v1,v2", "x.io/c"))).rules
    assert [each.number for each in found] == [1, 3]


def test_every_wrong_rule_is_named_at_once(refuse: Refuse) -> None:
    """One run shows all that is to be mended, by line; too many are counted."""
    wrong = rule("q.io/A", "x.io/b")
    said = refuse(config(*[wrong] * 2)).split("\n")
    assert [line[:22] for line in said] == ["prod.yaml:3: images[0]", "prod.yaml:4: images[1]"]
