"""YAML as text: scalars as written, lines known, traps explained."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.config.reading import tree as tree_module
from imgmigrate.config.reading.tree import (
    MOST_COPIES,
    Mapping,
    Scalar,
    parse_documents,
    parse_tree,
    print_path,
)
from imgmigrate.errors import ConfigError


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def _either_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with libyaml and without: wheels without it exist."""
    monkeypatch.setattr(tree_module, "_LOADER", getattr(yaml, request.param))


def said(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_tree(text, "f.yaml")
    return str(caught.value)


@pytest.mark.usefixtures("_either_loader")
def test_every_scalar_stays_what_was_written() -> None:
    """YAML's numbers, dates, booleans and nulls are tags here."""
    text = "tags: [1.20, 010, 2024-01-01, on, null, 0x1, ~, 1e3, 1_000, 12:30, .5, 'q', \"d\\t\"]"
    assert parse_tree(text, "f").plain() == {
        "tags": [
            "1.20",
            "010",
            "2024-01-01",
            "on",
            "null",
            "0x1",
            "~",
            "1e3",
            "1_000",
            "12:30",
            ".5",
            "q",
            "d\t",
        ]
    }


@pytest.mark.usefixtures("_either_loader")
def test_keys_are_text_too() -> None:
    """A key that looks like a number or a boolean is not converted."""
    assert parse_tree("1: a\non: b\n'': c\n", "f").plain() == {"1": "a", "on": "b", "": "c"}


@pytest.mark.usefixtures("_either_loader")
def test_lines_are_those_of_the_file() -> None:
    """Every path leads to a line, what is not there to the nearest thing around it."""
    tree = parse_tree("# top\na: 1\nb:\n  - c: x\n    d:\n      - y\n      - z\n", "f")
    paths = {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 0, "c"): 4,
        ("b", 0, "d"): 5,
        ("b", 0, "d", 1): 7,
        ("b", 0, "nothing"): 4,
        ("b", 7, "c"): 3,
        ("a", "x"): 2,
    }
    assert {path: tree.line(path) for path in paths} == paths
    assert isinstance(tree.node(("b", 0)), Mapping)
    assert tree.node(("b", 0, "c")) == Scalar("x", 4)
    assert tree.node(("b", "c")) is None


@pytest.mark.usefixtures("_either_loader")
def test_aliases_and_anchors_work() -> None:
    """A value that is written once may stand twice."""
    tree = parse_tree("a: &x [1, 2]\nb: *x\nc: &y {k: v}\nd: *y\n", "f")
    assert tree.plain() == {"a": ["1", "2"], "b": ["1", "2"], "c": {"k": "v"}, "d": {"k": "v"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # aliases and anchors
        ("a: *-rc*", 'f.yaml:1: a value that begins with * is an alias to YAML; quote it: "*-rc*"'),
        (
            "a:\n  - *x*",
            'f.yaml:2: a value that begins with * is an alias to YAML; quote it: "*x*"',
        ),
        ("a: [*-rc*, b]", 'is an alias to YAML; quote it: "*-rc*"'),
        (
            "a: *latest",
            'f.yaml:1: a: a value that begins with * is an alias to YAML; quote it: "*latest"',
        ),
        ("a: **/x", 'quote it: "**/x"'),
        ("a: &", "f.yaml:1: a value that begins with & is an anchor"),
        ("*x : b", "is an alias to YAML"),
        ("a: &x [*x]", "is an alias to YAML"),
        # braces
        (
            "a: {repository}",
            'a: a value in { } without quotes is a mapping to YAML; quote it: "{repository}"',
        ),
        ("a: {repository}/x", 'quote it: "{repository}/x"'),
        (
            "a: [{x}]",
            'f.yaml:1: a[0]: a value in { } without quotes is a mapping to YAML; quote it: "{x}"',
        ),
        ("a: {{x}}", 'quote it: "{{x}}"'),
        ("a: {b: [c}", "is not closed"),
        ("a: {b: c", "the { that stands here begins a mapping which is not closed"),
        # lists
        ("d: [a, b\ne: f", "f.yaml:1: the list that begins here with [ is not closed"),
        ("d:\n - [a, b", "f.yaml:2: the list that begins here with [ is not closed"),
        ("a: - b", "f.yaml:1: a list cannot begin behind its key"),
        ("a:\n - b: c\n  d: e", "f.yaml:3: this line stands out of its list"),
        # characters
        ("a:\n\tb: c", "f.yaml:2: a tab indents this line; indent with spaces"),
        ("a: 1\n\tb: c", "f.yaml:2: a tab indents this line; indent with spaces"),
        (
            "a: @x",
            'YAML keeps this character at the start of a value for itself; quote it: "@x"',
        ),
        ("a: `x", 'quote it: "`x"'),
        ("a: [>=1]", 'quote it: ">=1"'),
        ("a: >=1.2", 'is a block of text to YAML; quote it: ">=1.2"'),
        ("a: |x", 'is a block of text to YAML; quote it: "|x"'),
        ("a: !x b", 'f.yaml:1: a: a value that begins with ! is a YAML tag; quote it: "!x"'),
        ("a: !!binary b", "is a YAML tag"),
        ("a: !x!y b", "is a YAML tag"),
        ('a: "\\d"', "f.yaml:1: a backslash in double quotes begins an escape; use single quotes"),
        ("a: 'x\nb: d", "f.yaml:1: the quote that is opened here is never closed"),
        ("a: b: c", "f.yaml:1: a second key begins here"),
        ("a: 'x' y", "this is not YAML"),
        ("a: ]", "this is not YAML"),
        ("a: x\x07y", "f.yaml:1: it holds the character U+0007"),
        ("b: c\na: \x00", "f.yaml:2: it holds the character U+0000"),
        # values that are not there
        ("a:\nb: c", "f.yaml:1: a: it has no value; write one, or remove the key"),
        ("b: c\na:", "f.yaml:2: a: it has no value"),
        (
            "a: #secret",
            "f.yaml:1: a: it has no value: a # begins a comment; quote a value with a #",
        ),
        ("a:\n  -\n  - b", "f.yaml:2: a[0]: it has no value"),
        # keys
        ("a: b\nc: d\na: e", "f.yaml:3: a: the key is given twice, first in line 1"),
        ("x:\n  - a: b\n    a: c", "f.yaml:3: x[0].a: the key is given twice, first in line 2"),
        ('a: b\n"a": c', "the key is given twice"),
        ("? [a]\n: b", "f.yaml:1: a key cannot be a list or a mapping; quote it"),
        # documents
        ("", "f.yaml:1: it is empty; start from what this writes: imgmigrate init"),
        ("# only a comment\n", "it is empty"),
        ('--- ""\n', "its top must be a mapping"),
        ("- a\n", "f.yaml:1: its top must be a mapping with the keys version and images"),
        ("text\n", "its top must be a mapping"),
        ("a: b\n---\nc: d\n", "f.yaml:2: a second document begins here; keep one document"),
        # bombs
        ("a: " + "[" * 60 + "]" * 60, "f.yaml:1: it is nested more than 50 deep"),
        ("a: " + "{a: " * 100_000, "it is nested more than 50 deep"),
    ],
)
@pytest.mark.usefixtures("_either_loader")
def test_what_yaml_would_take_otherwise_is_explained(text: str, expected: str) -> None:
    """The message names the line and the fix, mostly "quote it"."""
    assert expected in said(text)


@pytest.mark.usefixtures("_either_loader")
def test_an_alias_bomb_is_refused() -> None:
    """Ten lines cannot become a billion values."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
    )
    assert f"its aliases repeat more than {MOST_COPIES} values" in said(bomb)


@pytest.mark.parametrize(
    "line", ["password: @hunter22", "token: *hunter22", "password: {hunter22}"]
)
def test_a_trap_never_shows_what_may_be_a_secret(line: str) -> None:
    """The hint quotes the value, but not that of a password."""
    found = said(f"a:\n  {line}\n")
    assert "hunter22" not in found.replace("hunter22 is", "")
    assert "single quotes" in found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), ""),
        (("images", 2, "source"), "images[2].source"),
        (("registries", "localhost:5000", "tls"), 'registries."localhost:5000".tls'),
        (("registries", "a.b"), 'registries."a.b"'),
    ],
)
def test_a_path_prints_as_people_write_it(path: tuple[str | int, ...], expected: str) -> None:
    """Names that are more than a word are quoted."""
    assert print_path(path) == expected


@given(st.text(max_size=40))
def test_any_text_is_a_tree_or_a_config_error(text: str) -> None:
    """Nothing that a file may hold fails otherwise."""
    for candidate in (text, f"a: {text}", f"a: [{text}]", f'a: "{text}"', f"a:\n - {text}\n b: c"):
        try:
            found = parse_tree(candidate, "f.yaml")
        except ConfigError as error:
            found = None
            message = str(error)
        assert found is not None or message.startswith("f.yaml:")


@pytest.mark.parametrize("written", ["", "~", "null", "Null", "NULL"])
def test_a_value_may_be_missing_where_that_is_said(written: str) -> None:
    """What YAML calls null is None then; quoted it is a text, and so is a key."""
    tree = parse_tree(
        f"a: {written}\nb: ['{written}', {written or '~'}]\nnull: x\n", "f", nulls=True
    )
    assert tree.plain() == {"a": None, "b": [written, None], "null": "x"}
    assert parse_tree("# nothing\n", "f", nulls=True).plain() == {}


def test_documents_may_be_of_any_kind() -> None:
    """Several in one file, each with its lines; tags mean nothing."""
    found = parse_documents("- a\n---\nb: !x c\n---\n---\nd\n", "f")
    assert [each.plain(("",)) for each in found] == [["a"], {"b": "c"}, "d"]
    assert found[1].line(("", "b")) == 3
