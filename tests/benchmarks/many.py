"""A state of 100,000 images that 5,000 rules ask for: what a very large estate costs.

`python -m tests.benchmarks.many FOLDER` writes the config, begins a run, records every image and
ends the run, as apply does with its receipts. The hosts do not exist: nothing asks them.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.record import Claim, ImageRecord, Source
from tests.support.cli import command, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["COMMANDS"]

RULES, TAGS = 5_000, 20
NAMESPACES = 50
OLD, NEW = "old.invalid", "new.invalid"

COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "100,000 receipts journaled": lambda folder: [
        sys.executable,
        "-m",
        "tests.benchmarks.many",
        str(folder),
    ],
    "state list": lambda _: command("state", "list"),
    "plan --no-refresh": lambda _: command("plan", "--no-refresh"),
}


def main() -> None:
    """Write the config and the state."""
    folder = Path(sys.argv[1])
    tags = ",".join(f"v{tag}" for tag in range(TAGS))
    rules = "\n".join(
        f"  - {{source: '{OLD}/{repo}:{tags}', destination: {NEW}/{repo}}}" for repo in _names()
    )
    config = write_config(folder, rules)
    asyncio.run(_record(folder / "state" / config.stem))


async def _record(state: Path) -> None:
    records = list(_records())
    claims = [Claim(address=record.address, after=record.digest) for record in records]
    async with LocalState(state).writer(command="benchmark") as writer:
        await writer.begin("run", "plan", claims)
        for record in records:
            await writer.record(record)
        await writer.end({"applied": len(records)})


def _names() -> Iterator[str]:
    return (f"team{number % NAMESPACES}/app{number}" for number in range(RULES))


def _records() -> Iterator[ImageRecord]:
    for repo in _names():
        for tag in range(TAGS):
            digest = Digest.of(f"{repo}:{tag}".encode())
            yield ImageRecord(
                address=Reference(Repository(NEW, repo), f"v{tag}"),
                source=Source(reference=Reference(Repository(OLD, repo), f"v{tag}"), digest=digest),
                digest=digest,
                media_type="application/vnd.oci.image.manifest.v1+json",
                at="2026-01-01T00:00:00Z",
                sequence=0,
                run="run",
                plan_id="plan",
            )


if __name__ == "__main__":
    main()
