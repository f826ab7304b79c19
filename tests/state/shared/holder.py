"""A process that holds a state and writes it until it is told to stop, for tests that hurt it.

`python -m tests.state.shared.holder URL LEASE`: a letter a line, `+` for a record that is there,
then `lost` or `ended`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from imgmigrate.config.values.backends import Backend
from imgmigrate.errors import StateLost
from imgmigrate.state.base import open_state
from tests.state.samples import claim, draft


async def hold(url: str, lease: float) -> str:
    """Write a record every moment, each only while the state is surely held."""
    try:
        state = open_state(Backend(url, Path.cwd(), lease))
        async with state.writer(command="holder") as writer:
            await writer.begin("run-held", "plan", [claim(f"held-{n}") for n in range(1000)])
            for number in range(1000):
                await writer.hold()
                await writer.record(draft(f"held-{number}"))
                await writer.sync()
                print("+", flush=True)  # noqa: T201
                await asyncio.sleep(0.05)
    except StateLost as error:
        print(error, file=sys.stderr)  # noqa: T201
        return "lost"
    return "ended"


if __name__ == "__main__":
    print(asyncio.run(hold(sys.argv[1], float(sys.argv[2]))), flush=True)  # noqa: T201
