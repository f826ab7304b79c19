"""What is left of a copy when a registry has a bad day: imgmigrate and every peer on PATH.

`python -m tests.benchmarks.faults [--fault NAME ...] [--tool NAME ...]` prints a Markdown table: a
row a fault, a column a tool. Twenty-five small images go from one fake registry to another whose
answers take a tenth of a second; every tool starts at an empty destination and has one try, without
anybody who looks after it. A cell is `images there (exit code, seconds)`; beside a limiter's rows
stands the least that the limit allows that tool, by the requests it makes where nothing is wrong.
Each peer runs as `tools.py` says, with what its manual has against failures. Nothing here is a
test: seconds depend on the machine, what is there should not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from tests.benchmarks.corpus import Corpus
from tests.benchmarks.tools import TOOLS, Tool, Work
from tests.fakes.registry import FakeRegistry, in_thread
from tests.fakes.registry.calls import HungUp, Refusal
from tests.support.images import image, layer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.fakes.registry.access import User
    from tests.fakes.registry.calls import Call

ROOT = Path(__file__).parents[2]
IMAGES = 25
TAG = "v1"
# A registry in the next town, in seconds an answer.
ANSWER = 0.1
# Who is not through by then, in seconds, is killed.
LONGEST = 150
# The outage begins in the middle of everybody's work, however fast they are.
UP_UNTIL, DOWN, PERIOD = 5, 20.0, 40.0
# As nginx's `limit_req rate=10r/s burst=20 nodelay`.
RATE, BURST = 10.0, 20
TOKEN_SECONDS = 4.0
CUT_SIZE, CUT_AT = 200_000, 70_000
# How often a run is looked at that is to be killed, in seconds.
GLANCE = 0.01

# What each peer has against failures, if it is not there unless asked for.
AGAINST_FAILURES: Mapping[str, list[str]] = {
    "skopeo": ["--keep-going", "--retry-times", "3"],
    "image-syncer": ["--retries", "3"],
}


class Trial(FakeRegistry):
    """The honest registry at a distance, with what goes wrong at it."""

    trouble: Callable[[Call], None] | None = None
    # The blob whose bytes end at the same place each time, wherever reading begins.
    cut_blob: str | None = None

    async def answer(self, call: Call) -> web.StreamResponse:
        """Fail as told, or answer in a while."""
        if self.trouble is not None:
            self.trouble(call)
        await asyncio.sleep(ANSWER)
        return await super().answer(call)

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Let anybody do everything: who may is not what is tried."""
        return set(asked)

    async def send_blob(
        self, call: Call, data: bytes, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Serve a blob, or its first part."""
        if self.cut_blob is None or not call.path.endswith(self.cut_blob):
            return await super().send_blob(call, data, headers)
        asked = call.request.headers.get("Range", "").removeprefix("bytes=")
        start = int(asked.partition("-")[0] or 0)
        response = web.StreamResponse(status=206 if asked else 200, headers=dict(headers))
        if asked:
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        response.content_length = len(data) - start
        await response.prepare(call.request)
        await response.write(data[start:CUT_AT])
        call.hang_up()
        raise HungUp

    def images(self) -> int:
        """Count the tags."""
        return sum(len(repository.tags) for repository in list(self.repositories.values()))

    def uploads(self) -> int:
        """Count the blobs that were stored, each as often as it was."""
        return self.count("*", r"/blobs/uploads/.*digest=", status=201)


@dataclass(slots=True)
class Flapping:
    """Down and up in turn, as soon as a few images are there."""

    registry: Trial
    began: float | None = None

    def __call__(self, call: Call) -> None:
        """Hang up while it is down."""
        if self.began is None and self.registry.images() >= UP_UNTIL:
            self.began = time.monotonic()
        if self.began is not None and (time.monotonic() - self.began) % PERIOD < DOWN:
            raise HungUp


@dataclass(slots=True)
class Limiter:
    """A bucket of requests; above it all are refused."""

    headers: Mapping[str, str] = field(default_factory=dict)
    level: float = BURST
    filled: float = field(default_factory=time.monotonic)

    def __call__(self, call: Call) -> None:
        """Refuse what comes too soon."""
        now = time.monotonic()
        self.level = min(BURST, self.level + (now - self.filled) * RATE)
        self.filled = now
        if self.level < 1:
            raise Refusal(429, "TOOMANYREQUESTS", headers=self.headers)
        self.level -= 1


@dataclass(slots=True)
class Clock:
    """Tokens that die by a real clock."""

    registry: Trial
    seen: float = field(default_factory=time.monotonic)

    def __call__(self, call: Call) -> None:
        """Let the time pass that has passed."""
        now = time.monotonic()
        self.registry.advance(now - self.seen)
        self.seen = now


def _nothing(source: Trial, destination: Trial) -> None:
    pass


def _flap(source: Trial, destination: Trial) -> None:
    destination.trouble = Flapping(destination)


def _limit(source: Trial, destination: Trial) -> None:
    destination.trouble = Limiter()


def _limit_and_say_when(source: Trial, destination: Trial) -> None:
    destination.trouble = Limiter({"Retry-After": "1"})


def _cut(source: Trial, destination: Trial) -> None:
    (source.cut_blob,) = (each for each, data in source.blobs.items() if len(data) > CUT_SIZE)


def _short_tokens(source: Trial, destination: Trial) -> None:
    for registry in (source, destination):
        registry.auth, registry.token_ttl = "token", TOKEN_SECONDS
        # The documentation of tokens forbids to say less.
        registry.reported_ttl = 60
        registry.trouble = Clock(registry)


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. With `is_killed` the run is killed at its half and done again."""

    about: str
    switch: Callable[[Trial, Trial], None]
    is_limited: bool = False
    is_killed: bool = False


FAULTS = {
    "none": Fault("none", _nothing),
    "flapping": Fault("destination down 20 s of 40", _flap),
    "limiter": Fault("limiter 10 requests/s, 429", _limit, is_limited=True),
    "retry-after": Fault("the same, Retry-After: 1", _limit_and_say_when, is_limited=True),
    "cut": Fault("source cut at the same byte (24 good)", _cut),
    "tokens": Fault("tokens die after 4 s", _short_tokens),
    "kill": Fault("kill -9 at half, again: uploads (50 needed)", _nothing, is_killed=True),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool left: whole images, broken ones, its exit code (None: killed), and its cost."""

    there: int
    broken: int
    code: int | None
    seconds: float
    requests: int
    uploads: int


def main() -> int:
    """Run every tool at every fault and print the table."""
    here = [tool for tool in TOOLS if tool.is_here and not tool.is_detail and tool.name != "floor"]
    names = [tool.name for tool in here]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", nargs="*", choices=FAULTS, default=[*FAULTS])
    parser.add_argument("--tool", nargs="*", choices=names, default=names)
    options = parser.parse_args()
    tools = [tool for tool in here if tool.name in options.tool]
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"Not on PATH: {', '.join(t.name for t in TOOLS if not t.is_here) or 'none'}\n")
    print(f"| fault | {' | '.join(tool.name for tool in tools)} |")
    print("| --- |" + " --- |" * len(tools), flush=True)
    quiet: dict[str, Outcome] = {}
    # What a limit allows is known from a run without one.
    wanted = {
        *options.fault,
        *(["none"] if any(FAULTS[f].is_limited for f in options.fault) else []),
    }
    for name in (name for name in FAULTS if name in wanted):
        print(f"| {FAULTS[name].about} |", end="", flush=True)
        for tool in tools:
            outcome = _run(tool, FAULTS[name])
            quiet.setdefault(tool.name, outcome)
            print(f" {_cell(FAULTS[name], outcome, quiet[tool.name])} |", end="", flush=True)
        print(flush=True)
    return 0


def _cell(fault: Fault, outcome: Outcome, quiet: Outcome) -> str:
    there = f"{outcome.there}{f' and {outcome.broken} BROKEN' if outcome.broken else ''}"
    end = f"{outcome.code}, {outcome.seconds:.0f}"
    if outcome.code is None:
        end = f"killed at {LONGEST}"
    if fault.is_killed:
        return f"{there}, {outcome.uploads} ({end})"
    if not fault.is_limited:
        return f"{there} ({end})"
    least = max(quiet.seconds, (quiet.requests - BURST) / RATE)
    return f"{there} ({end}; at least {least:.0f})"


def _run(tool: Tool, fault: Fault) -> Outcome:
    """Let a tool copy between two registries of its own."""
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        source, destination = (stack.enter_context(in_thread(Trial())) for _ in range(2))
        corpus = _fill(source)
        fault.switch(source, destination)
        work = Work(Path(text), source.host, (destination.host,), corpus)
        commands = [
            [*each, *AGAINST_FAILURES.get(tool.binary or "", ())] for each in tool.first(work)
        ]
        began = time.monotonic()
        if fault.is_killed:
            _run_all(commands, work.folder, began + LONGEST, destination)
        code = _run_all(commands, work.folder, began + LONGEST)
        seconds = time.monotonic() - began
        there = [_is_whole(destination, corpus, repo) for repo in destination.repositories]
        return Outcome(
            there.count(True),
            there.count(False),
            code,
            seconds,
            len(destination.requests),
            destination.uploads(),
        )


def _fill(source: Trial) -> Corpus:
    """Put the images in place, each of a repository and a layer of its own; one is larger."""
    repositories: dict[str, dict[str, str]] = {}
    for number in range(IMAGES):
        seed, size = f"faults {number}", CUT_SIZE if number == IMAGES // 2 else 3000
        made = image(seed, layers=[layer(seed, size)])
        repositories[f"faults/r{number}"] = {TAG: source.put_image(f"faults/r{number}", TAG, made)}
    blobs = {digest: len(data) for digest, data in source.blobs.items()}
    return Corpus("faults", repositories, blobs)


def _is_whole(registry: Trial, corpus: Corpus, repo: str) -> bool | None:
    """Tell whether a tag is there with everything below it; None: there is no tag."""
    if TAG not in registry.tags(repo):
        return None
    try:
        return registry.image(repo, TAG).top == corpus.repositories[repo][TAG]
    except AssertionError:
        return False


def _run_all(
    commands: list[list[str]], folder: Path, until: float, killed_at: Trial | None = None
) -> int | None:
    """Run commands one after the other, whatever becomes of each; the highest exit code.

    None: it was killed, for the time was up or half of the blobs were at `killed_at`.
    """
    environ = {
        **os.environ,
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "IMGMIGRATE_MACHINE_DIR": str(folder / "machine"),
    }
    codes = [0]
    for each in commands:
        with subprocess.Popen(
            each,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                while process.poll() is None:
                    is_half = killed_at is not None and killed_at.uploads() >= IMAGES
                    if is_half or time.monotonic() > until:
                        return None
                    time.sleep(GLANCE)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        codes.append(process.returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
