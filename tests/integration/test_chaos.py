"""The README's promises about data, against anything that may happen around plans and applies.

`python -m tests.integration.chaos --seconds 3600` goes on for an hour, with seeds of its own;
what `--stories` counts is the same on every machine.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.chaos import chaos
from tests.integration.chaos.__main__ import read
from tests.integration.chaos.chaos import tell
from tests.integration.chaos.deeds import Deeds
from tests.integration.chaos.turns import Turns
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


def test_what_happens_is_the_seeds_however_much_a_step_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A race lets a step draw more or less, and the steps behind it stay the same."""
    monkeypatch.setattr(chaos, "WEIGHTS", {"lie": 1, "no_lies": 1, "guards_changed": 1})
    monkeypatch.setattr(Deeds, "settle", lambda _: "settled")
    with serve("local", tmp_path) as states:
        story = tell(7, 20, states)
        monkeypatch.setattr(Turns, "lie", lambda turns: str(turns.random.random()))
        other = tell(7, 20, states)
    assert story.counts["lie"] > 1
    said, said_then = ([line.split(":")[0] for line in each.told] for each in (story, other))
    assert said == said_then


def test_a_broken_promise_says_how_it_is_told_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands last is a command that asks for the very same story."""

    def broken(deeds: Deeds) -> str:
        deeds.oracle.fault("broken", "by a test")
        return "broke it"

    monkeypatch.setattr(Deeds, "settle", broken)
    with serve("local", tmp_path) as states:
        story = tell(5, 1, states, ignored=frozenset({"unseen", "harness"}))
    words = shlex.split(story.lines()[-1].partition("python -m tests.integration.chaos")[2])
    options = read(words)
    assert (options.state, options.seed, options.steps) == ("local", 5, 1)
    assert (options.stories, options.seconds) == (1, None)
    assert set(options.ignore.split(",")) == {"unseen", "harness"}


@pytest.mark.parametrize("words", [(), ("--stories", "1", "--seconds", "1")])
def test_chaos_has_one_end(words: tuple[str, ...]) -> None:
    """It is told how many stories, or how long: one of both."""
    with pytest.raises(SystemExit):
        read(words)
