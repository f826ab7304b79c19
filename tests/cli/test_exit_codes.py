"""Each code of the README's table, provoked through the real command; wrong usage is 64, never 2.

The other tests prove who ends with which code and why; here every code is met once, as a
script meets it.
"""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.moves import Move, assert_says, ended, half_done, reach, run_on_terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.registry import FakeRegistry

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
async def move(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> Move:
    """One image moved, one waiting."""
    return await half_done(tmp_path, fake_registry, other_fake_registry)


async def done(move: Move) -> None:
    """Everything was carried out."""
    ran = await move.run("apply", "--auto-approve", code=0)
    assert_says(ran.out, "Apply complete: 1 copied")


async def not_approved(move: Move) -> None:
    """The answer was not `yes`."""
    code, shown = await asyncio.to_thread(run_on_terminal, move.folder, "apply", answer="no\n")
    assert code == 1
    assert_says(shown, "not applied; nothing was changed")


async def changes(move: Move) -> None:
    """A destination would change, and it was asked for."""
    ran = await move.run("plan", "--detailed-exitcode", code=2)
    assert_says(ran.out, "Plan: 1 to copy")


async def partly(move: Move) -> None:
    """A row could not be done, and the way on is told."""
    await move.plan()
    move.new.fail("PUT", "/manifests/second", status=400)
    ran = await move.run("apply", "plan.out", code=3)
    assert_says(ran.out, "Apply incomplete: 1 failed", "imgmigrate apply plan.out")


async def refused(move: Move) -> None:
    """The plan was edited."""
    plan = await move.plan()
    plan.write_bytes(plan.read_bytes().replace(b"app:second", b"app:first"))
    ran = await move.run("apply", "plan.out", code=4)
    assert_says(ran.err, "edited or damaged", "plan again")


async def locked(move: Move) -> None:
    """Another run holds the lock: who, where and since when is told."""
    await move.plan()
    stall = move.new.stall("PUT", "/manifests/second")
    with move.start("apply", "plan.out") as first:
        await reach(first, stall)
        ran = await move.run("apply", "plan.out", code=5)
        assert re.search(rf"locked by process {first.pid} of \S+ on \S+, .* since 20\S+Z", ran.err)
        move.new.clear()
        await ended(first, 0)


async def guarded(move: Move) -> None:
    """The source holds fewer tags than the rule's `min`."""
    move.write_config(move.rule.removesuffix("}") + ", tags: {include: ['*'], min: 5}}")
    ran = await move.run("plan", code=6)
    assert_says(ran.err, "min")


async def contested(move: Move) -> None:
    """What is left is somebody else's image; a plan that shows nothing but it says so too."""
    theirs = images.image("theirs")
    move.new.put_image("app", "second", theirs)
    ran = await move.run("apply", "--auto-approve", code=7)
    assert_says(ran.out, "1 conflict")
    await move.run("plan", "--detailed-exitcode", "--out", "plan.out", code=2)
    ran = await move.run("apply", "plan.out", code=7)
    assert move.new.image("app", "second").top == theirs.top


async def unsaved(move: Move) -> None:
    """The state's file reached the most that the system lets it have, after images moved."""
    many = {f"t{number}": images.image(f"t{number}", size=64) for number in range(30)}
    for tag, image in many.items():
        move.old.put_image("app", tag, image)
    await move.plan()
    # In blocks of 512 bytes: more than all claims need, less than the records do.
    move.prefix = ("sh", "-c", 'ulimit -f 24; exec "$@"', "sh")
    ran = await move.run("apply", "plan.out", code=8)
    assert_says(ran.err, "journal.jsonl", "imgmigrate-recovery-", "apply the same plan")
    move.prefix = ()
    await move.run("apply", "plan.out", code=0)
    await move.assert_finished(**many)


async def misused(move: Move) -> None:
    """A glob matches nothing."""
    ran = await move.run("plan", "--target", "no.such/**", code=64)
    assert_says(ran.err, "--target no.such/**: matches no address")


async def interrupted(move: Move, number: signal.Signals, code: int) -> None:
    """A signal ended the run, and the way on is told."""
    await move.plan()
    stall = move.new.stall("PUT", "/manifests/second")
    with move.start("apply", "plan.out") as process:
        await reach(process, stall)
        process.send_signal(number)
        ran = await ended(process, code)
    assert_says(ran.err, "to go on: imgmigrate apply plan.out")


async def by_sigint(move: Move) -> None:
    """Ctrl-C."""
    await interrupted(move, signal.SIGINT, 130)


async def by_sighup(move: Move) -> None:
    """A closed terminal."""
    await interrupted(move, signal.SIGHUP, 129)


async def by_sigterm(move: Move) -> None:
    """What CI systems send."""
    await interrupted(move, signal.SIGTERM, 143)


CODES: dict[int, Callable[[Move], Awaitable[None]]] = {
    0: done,
    1: not_approved,
    2: changes,
    3: partly,
    4: refused,
    5: locked,
    6: guarded,
    7: contested,
    8: unsaved,
    64: misused,
    129: by_sighup,
    130: by_sigint,
    143: by_sigterm,
}


@pytest.mark.integration
@pytest.mark.parametrize("code", CODES)
async def test_each_code_is_what_the_command_ends_with(move: Move, code: int) -> None:
    """A script that looks at the exit code alone learns what the table promises."""
    await CODES[code](move)


def test_the_readme_lists_exactly_these_codes() -> None:
    """The published table and the provoked codes are the same set."""
    section = README.read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE)
    assert [int(code) for row in rows for code in row.split(",")] == list(CODES)
