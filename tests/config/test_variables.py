"""`${VAR}` in values: as in a shell, and every other dollar literal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.config.variables import UnsetVariableError, check, expand, has_variable

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
