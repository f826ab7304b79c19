"""`index:` and `foreign_layers:`: what may be written, and where it says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.config.conftest import Load, Refuse

HEAD = "version: 1\n"
RULE = "images:\n- source: q.io/a:v1\n  destination: x.io/b\n"


@pytest.mark.parametrize(
    ("defaults", "written", "expected"),
    [
        ("", "platforms: linux/amd64", None),
        ("", "platforms: linux/amd64, index: keep", "keep"),
        ("index: trim", "platforms: linux/amd64", "trim"),
        ("index: trim", "platforms: linux/amd64, index: keep", "keep"),
        ("platforms: linux/amd64", "index: trim", "trim"),
        ("", "index: unwrap", "unwrap"),
        ("index: unwrap", "", "unwrap"),
        ("platforms: linux/amd64, index: keep", "platforms: all", None),
    ],
)
def test_a_rule_has_its_own_form_or_the_defaults(
    load: Load, defaults: str, written: str, expected: str | None
) -> None:
    """A rule's own word stands instead of the defaults'; an index that stays whole has none."""
    above = f"defaults: {{{defaults}}}\n" if defaults else ""
    below = "".join(f"  {each}\n" for each in written.split(", ") if each)
    other = "- {source: q.io/o:v1, destination: x.io/o, platforms: linux/amd64}\n"
    rule, *_ = load(HEAD + above + RULE + below + other).rules
    assert rule.index == expected


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (
            f"{HEAD}{RULE}  index: keep\n",
            "5: images[0].index",
            "keep is about an index that is cut",
        ),
        (f"{HEAD}{RULE}  index: trim\n  platforms: all\n", "5: images[0].index", "name some in"),
        (f"{HEAD}defaults: {{index: keep}}\n{RULE}", "2: defaults.index", "no platforms are named"),
        (f"{HEAD}{RULE}  index: sparse\n", "5: images[0].index", "is none of 'keep', 'trim' or"),
    ],
    ids=["rule", "all-platforms", "defaults", "unknown"],
)
def test_a_form_that_says_nothing_is_refused(
    refuse: Refuse, text: str, place: str, said: str
) -> None:
    """File, line, key, cause and fix, while the config is read."""
    found = refuse(text)
    assert found.startswith(f"prod.yaml:{place}")
    assert said in found


def test_two_forms_for_one_address_are_refused(refuse: Refuse) -> None:
    """One address shows one digest."""
    entry = "{source: q.io/a:v1, destination: x.io/b, platforms: linux/amd64, index: FORM}"
    rules = "".join(f"- {entry.replace('FORM', form)}\n" for form in ("keep", "trim"))
    assert "is asked with index trim, and keep in" in refuse(f"{HEAD}images:\n{rules}")


@pytest.mark.parametrize(
    ("defaults", "written", "expected"),
    [("", "", "skip"), ("copy", "", "copy"), ("copy", "skip", "skip"), ("", "copy", "copy")],
)
def test_a_rule_says_what_becomes_of_foreign_layers(
    load: Load, defaults: str, written: str, expected: str
) -> None:
    """Its own word stands instead of the defaults'; by default they stay behind."""
    above = f"defaults: {{foreign_layers: {defaults}}}\n" if defaults else ""
    below = f"  foreign_layers: {written}\n" if written else ""
    (rule,) = load(HEAD + above + RULE + below).rules
    assert rule.foreign_layers == expected


def test_two_words_on_foreign_layers_for_one_address_are_refused(refuse: Refuse) -> None:
    """Somebody would miss them."""
    entry = "{source: q.io/a:v1, destination: x.io/b, foreign_layers: WORD}"
    rules = "".join(f"- {entry.replace('WORD', word)}\n" for word in ("skip", "copy"))
    assert "is asked with foreign_layers copy, and skip in" in refuse(f"{HEAD}images:\n{rules}")
