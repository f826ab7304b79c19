"""`${VAR}` in values: as in a shell, and every other dollar literal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.config.reading.variables import UnsetVariableError, check, expand, has_variable
from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Load, Refuse

KEY = "wJalrXUtnFEMI/K7MDENG:bPxRfiCY-EXAMPLE@KEY{"
ENVIRON = {"A": "one", "EMPTY": "", "_B2": "two", "NESTED": "${A}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${A}", "one"),
        ("x${A}y${_B2}z", "xoneytwoz"),
        ("${EMPTY}", ""),
        ("${A:-other}", "one"),
        ("${UNSET:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b $x}", "a:-b $x"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("robot$x", "robot$x"),
        ("$oauthtoken", "$oauthtoken"),
        ("a$", "a$"),
        ("$$", "$$"),
        ("$A", "$A"),
        ("/^v[0-9]+$/", "/^v[0-9]+$/"),
        ("${NESTED}", "${A}"),
    ],
)
def test_variables_are_expanded_once_and_other_dollars_kept(text: str, expected: str) -> None:
    """Passwords contain dollars; what a variable holds is not looked at again."""
    assert expand(text, ENVIRON) == expected


@pytest.mark.parametrize("text", ["${UNSET}", "a ${A} ${UNSET}"])
def test_an_unset_variable_is_an_error_that_names_it(text: str) -> None:
    """Silently empty is how images end up in the wrong place."""
    with pytest.raises(UnsetVariableError, match="UNSET is not set"):
        expand(text, ENVIRON)
    check(text)


@pytest.mark.parametrize(
    "text", ["${A", "${}", "${1A}", "${A:?x}", "${A-b}", "${A:-${B}}", "${ A }"]
)
def test_a_malformed_variable_is_an_error_that_does_not_show_it(text: str) -> None:
    """It may be part of a password, so the message says only how to write one."""
    with pytest.raises(ValueError, match="is not a variable") as caught:
        expand(text, ENVIRON)
    assert text not in str(caught.value).replace("${...}", "").replace("$${", "")
    with pytest.raises(ValueError, match="is not a variable"):
        check(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", False), ("$a", False), ("$${a}", False), ("${a}", True), ("$${a} ${b}", True)],
)
def test_only_real_variables_depend_on_the_environment(text: str, expected: bool) -> None:
    """A literal can be checked without it."""
    assert has_variable(text) is expected


@given(st.text(alphabet="a$}{", max_size=12))
def test_text_without_an_open_brace_after_a_dollar_is_literal(text: str) -> None:
    """Only `${` is special."""
    if "${" not in text:
        assert expand(text, {}) == text
        assert not has_variable(text)
    assert expand(text.replace("${", "$${"), {}) == text


@pytest.mark.parametrize(
    "rule",
    [
        "source: 'a.io/${KEY}', destination: b.io/a",
        "source: 'a.io/x:${KEY}', destination: b.io/a",
        "source: 'a.io/x@${KEY}', destination: b.io/a",
        "source: a.io/x, destination: '${KEY}'",
        "source: a.io/x, destination: b.io/x, overwrite: '${KEY}'",
        "source: a.io/x, destination: b.io/x, platforms: ['${KEY}']",
        "source: a.io/x, destination: b.io/x, tags: {semver: '${KEY}'}",
        "source: a.io/x, destination: b.io/x, tags: {created_after: '${KEY}'}",
        "source: a.io/x, destination: b.io/x, tags: ['${KEY}']",
        "source: a.io/x, destination: b.io/x, keep_previous: '${KEY}'",
        "source: a.io/x, destination: b.io/x, rename: {a: '${KEY}'}",
    ],
)
def test_no_error_shows_what_a_variable_holds(refuse: Refuse, rule: str) -> None:
    """Whole, in pieces, or in lower case: it may be a secret wherever it was put."""
    said = refuse(f"version: 1\nimages: [{{{rule}}}]\n", KEY=KEY)
    pieces = {KEY[start : start + 5].lower() for start in range(len(KEY) - 4)}
    assert not [piece for piece in pieces if piece in said.lower()]
    assert said.startswith("prod.yaml:2: images[0]")


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("rate_limit: '${KEY}'", "a.io"),
        ("bandwidth: '${KEY}'", "a.io"),
        ("plain_http: '${KEY}'", "a.io"),
        ("tls: {ca_file: '${KEY}'}", "a.io"),
        ("proxy: '${KEY}'", "a.io"),
    ],
)
def test_no_error_of_a_registry_shows_what_a_variable_holds(
    load: Load, entry: str, host: str
) -> None:
    """They are found when the registry is first used."""
    config = load(
        f"version: 1\nregistries: {{{host}: {{{entry}}}}}\n"
        "images: [{source: a.io/a, destination: b.io/a}]\n",
        KEY=KEY,
    )
    with pytest.raises(ConfigError) as caught:
        config.registry(host)
    said = str(caught.value).lower()
    assert not [n for n in range(len(KEY) - 4) if KEY[n : n + 5].lower() in said]


def test_the_name_of_a_variable_stands_for_its_value(refuse: Refuse) -> None:
    """So that the object of an error is named all the same; defaults are in the file anyway."""
    rules = "version: 1\nimages:\n- source: '${OLD}/a'\n  destination: '${NEW:-new.io}/a:x'\n"
    said = refuse(rules + "- source: q.io/b:x\n  destination: new.io/a:x\n", OLD="registry.old")
    assert "renamed by position" in said
    said = refuse("version: 1\nimages: [{source: '${OLD}/A', destination: b.io/a}]\n", OLD="old.io")
    assert "'${OLD}/A': 'A' is not a repository name" in said
