"""Run the fake registry as a process of its own: prints its port, serves until killed.

`--kill-at N --kill-pid-file F` sends SIGKILL to the process whose id is in F when the N-th
request arrives; that request is worked on, but never answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.fakes.registry import PROFILES, FakeRegistry, User

CHOICES: dict[str, type[FakeRegistry]] = {"honest": FakeRegistry, **PROFILES}


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    options = _parser().parse_args()
    users = [User(*pair.split(":", 1)) for pair in options.user]
    registry = CHOICES[options.profile](
        auth=options.auth, users=users, log=options.log, port=options.port
    )
    registry.redirect_status = options.redirect or registry.redirect_status
    registry.page_size = options.page_size or registry.page_size
    if options.kill_at:
        registry.kill_at(options.kill_at, lambda: _kill(options.kill_pid_file))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with registry:
        sys.stdout.write(registry.host.rpartition(":")[2] + "\n")
        sys.stdout.flush()
        await stop.wait()


def _kill(pid_file: Path) -> None:
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.registry", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--log", type=Path, help="finished requests, as JSON lines")
    parser.add_argument("--profile", choices=CHOICES, default="honest")
    parser.add_argument("--auth", choices=["none", "basic", "token"], help="else as the profile")
    parser.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD")
    parser.add_argument("--redirect", type=int, metavar="STATUS", help="serve blobs elsewhere")
    parser.add_argument("--page-size", type=int)
    parser.add_argument("--kill-at", type=int, metavar="N")
    parser.add_argument("--kill-pid-file", type=Path, metavar="FILE")
    return parser


if __name__ == "__main__":
    asyncio.run(main())
