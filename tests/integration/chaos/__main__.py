"""Tell stories: `--stories 20` so many, or `--seconds 3600` until that is over."""

from __future__ import annotations

import argparse
import itertools
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
    from collections.abc import Iterator, Sequence

    from tests.support.states.kinds import States

STEPS = 150


def main() -> int:
    """Tell stories; 1 if a promise was broken."""
    options = read(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="imgmigrate-chaos-home-") as home:
        _isolate(home)
        with serve(options.state, Path(home), is_lined=True) as states:
            return _stories(options, states)


def read(words: Sequence[str]) -> argparse.Namespace:
    """Read what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.chaos", description=__doc__)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--stories", type=int, help="tell so many")
    length.add_argument("--seconds", type=float, help="begin none later; one is always told whole")
    parser.add_argument("--seed", type=int, default=0, help="of the first story; the next has +1")
    parser.add_argument("--steps", type=int, default=STEPS, help="of one story")
    parser.add_argument("--keep-going", action="store_true", help="after a broken promise, too")
    parser.add_argument("--ignore", default="", metavar="KIND,...", help="faults not asked for")
    parser.add_argument("--keep", metavar="FOLDER", help="make the worlds here, and leave them")
    parser.add_argument("--verbose", action="store_true", help="tell every step")
    parser.add_argument("--state", choices=KINDS, default=KINDS[0], help="where the states are")
    return parser.parse_args(words)


def _stories(options: argparse.Namespace, states: States) -> int:
    counts, faults, steps, stories = Counter[str](), Counter[str](), 0, 0
    for seed in _seeds(options):
        story = tell(
            seed,
            options.steps,
            states,
            ignored=frozenset(options.ignore.split(",")) - {""},
            keep=options.keep,
            note=_say if options.verbose else lambda _: None,
        )
        counts, steps, stories = counts + story.counts, steps + story.steps, stories + 1
        faults.update({fault.kind for _, fault in story.faults})
        for line in story.lines():
            _say(line)
        if story.faults and not options.keep_going:
            break
    _say(f"from seed {options.seed} on: {stories} stories, {steps} steps")
    for name, number in sorted(counts.items()):
        _say(f"  {number:6} {name}")
    _say(f"broken promises: {dict(faults) or 'none'}")
    return 1 if faults else 0


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    """Give each story its seed, for as many stories, or as long, as was asked for."""
    if options.stories is not None:
        yield from range(options.seed, options.seed + options.stories)
        return
    began = time.monotonic()
    for seed in itertools.count(options.seed):
        if time.monotonic() >= began + options.seconds:
            return
        yield seed


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
