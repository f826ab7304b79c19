"""The README's promises about data, against anything that may happen around plans and applies.

`python -m tests.integration.chaos --seconds 3600` goes on for an hour, with seeds of its own.
"""

from __future__ import annotations

import sys

import pytest

from tests.integration.chaos.chaos import tell

STEPS = 45


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_nothing_is_lost_and_nothing_left_out_in_silence(seed: int) -> None:
    """Images of others stay, wanted ones are whole, and what is not as asked for is a row."""
    story = tell(seed, STEPS)
    text = "\n".join(story.lines())
    sys.stdout.write(f"{text}\n")
    assert not story.faults, text
    assert story.steps == STEPS
