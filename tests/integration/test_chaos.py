"""The README's promises about data, against anything that may happen around plans and applies.

`python -m tests.integration.chaos --seconds 3600` goes on for an hour, with seeds of its own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.chaos.chaos import tell
from tests.support.states.kinds import serve

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 45
# `make test-more` tells longer ones, over every kind of state.
STORIES = [*(("local", seed) for seed in range(4)), ("git", 0)]


@pytest.mark.parametrize(("kind", "seed"), STORIES)
def test_whatever_happens_nothing_is_lost_and_nothing_left_out_in_silence(
    kind: str, seed: int, tmp_path: Path
) -> None:
    """Images of others stay, wanted ones are whole, and what is not as asked for is a row."""
    with serve(kind, tmp_path, is_lined=True) as states:
        story = tell(seed, STEPS, states)
    text = "\n".join(story.lines())
    sys.stdout.write(f"{text}\n")
    assert not story.faults, text
    assert story.steps == STEPS
