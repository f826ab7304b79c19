"""Choose what happens next, by a seed; count it; stop at the first broken promise, or go on."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.chaos import tool
from tests.integration.chaos.between import Between
from tests.integration.chaos.deeds import Deeds
from tests.integration.chaos.holders import Holders
from tests.integration.chaos.oracle import Fault, Oracle
from tests.integration.chaos.turns import Turns
from tests.integration.chaos.unkind import Unkind
from tests.integration.chaos.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.states.kinds import States

__all__ = ["Story", "tell"]

# Something is done with the command in every second step or so.
WEIGHTS = {
    "migrate": 26,
    "plan": 6,
    "apply_an_older_plan": 8,
    "apply_twice": 2,
    "apply_and_kill": 2,
    "apply_with_another_config": 2,
    "use_another_config": 4,
    "roll_back": 2,
    "adopt": 2,
    "remove_records": 1,
    "heir_taken": 2,
    "first_plan_elsewhere": 2,
    "settle": 5,
    "source_push": 6,
    "source_push_again": 2,
    "source_delete": 3,
    "source_repository_gone": 1,
    "source_repository_new": 1,
    "source_dangle": 1,
    "source_strange_tag": 1,
    "disk_push": 2,
    "disk_delete": 1,
    "disk_loses_a_blob": 1,
    "foreign_push": 5,
    "same_push": 2,
    "target_delete": 5,
    "target_wipe": 1,
    "target_wipe_repository": 2,
    "target_dangle": 1,
    "target_loses_a_blob": 1,
    "target_truncates_a_blob": 0.3,
    "restart": 0.3,
    "layout_emptied": 2,
    "layout_loses_a_blob": 3,
    "layout_truncates_a_blob": 2,
    "layout_rots": 1,
    "layout_rots_unseen": 1,
    "layout_collected": 2,
    "layout_swapped": 3,
    "layout_copied": 2,
    "layout_foreign_push": 2,
    "layout_delete": 4,
    "lie": 7,
    "no_lies": 5,
    "rule_comes_and_goes": 2,
    "rule_selects_others": 2,
    "source_renamed": 3,
    "target_renamed": 2,
    "layout_respelled": 2,
    "destination_moved": 1,
    "guards_changed": 2,
    "config_settled": 3,
    "state_copied": 1,
    "state_restored": 1,
    "state_lost": 0.4,
}
# What happens where machines share a state.
SHARED_WEIGHTS = {
    "holder_killed": 5,
    "holder_paused": 4,
    "writers_race": 3,
    "state_away": 10,
}
OPTIONS = (
    "--allow-delete",
    "--allow-delete-gone",
    "--forget",
    "--no-refresh",
    "--replace",
    "--target",
    "--refresh-only",
)
MOST_TOLD = 30


@dataclass
class Story:
    """What happened: counts of each action, the last of them in words, and broken promises."""

    seed: int
    # The words that tell it again.
    command: str
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    faults: list[tuple[int, Fault]] = field(default_factory=list)
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """Print it: seed, counts, and for each fault what led there."""
        counts = ", ".join(f"{name} {number}" for name, number in sorted(self.counts.items()))
        text = [f"seed {self.seed}: {self.steps} steps, {self.seconds:.0f} s: {counts}"]
        for step, fault in self.faults:
            text.append(f"FAULT at seed {self.seed}, step {step}: {fault}")
        if self.faults:
            text += ["before it:", *(f"  {line}" for line in self.told)]
            text.append(f"once more: {self.command}")
        return text


def tell(
    seed: int,
    steps: int,
    states: States,
    *,
    ignored: frozenset[str] = frozenset(),
    keep: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Story:
    """Let `steps` things happen, fewer if a promise is broken.

    The world is left below the folder `keep`, if one is given.
    """
    story, began = Story(seed, _command(seed, steps, states, ignored)), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imgmigrate-chaos-") as name:
        root = Path(os.path.realpath(keep or name)) / f"seed-{seed}"
        with World(root, seed, states) as world:
            oracle = Oracle(world, ignored)
            known = _known(world)
            turns, deeds = Turns(world), Deeds(world, oracle, known)
            between = Between(world, oracle, turns, deeds)
            happens = WEIGHTS if states.kind == "local" else WEIGHTS | SHARED_WEIGHTS
            unkind = Unkind(world, oracle)
            holders = Holders(world, oracle, deeds, unkind)
            kinds = unkind, turns, deeds, between, holders
            actions = {
                name: getattr(kind, name)
                for kind in kinds
                for name in happens
                if hasattr(kind, name)
            }
            names = sorted(actions)
            weights = [happens[name] for name in names]
            note(f"seed {seed}: the registry is {world.oddities}")
            for step in range(1, steps + 1):
                # How much a step draws depends on races: the next does not depend on that.
                world.random.seed(f"{seed}, step {step}")
                # The last thing is a proof.
                chosen = world.random.choices(names, weights)[0] if step < steps else "settle"
                world.look()
                try:
                    told = actions[chosen]()
                except Exception:  # noqa: BLE001 - what led here is worth more than where it is
                    told = "broke the test"
                    oracle.fault("harness", traceback.format_exc())
                story.steps = step
                story.counts[chosen if told else f"({chosen})"] += 1
                line = f"{step} {chosen}: {told}"
                note(line)
                story.told = [*story.told[-MOST_TOLD:], line]
                story.faults += [(step, fault) for fault in oracle.faults]
                if oracle.faults:
                    break
    story.seconds = time.monotonic() - began
    return story


def _command(seed: int, steps: int, states: States, ignored: frozenset[str]) -> str:
    words = f"--state {states.kind} --stories 1 --steps {steps} --seed {seed}"
    words += f" --ignore {','.join(sorted(ignored))}" if ignored else ""
    return f"python -m tests.integration.chaos {words}"


def _known(world: World) -> frozenset[str]:
    """Ask the command which options and commands it has."""
    text = tool.run(world.real, "plan", "--help").out
    known = {option for option in OPTIONS if f"{option} " in text}
    if tool.run(world.real, "verify", "--help").code == 0:
        known.add("verify")
    if "\n  7 " in tool.run(world.real, "--help").out:
        known.add("known-exit-7")
    return frozenset(known)
