"""`python -m tests.integration.chaos --seconds 3600 --seed N`: stories until the time is over."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import stamina

from imgmigrate.cli.given import limits
from tests.conftest import ATTEMPTS, FOREIGN
from tests.integration.chaos.chaos import tell
from tests.support.states.kinds import KINDS, serve

if TYPE_CHECKING:
    from tests.support.states.kinds import States

STEPS = 150


def main() -> int:
    """Tell stories; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first story; the next has +1")
    parser.add_argument("--steps", type=int, default=STEPS, help="of one story")
    parser.add_argument("--keep-going", action="store_true", help="after a broken promise, too")
    parser.add_argument("--ignore", default="", metavar="KIND,...", help="faults not asked for")
    parser.add_argument("--keep", metavar="FOLDER", help="make the worlds here, and leave them")
    parser.add_argument("--verbose", action="store_true", help="tell every step")
    parser.add_argument("--state", choices=KINDS, default=KINDS[0], help="where the states are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imgmigrate-chaos-home-") as home:
        _isolate(home)
        with serve(options.state, Path(home), is_lined=True) as states:
            return _stories(options, states)


def _stories(options: argparse.Namespace, states: States) -> int:
    began, counts, faults, seed = time.monotonic(), Counter[str](), Counter[str](), options.seed
    steps = 0
    stories = 0
    while time.monotonic() < began + options.seconds:
        story = tell(
            seed,
            options.steps,
            states,
            until=began + options.seconds,
            ignored=frozenset(options.ignore.split(",")),
            keep=options.keep,
            note=_say if options.verbose else lambda _: None,
        )
        counts, steps, stories = counts + story.counts, steps + story.steps, stories + 1
        faults.update({fault.kind for _, fault in story.faults})
        for line in story.lines():
            _say(line)
        if story.faults and not options.keep_going:
            break
        seed += 1
    _say(f"seeds {options.seed} to {seed}: {stories} stories, {steps} steps")
    for name, number in sorted(counts.items()):
        _say(f"  {number:6} {name}")
    _say(f"broken promises: {dict(faults) or 'none'}")
    return 1 if faults else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _isolate(home: str) -> None:
    """Keep the machine's settings out, and waiting between retries, as the suite does."""
    for name in list(os.environ):
        if name.upper() in FOREIGN or name.startswith("IMGMIGRATE_"):
            del os.environ[name]
    for name in ("MACHINE", "CACHE"):
        os.environ[f"IMGMIGRATE_{name}_DIR"] = f"{home}/{name.lower()}"
    os.environ |= {"HOME": home, "DOCKER_CONFIG": f"{home}/.docker", "XDG_RUNTIME_DIR": home}
    stamina.set_testing(True, attempts=ATTEMPTS, cap=True)
    # What is down stays down.
    limits.USUAL_OUTAGE = 0.0
    sys.setswitchinterval(0.001)


if __name__ == "__main__":
    sys.exit(main())
