"""What rows are called where they are counted: the same words in every report."""

from __future__ import annotations

import pytest

from imgmigrate.events import Outcome
from imgmigrate.render.words import counted_text


@pytest.mark.parametrize(
    ("outcome", "one", "several"),
    [
        ("applied", "1 done", "2,000 done"),
        ("already", "1 already done", "2,000 already done"),
        ("conflict", "1 conflict", "2,000 conflicts"),
        ("known_conflict", "1 known conflict", "2,000 known conflicts"),
        ("failed", "1 failed", "2,000 failed"),
        ("cancelled", "1 not reached", "2,000 not reached"),
        ("later\x1b[1m_kind", "1 later [1m kind", "2,000 later [1m kind"),
    ],
)
def test_outcomes_are_counted_in_words(outcome: str, one: str, several: str) -> None:
    """A state may hold those of a later version, which are shown without tricks."""
    assert (counted_text(outcome, 1), counted_text(outcome, 2000)) == (one, several)


def test_every_outcome_has_its_words() -> None:
    """None is said by its name in the code."""
    assert not [each for each in Outcome if "_" in counted_text(each, 2)]
