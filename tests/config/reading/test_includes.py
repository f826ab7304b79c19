"""Included files: more rules, each with its own place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.conftest import Load, Refuse

MAIN = "version: 1\ninclude: [{}]\n"
RULE = "images:\n- source: q.io/{0}\n  destination: n.io/{0}\n"


def write(folder: Path, **files: str) -> None:
    (folder / "teams").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "teams" / f"{name}.yaml").write_text(text)


def test_rules_of_more_files_are_merged_in_order(load: Load, tmp_path: Path) -> None:
    """The main file's come first, then the others by name, each with file and line."""
    write(tmp_path, b=RULE.format("b"), a=RULE.format("a"))
    found = load(MAIN.format("teams/*.yaml") + RULE.format("main"))
    places = [(each.source.path, each.file.rsplit("/", 1)[-1], each.line) for each in found.rules]
    assert places == [("main", "prod.yaml", 4), ("a", "a.yaml", 2), ("b", "b.yaml", 2)]
    assert [each.number for each in found.rules] == [1, 2, 3]


def test_a_config_may_consist_of_includes_alone(load: Load, tmp_path: Path) -> None:
    """A file that only joins others needs no rule of its own, and each file counts once."""
    write(tmp_path, a="include: [c.yaml]\n", b="include: [c.yaml]\n", c=RULE.format("c"))
    found = load(MAIN.format("teams/*.yaml"))
    assert [each.source.path for each in found.rules] == ["c"]


def test_every_included_byte_counts_in_the_digest(load: Load, tmp_path: Path) -> None:
    """A plan is told from one of another config, whichever file was changed."""
    write(tmp_path, a=RULE.format("a"))
    first = load(MAIN.format("teams/a.yaml")).sha256
    write(tmp_path, a=RULE.format("b"))
    assert load(MAIN.format("teams/a.yaml")).sha256 != first


def test_layouts_and_variables_are_those_of_the_main_config(load: Load, tmp_path: Path) -> None:
    """An address does not depend on the file that asks for it."""
    write(tmp_path, a="images:\n- source: '${R}/a'\n  destination: oci:out/a\n")
    (rule,) = load(MAIN.format("teams/a.yaml"), R="q.io").rules
    assert (str(rule.source), str(rule.destinations[0].repository)) == ("q.io/a", "oci:out/a")


@pytest.mark.parametrize(
    ("include", "files", "expected"),
    [
        ("teams/*.yml", {"a": RULE.format("a")}, r"prod.yaml:2: include\[0\]: .* matches no file"),
        ("teams/x.yaml", {}, r"prod.yaml:2: include\[0\]: there is no 'teams/x.yaml'"),
        ("prod.yaml", {}, r"it includes itself: prod.yaml -> prod.yaml"),
        (
            "teams/a.yaml",
            {"a": "include: [b.yaml]\n", "b": "version: 1\ninclude: [a.yaml]\n"},
            r"teams/b.yaml:2: include\[0\]: it includes itself: .*a.yaml -> b.yaml -> a.yaml",
        ),
        ("teams/a.yaml", {"a": "images:\n- source: q.io/a\n"}, r"teams/a.yaml:2: .* is missing"),
        ("teams/a.yaml", {"a": "images: []\nimage: x\n"}, r"teams/a.yaml:2: image: .* known key"),
        ("teams/a.yaml", {"a": "state: {path: x}\n"}, r"a.yaml:1: state: cannot stand in an"),
        ("teams/a.yaml", {"a": "version: 2\n"}, r"teams/a.yaml:1: version: "),
        ("teams/a.yaml", {"a": "version: 1\n"}, r"the included files hold no images"),
        (
            "teams/*.yaml",
            {"a": RULE.format("a"), "b": RULE.format("b").replace("n.io/b", "n.io/a:x")},
            r"teams/b.yaml:3: .*renamed by position",
        ),
        (
            "teams/*.yaml",
            {
                "a": RULE.format("a:v1").replace("n.io/a:v1", "n.io/x"),
                "b": "images:\n- source: q.io/b:v1\n  destination: n.io/x\n",
            },
            r"teams/b.yaml:2: .*n.io/x:v1 is asked from q.io/b:v1, and .* in .*a.yaml, line 2",
        ),
    ],
)
def test_a_wrong_included_file_is_named_with_its_line(
    load: Load, tmp_path: Path, include: str, files: dict[str, str], expected: str
) -> None:
    """The error stands where it can be mended, and circles end."""
    write(tmp_path, **files)
    with pytest.raises(ConfigError, match=expected):
        load(MAIN.format(include))


@pytest.mark.parametrize(
    "text",
    [
        "root:*:20228:0:99999:7:::\ndaemon:*:20228:0:99999:7:::\n",
        "-----BEGIN KEY-----\nsecretmaterial: hunter2hunter2\n",
        '{"auths": {"registry.corp": {"auth": "c2VjcmV0bWF0ZXJpYWw6eA=="}}}',
        "secretmaterial: *hunter2\n",
        "secretmaterial: {hunter2}\n",
        "secretmaterial: !hunter2 x\n",
        "a: 1\nsecretmaterial: x\nsecretmaterial: y\n",
        "secretmaterial=hunter2\0more=hunter2",
        "secretmaterial: [hunter2\n",
        "secretmaterial: %hunter2\n",
        "- secretmaterial\n",
        "secretmaterial: \udce9",
        "images: hunter2\nsecretmaterial: x\n",
        '"secretmaterial\\q": x\n',
    ],
)
def test_nothing_is_shown_of_a_file_that_holds_no_rules(
    refuse: Refuse, tmp_path: Path, text: str
) -> None:
    """A pattern may match a key or a password file: line and expectation are all that is said."""
    (tmp_path / "id_rsa").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(AssertionError):  # the file that is named is the other one
        refuse(MAIN.format("id_rsa") + RULE.format("a"))
    said = _said(tmp_path)
    assert re.match(r"id_rsa(:[0-9]+)?: ", said)
    for word in ("secretmaterial", "hunter2", "20228", "auths", "c2VjcmV0", "BEGIN"):
        assert word not in said


def _said(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(folder / "prod.yaml", environ={})
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prod.known-conflicts.yaml", "secretmaterial: hunter2\n"),
        ("prod.known-conflicts.yaml", "hunter2: [secretmaterial\n"),
    ],
)
def test_nothing_is_shown_of_other_files_beside_a_config(
    load: Load, tmp_path: Path, name: str, text: str
) -> None:
    """Nor of what only lies in the place of such a file."""
    load("version: 1\n" + RULE.format("a"))
    (tmp_path / name).write_text(text)
    said = _said(tmp_path)
    assert said.startswith(f"{name}:1: ")
    assert "hunter2" not in said
    assert "secretmaterial" not in said
