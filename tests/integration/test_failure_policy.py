"""What ends a run of the real command before its end, and plans that meet the same images."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from imgmigrate import apply_plan, load_config, make_plan, read_plan
from tests.fakes.registry import FakeRegistry, User
from tests.support import images
from tests.support.moves import STATE, WIDE, Move, assert_says, ended, half_done, reach
from tests.support.terminal import on_terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
by_signal = pytest.mark.parametrize(("number", "code"), SIGNALS, ids=["SIGINT", "SIGTERM"])


@pytest.fixture
async def move(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> Move:
    """One image moved, one waiting."""
    return await half_done(tmp_path, fake_registry, other_fake_registry)


def more(move: Move, count: int) -> dict[str, images.Image]:
    """Let so many more images wait at the source."""
    found = {f"t{number}": images.image(f"t{number}") for number in range(count)}
    for tag, image in found.items():
        move.old.put_image("app", tag, image)
    return found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--fail-fast", "--fail-fast: a row failed"),
        ("--max-failures 0", "--max-failures 0: 1 of 6 rows failed"),
        ("--max-failures 10%", "--max-failures 10%: 1 of 6 rows failed"),
    ],
)
async def test_a_failure_too_many_ends_the_run(move: Move, options: str, said: str) -> None:
    """Exit 3, the reason once, the rows not reached, and a command that does the rest."""
    others = more(move, 5)
    plan = await move.plan()
    move.new.fail("PUT", "/manifests/", status=400)
    typed = ["apply", plan.name, *options.split(), "--parallelism", "1"]
    ran = await move.run(*typed, code=3)
    assert ran.out.count(said) == 1
    assert_says(ran.out, "! not reached (5)", "1 failed, 5 not reached")
    assert ran.out.endswith(f"  imgmigrate {' '.join(typed)}\n")
    await move.assert_untouched()
    move.new.clear()
    await move.run(*typed)
    await move.assert_finished(**others)


async def test_no_time_left_ends_as_a_signal_does(move: Move) -> None:
    """Exit 3 in the middle of an upload; nothing is half written, and the same plan goes on."""
    plan = await move.plan()
    move.new.stall("PUT", "/blobs/uploads/", times=None)
    typed = ["apply", plan.name, "--max-duration", "0.5s"]
    ran = await move.run(*typed, code=3)
    assert_says(ran.out, "--max-duration: the time is over", "! not reached (1)")
    assert ran.out.endswith(f"  imgmigrate {' '.join(typed)}\n")
    await move.assert_untouched()
    move.new.clear()
    await move.run("apply", plan.name, "--max-duration", "1h")
    await move.assert_finished()


async def test_an_old_plan_is_refused_before_anything_is_asked(move: Move) -> None:
    """Exit 4 names the plan, when it was made and the next command."""
    path = await move.plan()
    plan = read_plan(path)
    header = plan.header.model_copy(update={"created_at": "2026-01-01T00:00:00Z"})
    plan.of(header, plan.changes).write(path)
    asked = len(move.old.requests) + len(move.new.requests)
    ran = await move.run("apply", path.name, "--max-plan-age", "24h", code=4)
    assert_says(ran.err, "made at 2026-01-01T00:00:00Z", "--max-plan-age allows 1 day")
    assert_says(ran.err, "plan again: imgmigrate plan --out plan.out")
    assert len(move.old.requests) + len(move.new.requests) == asked
    await move.assert_untouched()


@pytest.fixture
async def closed() -> AsyncIterator[FakeRegistry]:
    """A registry that wants a password."""
    async with FakeRegistry(auth="basic", users=[User("me", "password")]) as registry:
        yield registry


async def test_a_refused_login_stops_its_registry_only(move: Move, closed: FakeRegistry) -> None:
    """Exit 3; the other registry is finished, the one is named once with what to do."""
    others = more(move, 12)
    move.write_config(
        f"  - {{source: {move.old.host}/app, "
        f"destination: [{move.new.host}/app, {closed.host}/app]}}",
        registries=f'  "{closed.host}":\n'
        '    {plain_http: true, username: me, password: "${PASS}"}\n',
    )
    await move.run("plan", "--out", "plan.out", env={"PASS": "password"})
    asked = len(closed.requests)
    ran = await move.run("apply", "plan.out", code=3, env={"PASS": "wrong-one"})
    assert_says(ran.out, f"! {closed.host}: no access, 14 rows not done", "and 4 more")
    assert_says(ran.out, "Apply incomplete: 13 copied", "imgmigrate apply plan.out")
    assert ran.out.count("were refused") == 1
    # Nobody locks an account: the password was tried once, and then no more.
    tried = [each for each in closed.requests[asked:] if each.status == 401]
    assert len(tried) <= 3
    assert set(move.new.tags("app")) == {"first", "second", *others}
    assert "app" not in closed.repositories
    await move.run("apply", "plan.out", env={"PASS": "password"})
    assert set(closed.tags("app")) == {"first", "second", *others}


@by_signal
async def test_a_run_that_waits_for_the_lock_can_be_interrupted(
    move: Move, number: signal.Signals, code: int
) -> None:
    """It says for whom it waits, ends with the signal's code, and disturbs nobody."""
    plan = await move.plan()
    stall = move.new.stall("PUT", "/manifests/second")
    with move.start("apply", plan.name) as first:
        await reach(first, stall)
        with move.start("apply", plan.name, "--lock-timeout", "1h") as second:
            assert second.stderr is not None
            waiting = await asyncio.to_thread(second.stderr.readline)
            assert_says(waiting, "waiting, at most 1 h", f"locked by process {first.pid}")
            second.send_signal(number)
            ran = await ended(second, code)
        assert_says(ran.err, "interrupted before the first image; nothing was changed")
        assert_says(ran.err, f"to go on: imgmigrate apply {plan.name}")
        move.new.clear()
        await ended(first, 0)
    await move.assert_finished()


async def test_who_waits_for_the_lock_goes_on_when_it_is_free(move: Move) -> None:
    """The second run of the same plan finds everything done: exit 0, and no byte is moved."""
    plan = await move.plan()
    stall = move.new.stall("PUT", "/manifests/second")
    with move.start("apply", plan.name) as first:
        await reach(first, stall)
        with move.start("apply", plan.name, "--lock-timeout", "1h") as second:
            assert second.stderr is not None
            await asyncio.to_thread(second.stderr.readline)
            move.new.clear()
            await ended(first, 0)
            ran = await ended(second, 0)
    assert_says(ran.out, "1 already done; 0 B moved")
    await move.assert_finished()


@contextmanager
def asked(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start an apply on a terminal of its own and wait until it asks for `yes`."""
    environment = {**WIDE, "TERM": "dumb"}
    with on_terminal(folder, "apply", environment=environment) as (process, terminal):
        shown = b""
        while b"Only yes is accepted: " not in shown:
            shown += os.read(terminal, 65536)
        yield process, terminal


@by_signal
async def test_a_signal_at_the_question_is_an_answer(
    move: Move, number: signal.Signals, code: int
) -> None:
    """Exit 130 or 143, and it is said that nothing was changed."""

    def answer() -> tuple[int, str]:
        with asked(move.folder) as (process, terminal):
            process.send_signal(number)
            code = process.wait(60)
            return code, os.read(terminal, 65536).decode()

    ended_with, shown = await asyncio.to_thread(answer)
    assert ended_with == code, shown
    assert_says(shown, f"interrupted by {number.name}; nothing was changed")
    await move.assert_untouched()


async def test_the_same_plan_twice_is_a_no_op(move: Move) -> None:
    """The second time exits 0, asks no registry and moves nothing."""
    plan = await move.plan()
    await move.run("apply", plan.name)
    before = len(move.old.requests) + len(move.new.requests)
    ran = await move.run("apply", plan.name, "--strict")
    assert_says(ran.out, "Apply complete: 1 already done; 0 B moved")
    assert len(move.old.requests) + len(move.new.requests) == before
    await move.assert_finished()


async def test_overlapping_plans_do_what_is_left(move: Move) -> None:
    """What the first has done as planned is no conflict for the second, --strict or not."""
    others = more(move, 2)
    whole = await move.plan()
    whole.rename(move.folder / "whole.out")
    await move.run("plan", "--target", move.address("t0"), "--out", "part.out")
    await move.run("apply", "part.out")
    ran = await move.run("apply", "whole.out", "--strict")
    assert_says(ran.out, "Apply complete: 2 copied, 1 already done")
    await move.assert_finished(**others)


async def test_overlapping_plans_that_differ_meet_in_one_row(move: Move) -> None:
    """--strict refuses the whole, naming row, run and plan; without it only that row is left."""
    others = more(move, 2)
    whole = await move.plan()
    whole.rename(move.folder / "whole.out")
    moved = images.image("t0 moved")
    move.old.put_image("app", "t0", moved)
    config = load_config(move.folder / "imgmigrate.yaml")
    other = await make_plan(config)
    run = await apply_plan(config, other.only(
        [row for row in other.changes if row.address.tag == "t0"], target=(), exclude=()
    ))  # fmt: skip
    before = move.destination()
    ran = await move.run("apply", "whole.out", "--strict", code=4)
    assert_says(ran.err, "--strict: 1 row is no longer true", move.address("t0"), run.run)
    assert_says(ran.err, other.plan_id, "plan again: imgmigrate plan --out whole.out")
    assert move.destination() == before
    ran = await move.run("apply", "whole.out", code=7)
    assert_says(ran.out, "2 copied, 1 conflict", f"run {run.run} recorded")
    await move.assert_finished(t0=moved, t1=others["t1"])


async def test_rows_of_a_plan_are_applied_one_after_the_other(move: Move) -> None:
    """--target does some of a reviewed plan, and the plan itself later does the others."""
    others = more(move, 3)
    plan = await move.plan()
    (move.folder / "urgent").write_text(f"# first\n{move.address('t1')}\n{move.address('t2')}\n")
    ran = await move.run("apply", plan.name, "--target-file", "urgent")
    assert_says(
        ran.out, "Apply complete: 2 copied", "Left for another apply: 2 of the plan's rows."
    )
    assert set(move.new.tags("app")) == {"first", "t1", "t2"}
    ran = await move.run("apply", plan.name, "--strict")
    assert_says(ran.out, "2 copied, 2 already done")
    assert "Left for another" not in ran.out
    await move.assert_finished(**others)


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder, as somebody."""
    somebody = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *somebody, "-C", str(folder), *arguments], check=True)


async def test_another_config_or_commit_is_warned_of(move: Move) -> None:
    """The plan is applied as it was reviewed, and the difference is told on stderr."""
    git(move.folder, "init", "-q")
    git(move.folder, "commit", "-q", "--allow-empty", "-m", "one")
    plan = await move.plan()
    git(move.folder, "commit", "-q", "--allow-empty", "-m", "two")
    with (move.folder / "imgmigrate.yaml").open("a") as file:
        file.write("# changed\n")
    ran = await move.run("apply", plan.name)
    assert_says(ran.err, "Warning: imgmigrate.yaml is not the config that this plan was made from")
    assert_says(ran.err, "Warning: the plan was made at commit ")
    assert (move.folder / STATE / "snapshot.jsonl").exists()
    await move.assert_finished()
