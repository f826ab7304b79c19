"""Record on a disk that fills up: run by `test_full_disk.py` in a mount namespace of its own.

Prints one JSON object; arguments: the folder of the small disk, and what fills up.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.errors import StateError
from tests.state.samples import a_run, address, claim, draft, local, same

if TYPE_CHECKING:
    from imgmigrate.state.local.store import LocalState


async def main(disk: Path, when: str) -> dict[str, object]:
    """Fill the disk at a moment, make room again, go on; say what was found."""
    state, ballast = local(disk / "state"), disk / "ballast"
    match when:
        case "never":
            return {"errors": await begin(state)}
        case "before":
            fill(ballast)
            errors, recorded = await begin(state), 0
        case "during":
            errors, recorded = await record_until_full(state, ballast)
        case _:
            errors, recorded = await compact_without_room(state, ballast)
    ballast.unlink(missing_ok=True)
    async with a_run(state, run="next") as writer:
        await writer.end({})
    found = state.read()
    return {
        "errors": errors,
        "recorded": recorded,
        "records": len(found.records),
        "after": found.record(address("after")) is not None,
        "files": sorted(path.name for path in (disk / "state").iterdir()),
    }


async def begin(state: LocalState) -> list[str]:
    """Try to begin a run."""
    try:
        async with a_run(state):
            return []
    except StateError as error:
        return [str(error)]


async def record_until_full(state: LocalState, ballast: Path) -> tuple[list[str], int]:
    """Record until the disk is full, compare, make room, record once more."""
    recorded = 0
    async with a_run(state, claim("a")) as writer:
        fill(ballast)
        try:
            while True:
                await writer.record(draft(recorded))
                recorded += 1
        except StateError as error:
            message = str(error)
        assert same(writer.state, state.read())
        assert len(state.read().records) == recorded
        await asyncio.to_thread(ballast.unlink)
        await writer.record(draft("after"))
        await writer.end({})
    return [message], recorded


async def compact_without_room(state: LocalState, ballast: Path) -> tuple[list[str], int]:
    """End a run when there is room for its last lines, but for no snapshot; what is warned of."""
    recorded = 60
    warned: list[str] = []
    async with a_run(state, claim("a")) as writer:
        writer.listen(lambda each: warned.append(f"{each.code}: {each.message}"))
        for number in range(recorded):
            await writer.record(draft(number))
        fill(ballast, spare=8192)
        await writer.end({})
        await writer.record(draft("after"))
    assert not (state.folder / "snapshot.jsonl").exists()
    return warned, recorded


def fill(ballast: Path, spare: int = 0) -> None:
    """Take the rest of the disk, but for `spare` bytes."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - spare))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))))
