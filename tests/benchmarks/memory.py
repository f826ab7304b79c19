"""Show that memory does not grow with the layers: eight of 300 MiB at once.

usage: python -m tests.benchmarks.memory [--layers N] [--mib N]

Two docker-registry servers on loopback; the copy runs as a process of its own, whose peak
resident memory the kernel counts. Prints a line a phase; exits 1 above the limit.
"""

from __future__ import annotations

import argparse
import gzip
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import images, registries
from tests.support.cli import command, write_config
from tests.support.docker_registry import serve

MIB = 1024 * 1024
# What a user of a small CI runner would expect of a tool that stores nothing.
LIMIT_MIB = 150


def main() -> int:
    """Copy the images and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=8, help="how many, one an image")
    parser.add_argument("--mib", type=int, default=300, help="size of each in MiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder, "old")) as old:
        for number in range(options.layers):
            seeded = random.Random(number)
            data = b"".join(seeded.randbytes(MIB) for _ in range(options.mib))
            layer = gzip.compress(data, compresslevel=0, mtime=0)
            image = images.image(f"image {number}", layers=[layer])
            registries.push(old.remote, "big", f"t{number}", image)
        with serve(Path(folder, "new")) as new:
            rule = f"  - {{source: {old.host}/big, destination: {new.host}/big}}"
            write_config(Path(folder), rule, old.host, new.host)
            _run(folder, "plan", "--out", "plan.out")
            began = time.monotonic()
            peak = _run(folder, "apply", "plan.out", "--parallelism", str(options.layers))
            seconds = time.monotonic() - began
            assert len(registries.list_tags(new.remote, "big")) == options.layers
    moved = options.layers * options.mib
    print(f"{options.layers} layers of {options.mib} MiB: {moved / seconds:.0f} MiB/s")
    print(f"peak resident memory of apply: {peak:.0f} MiB (limit {LIMIT_MIB} MiB)")
    return 0 if peak < LIMIT_MIB else 1


def _run(folder: str, *arguments: str) -> float:
    """Run a command to its end and return its peak resident memory in MiB.

    Through `time`, a small process: a child's peak starts at the size of who forked it.
    """
    report = Path(folder, "peak")
    timed = ["time", "--format", "%M", "--output", str(report), *command(*arguments)]
    done = subprocess.run(timed, cwd=folder, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"imgmigrate {' '.join(arguments)} ended with {done.returncode}")
    return int(report.read_text()) / 1024


if __name__ == "__main__":
    sys.exit(main())
