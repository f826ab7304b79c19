"""`python -m tests.benchmarks.shared_state`: what it costs to keep a state where machines share it.

1,000 small images are planned once for each kind of place, and that plan is applied, in pairs: once
with the state in a folder, once with it there, whoever was second being first in the next pair.
Everything is on this machine, each copy goes to an empty registry. Printed are the medians of wall
and CPU seconds of the apply, its git's included, and of the ratios in each pair.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.corpus import CORPORA, is_all_at, push
from tests.benchmarks.measure import Ends, measure
from tests.support.cli import command, write_config
from tests.support.docker_registry import serve as serve_registry
from tests.support.states.kinds import KINDS, SHARED, serve

if TYPE_CHECKING:
    from tests.benchmarks.corpus import Corpus
    from tests.benchmarks.measure import Step
    from tests.support.docker_registry import DockerRegistry
    from tests.support.states.kinds import States

NAME = "imgmigrate"
APPLY = command("apply", "plan.out")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--state", nargs="*", choices=SHARED, default=SHARED)
    options = parser.parse_args()
    print("| state | wall s | in a folder | ratio | CPU s | in a folder | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as text, serve_registry(Path(text) / "old") as old:
        corpus = push(old.remote, "small", CORPORA["small"]())
        for kind in options.state:
            with (
                serve(kind, Path(text) / kind) as shared,
                serve(KINDS[0], Path(text) / kind) as local,
            ):
                _print(kind, [
                    _pair(Path(text) / "run", old, corpus, shared, local, is_first=number % 2 == 0)
                    for number in range(options.rounds)
                ])  # fmt: skip
    return 0


def _pair(
    folder: Path,
    old: DockerRegistry,
    corpus: Corpus,
    shared: States,
    local: States,
    *,
    is_first: bool,
) -> tuple[Step, Step]:
    """The apply with a shared state, and that with one in a folder."""
    order = (shared, local) if is_first else (local, shared)
    steps = {each.kind: _apply(folder, old, corpus, each) for each in order}
    return steps[shared.kind], steps[local.kind]


def _apply(folder: Path, old: DockerRegistry, corpus: Corpus, kept: States) -> Step:
    """Plan and apply to an empty registry; what the apply took."""
    states = kept.fresh(folder)
    folder.mkdir(exist_ok=True)
    try:
        with serve_registry(folder / "new") as new:
            rules = "\n".join(
                f"  - {{source: '{old.host}/{repo}', destination: '{new.host}/{repo}'}}"
                for repo in corpus.repositories
            )
            config = write_config(folder, rules, old.host, new.host)
            config.write_text(f"{config.read_text()}{states.config(NAME)}")
            plan = command("plan", "--out", "plan.out")
            run = measure([plan, APPLY], folder, Ends(old, [new], corpus), states.environment)
            assert not run.failed
            assert is_all_at(new.remote, corpus)
            return run.steps[-1]
    finally:
        shutil.rmtree(folder)


def _print(kind: str, pairs: list[tuple[Step, Step]]) -> None:
    cells = [kind]
    for values in (
        [(shared.wall, local.wall) for shared, local in pairs],
        [(shared.cpu, local.cpu) for shared, local in pairs],
    ):
        one, other = (statistics.median(each) for each in zip(*values, strict=True))
        ratio = statistics.median(shared / local for shared, local in values)
        cells += [f"{one:.2f}", f"{other:.2f}", f"{ratio:.3f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
