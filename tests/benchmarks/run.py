"""Measure imgmigrate, the floor and the peers on PATH, in turn, on real servers.

`python -m tests.benchmarks.run [--rounds N] [--work NAME ...]` prints a Markdown table of
medians while they come, then the ratios beside what is aimed at. `--against PYTHON` measures the
imgmigrate of another interpreter in turn with this one, and nobody else: before and after. Bytes
and requests are those of the servers' logs; `wire` is all that the relay carried, headers
included. Each run copies to an empty destination whose server starts and ends with it; a peer that
leaves some tag behind is reported as failed, not as fast. Nothing here is a test: figures depend on
the machine, ratios of one run are what to quote.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.corpus import CORPORA, is_all_at, push
from tests.benchmarks.many import COMMANDS
from tests.benchmarks.measure import Ends, Results, Run, measure
from tests.benchmarks.relay import relayed
from tests.benchmarks.summary import print_peers, print_targets
from tests.benchmarks.tools import TOOLS, Tool, Work, another
from tests.support.docker_registry import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.corpus import Corpus
    from tests.support.docker_registry import DockerRegistry

# Ahead of whatever else the machine does, where one may ask for it.
NICENESS = -10
STATE = "state"


@dataclass(frozen=True, slots=True)
class Setting:
    """One work: a corpus, how many destinations, and how far away the servers are.

    The seconds of `latency` are each way; a connection carries `mbit`, the source's `source_mbit`.
    """

    corpus: str
    about: str
    latency: float = 0.0
    mbit: float = 0.0
    source_mbit: float = 0.0
    destinations: int = 1
    tls: bool = False
    skopeo: bool = True
    details: bool = False


SETTINGS = {
    "shared": Setting("shared", "40 images, 425 MiB, shared bases"),
    "shared-far": Setting(
        "shared", "40 images, 25 ms each way, 400 Mbit/s a connection", 0.025, 400, skopeo=False
    ),
    "three": Setting("shared", "40 images to three destinations at once", destinations=3),
    "small": Setting(
        "small", "1,000 small images in 50 repositories", skopeo=False, details=True
    ),
    "small-far": Setting("small", "1,000 small images, 25 ms each way", 0.025, skopeo=False),
    "multi": Setting("multi", "20 indexes of two platforms"),
    "sixteen": Setting("sixteen", "16 layers of 256 MiB, TLS on both sides", tls=True),
    "huge": Setting("huge", "3 GiB in four layers", skopeo=False),
    "one": Setting(
        "one", "one layer of 512 MiB, source at 200 Mbit/s a connection", source_mbit=200
    ),
}  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", nargs="*", choices=[*SETTINGS, STATE], default=[*SETTINGS, STATE])
    parser.add_argument("--all", action="store_true", help="every peer at every work")
    parser.add_argument("--against", metavar="PYTHON", help="another imgmigrate, in turn with ours")
    options = parser.parse_args()
    tools = (TOOLS[0], another(options.against)) if options.against else TOOLS
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    _introduce()
    results = Results()
    for name in options.work:
        if name == STATE:
            _measure_state(options.rounds, results)
        else:
            _measure(name, tools, options.rounds, results, every_peer=options.all)
    names = {name: setting.about for name, setting in SETTINGS.items() if name in options.work}
    print_peers(results, names, [tool.name for tool in TOOLS if tool.binary])
    print_targets(results)
    return 0


def _introduce() -> None:
    """Say where and of what; then the head of the table."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for tool in TOOLS:
        if tool.binary and tool.is_here:
            asked = [tool.binary, "--version" if tool.binary == "skopeo" else "version"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            print(f"{tool.binary}: {' '.join((done.stdout or done.stderr).split())[:100]}")
    print(
        "\n| work | tool | wall s | of which | CPU s | peak MiB | source requests "
        "| destination requests | sent / unique | read / unique |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)


def _measure(
    name: str, offered: Sequence[Tool], rounds: int, results: Results, *, every_peer: bool
) -> None:
    setting = SETTINGS[name]
    tools = [tool for tool in offered if _takes_part(tool, setting, every_peer=every_peer)]
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        folder = Path(text)
        old = stack.enter_context(serve(folder / "old", tls=setting.tls))
        corpus = push(old.remote, setting.corpus, CORPORA[setting.corpus]())
        source, rate = old.host, setting.source_mbit or setting.mbit
        if setting.latency or rate:
            far = relayed(old.host, latency=setting.latency, mbit=rate)
            source = stack.enter_context(far).host
        for number in range(rounds):
            # Whoever goes first finds colder caches: each in turn.
            for tool in tools if number % 2 == 0 else tools[::-1]:
                runs = _once(tool, setting, folder / "run", old, source, corpus)
                for label, run in runs.items():
                    results.add(name, label, run)
                    if number == rounds - 1:
                        _print(setting.about, label, results.of(name, label))


def _takes_part(tool: Tool, setting: Setting, *, every_peer: bool) -> bool:
    return (
        tool.is_here
        and (tool.binary != "skopeo" or setting.skopeo or every_peer)
        and (tool.speaks_tls or not setting.tls)
        and (tool.fans_out or setting.destinations == 1)
        and (setting.details or not tool.is_detail)
    )


def _once(
    tool: Tool, setting: Setting, place: Path, old: DockerRegistry, source: str, corpus: Corpus
) -> dict[str, Run]:
    """Run a tool to empty destinations, and again where nothing is left to do."""
    place.mkdir()
    with ExitStack() as stack:
        new = [
            stack.enter_context(serve(place / f"new{number}", tls=setting.tls))
            for number in range(setting.destinations)
        ]
        hosts, relay = [each.host for each in new], None
        if setting.latency or setting.mbit:
            far = relayed(new[0].host, latency=setting.latency, mbit=setting.mbit)
            relay = stack.enter_context(far)
            hosts = [relay.host]
        ca = _bundle(place, old, *new) if setting.tls else None
        work, ends = Work(place, source, tuple(hosts), corpus, ca), Ends(old, new, corpus, relay)
        first = measure(tool.first(work), place, ends)
        first.failed = first.failed or not all(is_all_at(each.remote, corpus) for each in new)
        runs = {tool.name: first}
        if not first.failed:
            for label, call in [*tool.again.items()][: None if setting.details else 1]:
                runs[f"{tool.name}, {label}"] = measure(call(work), place, ends)
    shutil.rmtree(place)
    return runs


def _bundle(place: Path, *servers: DockerRegistry) -> Path:
    path = place / "ca.pem"
    path.write_text("".join(each.ca_file.read_text() for each in servers if each.ca_file))
    return path


def _measure_state(rounds: int, results: Results) -> None:
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as text:
            for label, call in COMMANDS.items():
                results.add(STATE, label, measure([call(Path(text))], Path(text), Ends()))
                if number == rounds - 1:
                    _print("100,000 images of 5,000 rules", label, results.of(STATE, label))


def _print(about: str, label: str, runs: list[Run]) -> None:
    if not runs:
        print(f"| {about} | {label} | failed | | | | | | | |", flush=True)
        return
    middle = sorted(runs, key=lambda run: run.wall)[len(runs) // 2]
    wall = statistics.median(run.wall for run in runs)
    parts = [f"{step.wall:.2f}" for step in middle.steps]
    cells = [
        about,
        label,
        f"{wall:.2f}",
        " + ".join(parts) if len(parts) == 2 else "",
        f"{middle.cpu:.2f}",
        f"{middle.peak:.0f}",
        str(middle.source),
        str(middle.destination),
        f"{middle.sent:.2f}" + (f" (wire {middle.wire:.2f})" if middle.wire else ""),
        f"{middle.read:.2f}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
