"""Names of plans: listed ones know what they mean, those of later versions stay themselves."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import pytest

from imgmigrate.plan import Summary
from imgmigrate.vocabulary import sections
from imgmigrate.vocabulary.actions import LATER_ACTION, SECTIONS, Action, section_for
from imgmigrate.vocabulary.reasons import LATER_REASON, Reason

KINDS = pytest.mark.parametrize("kind", [Action, Reason])


@KINDS
def test_a_listed_name_is_text_and_one_of_a_kind(kind: type[Action | Reason]) -> None:
    """It is compared and hashed as its text, wherever it came from."""
    for each in kind:
        assert (each == each.value, f"{each}", hash(each)) == (True, each.value, hash(each.value))
        assert kind(each.value) is each
        assert each.is_understood
        assert pickle.loads(pickle.dumps(each)) is each


@KINDS
@pytest.mark.parametrize("text", ["attach", "of a later version", "COPY", "NEW", "\x1b[31m"])
def test_a_name_of_a_later_version_stays_as_it_is(kind: type[Action | Reason], text: str) -> None:
    """Also one that is spelled as a member is called in the code."""
    later = kind(text)
    assert (later.value, f"{later}", later == text) == (text, text, True)
    assert not later.is_understood
    assert later.traits in (LATER_ACTION, LATER_REASON)
    assert later not in list(kind)
    for same in (pickle.loads(pickle.dumps(later)), copy.deepcopy(later)):
        assert (same, same.traits) == (later, later.traits)
    assert text not in kind.__members__ or kind[text] is not later


def test_an_action_has_a_name() -> None:
    """Nothing is no action of any version."""
    with pytest.raises(ValueError, match="is not a valid Action"):
        Action("")


def test_an_action_of_a_later_version_does_nothing() -> None:
    """It is left, and shown where nobody misses it."""
    later = Action("attach")
    assert (later.writes, later.alters, later.is_carried_out, later.is_told) == (False,) * 4
    assert later.is_left
    assert section_for(later, Reason.NEW, is_known=False) is sections.LATER
    assert sections.LATER.is_dangerous


@pytest.mark.parametrize("action", list(Action))
def test_every_action_is_counted(action: Action) -> None:
    """A summary has a number for it, and a headline words."""
    assert Summary.model_validate({action.value: 3}).count(action) == 3
    assert all("{}" in words for words in action.traits.counted)


@pytest.mark.parametrize("action", list(Action))
def test_what_is_left_names_who_mends_it(action: Action) -> None:
    """The exit code depends on it; of what is done nobody has to mend anything."""
    assert (action.traits.needs is not None) == action.is_left


def test_what_changes_a_destination_comes_first() -> None:
    """So the sums of actions are easy to read, and a headline begins with what is done."""
    alters = [action.alters for action in Action]
    assert alters == sorted(alters, reverse=True)


def test_every_row_has_a_section_of_its_own_rank() -> None:
    """Sections are ordered by danger, without ties; each action and reason has one of them."""
    ranks = Counter(section.rank for section in SECTIONS)
    assert set(ranks.values()) == {1}
    assert len({section.key for section in SECTIONS}) == len(SECTIONS)
    for action in (*Action, Action("attach")):
        for reason in (*Reason, Reason("linked")):
            for is_known in (True, False):
                assert section_for(action, reason, is_known=is_known) in SECTIONS


def test_danger_comes_before_routine() -> None:
    """Only what has drifted, and what is known, is looser than its rank."""
    routine = [section.key for section in SECTIONS if not section.is_dangerous]
    writing = ["move", "update", "refer", "copy"]
    assert routine == ["drift", "known", *writing, "adopt", "forget", "keep"]
    assert [section.key for section in SECTIONS[-7:]] == routine[-7:]
