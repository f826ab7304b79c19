"""A list of images, and where it goes: what looks at its state is told of both as a plan is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.state.local.store import LocalState
from tests.render import samples

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

ADDRESS = "x.io/m/app:1"
NAMED = ("--list", "images.txt", "--to", "x.io/m", "--scoped")


@pytest.fixture
def listed(cli: Cli) -> Cli:
    """A list of images to which something was applied."""

    async def apply() -> None:
        async with LocalState(cli.folder / "state/images").writer(command="apply") as writer:
            await writer.begin("run-1", "7f3c9a1b2c3d4e5f", [], rows=1)
            await writer.record(samples.record(ADDRESS, sequence=0, at=""))
            await writer.end({"applied": 1, "known_conflict": 2})

    (cli.folder / "images.txt").write_text("quay.io/a/app:1\n")
    asyncio.run(apply())
    return cli


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("status",), "finished: 1 done, 2 known conflicts"),
        (("show",), "1 done, 2 known conflicts"),
        (("state", "list"), ADDRESS),
        (("state", "show", ADDRESS), "status live"),
        (("state", "log"), "finished: 1 done, 2 known conflicts"),
        (("state", "lock"), "not locked"),
        (("state", "export", "--out", "out.jsonl"), ""),
        (("state", "repair", "--dry-run"), "1 image recorded"),
        (("state", "rm", ADDRESS, "--auto-approve"), "1 record"),
        (("state", "mv", ADDRESS, "x.io/n/app:1", "--auto-approve"), "1 record"),
        (("state", "rebind", "--dry-run"), "nothing was changed"),
    ],
    ids=lambda part: " ".join(part[:2]) if isinstance(part, tuple) else "",
)
def test_what_looks_at_a_state_takes_a_list(
    listed: Cli, command: tuple[str, ...], said: str
) -> None:
    """The state is that of the list, wherever the options stand."""
    assert listed(*command, *NAMED) == 0
    assert said in " ".join(listed.out.split())


def test_a_list_alone_is_not_enough(listed: Cli) -> None:
    """Where its images go has to be said, as for a plan."""
    assert listed("status", "--list", "images.txt") == 64
    assert "images.txt:1: where its image goes is not said" in listed.err
