"""Measure imgmigrate, the floor and the peers on PATH, in turn, on real servers.

`python -m tests.benchmarks.run [--rounds N] [--work NAME ...]` prints a Markdown table of
medians and ratios. Each run copies to an empty destination; a peer that leaves some tag
behind is reported as failed, not as fast. Nothing here is a test: figures depend on the
machine, ratios of one run are what to quote.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.corpus import CORPORA, push
from tests.benchmarks.relay import relayed
from tests.benchmarks.tools import TOOLS, Tool, Work
from tests.support import registries
from tests.support.docker_registry import serve

if TYPE_CHECKING:
    from tests.benchmarks.corpus import Corpus
    from tests.support.docker_registry import DockerRegistry

ROOT = Path(__file__).parents[2]
# One measured command may take this long, in seconds, before it counts as failed.
LONGEST = 900


@dataclass(frozen=True, slots=True)
class Setting:
    """One work: a corpus, and how far away the servers are."""

    corpus: str
    about: str
    latency: float = 0.0
    mbit: float = 0.0
    source_mbit: float = 0.0
    tls: bool = False
    skopeo: bool = True


SETTINGS = {
    "shared": Setting("shared", "40 images, 425 MiB, shared bases"),
    "shared-far": Setting(
        "shared", "the same, 25 ms each way, 400 Mbit/s a connection", 0.025, 400, skopeo=False
    ),
    "small": Setting("small", "1,000 small images in 50 repositories", skopeo=False),
    "small-far": Setting("small", "the same, 25 ms each way", 0.025, skopeo=False),
    "multi": Setting("multi", "20 indexes of two platforms"),
    "sixteen": Setting("sixteen", "16 layers of 256 MiB, TLS on both sides", tls=True),
    "huge": Setting("huge", "3 GiB in four layers", skopeo=False),
    "one": Setting("one", "one layer of 512 MiB, source at 200 Mbit/s", source_mbit=200),
}


@dataclass(slots=True)
class Figures:
    """What one run of one tool took; seconds, MiB, counts."""

    wall: list[float] = field(default_factory=list)
    cpu: float = 0.0
    peak: float = 0.0
    source: int = 0
    destination: int = 0
    sent: float = 0.0
    read: float = 0.0
    failed: bool = False

    @property
    def total(self) -> float:
        """Wall seconds of all commands."""
        return sum(self.wall)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", nargs="*", choices=[*SETTINGS], default=[*SETTINGS])
    parser.add_argument("--all", action="store_true", help="every peer at every work")
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("\n| work | tool | wall s | plan + apply s | CPU s | peak MiB | source requests "
          "| destination requests | sent / unique | read / unique |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in options.work:
        _measure(SETTINGS[name], options.rounds, every_peer=options.all)
    return 0


def _measure(setting: Setting, rounds: int, *, every_peer: bool) -> None:
    tools = [
        tool
        for tool in TOOLS
        if tool.is_here
        and (tool.binary is None or setting.skopeo or every_peer)
        and (tool.speaks_tls or not setting.tls)
    ]
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        folder = Path(text)
        old = stack.enter_context(serve(folder / "old", tls=setting.tls))
        corpus = push(old.remote, setting.corpus, CORPORA[setting.corpus]())
        source_rate = setting.source_mbit or setting.mbit
        source = old.host
        if setting.latency or source_rate:
            far = relayed(old.host, latency=setting.latency, mbit=source_rate)
            source = stack.enter_context(far)
        for tool in tools:
            runs = [_first(tool, setting, folder, old, source, corpus) for _ in range(rounds)]
            _print(setting.about, tool.name, [first for first, _ in runs])
            again = [second for _, second in runs if second is not None]
            if again:
                _print(f"no-op run: {setting.about}", tool.name, again)


def _first(
    tool: Tool, setting: Setting, folder: Path, old: DockerRegistry, source: str, corpus: Corpus
) -> tuple[Figures, Figures | None]:
    """Run a tool to an empty destination, and again where nothing is left to do."""
    place = folder / "run"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    with ExitStack() as stack:
        # The same certificate serves both sides.
        new = stack.enter_context(serve(place / "new", tls=setting.tls))
        destination = new.host
        if setting.latency or setting.mbit:
            far = relayed(new.host, latency=setting.latency, mbit=setting.mbit)
            destination = stack.enter_context(far)
        ca = _bundle(place, old, new) if setting.tls else None
        work = Work(place, source, destination, corpus, ca)
        first = _run(tool.first(work), place, old, new, corpus)
        tags = sum(len(registries.list_tags(new.remote, r)) for r in corpus.repositories)
        first.failed = first.failed or tags != corpus.tags
        again = None
        if tool.again is not None and not first.failed:
            again = _run(tool.again(work), place, old, new, corpus)
    shutil.rmtree(place, ignore_errors=True)
    return first, again


def _bundle(place: Path, *servers: DockerRegistry) -> Path:
    path = place / "ca.pem"
    path.write_text("".join(each.ca_file.read_text() for each in servers if each.ca_file))
    return path


def _run(
    commands: list[list[str]],
    folder: Path,
    old: DockerRegistry,
    new: DockerRegistry,
    corpus: Corpus,
) -> Figures:
    """Run commands one after the other, and read the servers' own logs."""
    figures = Figures()
    before_old, before_new = len(old.access_log()), len(new.access_log())
    for each in commands:
        report = folder / "time"
        timed = ["time", "--format", "%e %U %S %M", "--output", str(report), *each]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        try:
            done = subprocess.run(
                timed, cwd=folder, env=env, capture_output=True, timeout=LONGEST, check=False
            )
        except subprocess.TimeoutExpired:
            figures.failed = True
            break
        wall, user, system, peak = report.read_text().split()[-4:]
        figures.wall.append(float(wall))
        figures.cpu += float(user) + float(system)
        figures.peak = max(figures.peak, int(peak) / 1024)
        if done.returncode != 0:
            print(done.stderr.decode()[-2000:], file=sys.stderr)
            figures.failed = True
    source, destination = old.access_log()[before_old:], new.access_log()[before_new:]
    figures.source, figures.destination = len(source), len(destination)
    uploads: Counter[str] = Counter()
    for line in destination:
        found = re.search(r"digest=(sha256(?:%3A|:)[0-9a-f]{64})", line.target)
        if found and line.method == "PUT" and line.status == 201:
            uploads[found[1].replace("%3A", ":")] += 1
    sent = sum(corpus.blobs[digest] * count for digest, count in uploads.items())
    reads = sum(1 for line in source if line.method == "GET" and "/blobs/" in line.path)
    figures.sent = sent / corpus.unique_bytes
    figures.read = reads / len(corpus.blobs)
    return figures


def _print(about: str, name: str, runs: list[Figures]) -> None:
    if any(run.failed for run in runs):
        print(f"| {about} | {name} | failed | | | | | | | |", flush=True)
        return
    best = sorted(runs, key=lambda run: run.total)[len(runs) // 2]
    wall = statistics.median(run.total for run in runs)
    parts = " + ".join(f"{seconds:.2f}" for seconds in best.wall) if len(best.wall) == 2 else ""
    print(
        f"| {about} | {name} | {wall:.2f} | {parts} | {best.cpu:.2f} | {best.peak:.0f} "
        f"| {best.source} | {best.destination} | {best.sent:.2f} | {best.read:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
