"""`status`, `state log` and `state lock`: beside a run, after one, and before any."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.state.holder import Progress
from imgmigrate.state.local.store import LocalState
from tests.cli.helpers import python
from tests.render import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imgmigrate.state.writer import Writer
    from tests.cli.helpers import Cli

COMMAND = "imgmigrate apply plan.out"
PLAN = "7f3c9a1b2c3d4e5f"
SCRIPT = "import sys; from imgmigrate.cli import main; sys.exit(main(sys.argv[1:]))"


@asynccontextmanager
async def a_run(cli: Cli, name: str = "run-1", rows: int | None = 4) -> AsyncIterator[Writer]:
    """A run of which two rows are done, by this process."""
    async with LocalState(cli.folder / "s").writer(command=COMMAND) as writer:
        await writer.begin(name, PLAN, [], rows=rows)
        for number in range(2):
            await writer.record(samples.record(f"harbor.new/a:{number}", sequence=0, at=""))
        yield writer


async def ended(cli: Cli, name: str = "run-1", counts: dict[str, int] | None = None) -> None:
    async with a_run(cli, name) as writer:
        await writer.end(counts or {"applied": 2})


def line_of(text: str, kind: str) -> dict[str, Any]:
    """The only line of a kind in a stream."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["type"] for line in lines] == ["version", kind]
    found: dict[str, Any] = lines[1]
    return found


async def beside(cli: Cli, *arguments: str) -> str:
    """Run a command as another process, as from another terminal."""
    state = str(cli.folder / "s")
    done = await asyncio.to_thread(python, SCRIPT, *arguments, "--state", state)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("command", [["status"], ["state", "log"]])
def test_before_the_first_run_there_is_nothing(cli: Cli, command: list[str]) -> None:
    """A state that does not exist is no error, and none is made."""
    assert cli(*command, "--state", "s") == 0
    assert cli.out == "No run yet in s: nothing has been applied.\n"
    assert not (cli.folder / "s").exists()


async def test_a_run_is_seen_from_another_terminal(cli: Cli, monkeypatch: Any) -> None:
    """Which run, of which plan, since when, by whom, how far, without a lock being needed."""
    monkeypatch.setenv("CI_JOB_URL", "https://ci.corp/jobs/7")
    async with a_run(cli):
        out = await beside(cli, "status")
        stream = await beside(cli, "status", "--json")
        log = await beside(cli, "state", "log")
    assert out.startswith(f"Running: run run-1 of plan {PLAN}\n")
    assert "2 of 4 images done (50 %), 2 left" in out
    for said in (COMMAND, "https://ci.corp/jobs/7", "process "):
        assert said in out
    status = line_of(stream, "status")
    assert (status["locked"], status["last"]) == (True, None)
    running = status["running"]
    assert (running["rows"], running["done"], running["left"]) == (4, 2, 2)
    assert running["phase"] == "running"
    assert running["resume"] is None
    assert "running: 2 of 4 images done (50 %), 2 left" in log
    assert max(len(line) for line in out.splitlines()) <= 80


@pytest.mark.parametrize("is_over", [False, True], ids=["running", "ended"])
async def test_what_failed_is_told_while_the_run_goes_on(cli: Cli, is_over: bool) -> None:
    """Which rows, and why, without waiting for the end; secrets and controls are not repeated."""
    async with a_run(cli, rows=9) as writer:
        for number in range(6):
            address = samples.record(f"harbor.new/a:f{number}").address
            cause = f"destination {address}: denied (403)\x1b[2J at https://u:secret@harbor.new/"
            await writer.failed(address, cause)
        if is_over:
            await writer.end({"applied": 2, "failed": 6})
        out = await beside(cli, "status")
        stream = await beside(cli, "status", "--json")
    assert "failed (6), the last 5:" in out
    assert "! destination harbor.new/a:f5: denied (403)" in out
    assert "a:f0" not in out
    assert "secret" not in out + stream
    assert "\x1b" not in out
    assert max(len(line) for line in out.splitlines()) <= 80
    status = line_of(stream, "status")
    run = status["last" if is_over else "running"]
    assert (run["failed"], run["left"], len(run["failures"])) == (6, 1, 5)
    assert run["failures"][-1]["address"] == "harbor.new/a:f5"
    if not is_over:
        assert "2 of 9 images done (22 %), 6 failed, 1 left" in out


async def test_the_bytes_of_a_run_are_told_as_it_tells_them(cli: Cli) -> None:
    """What is sent, what is left at most, how fast: the time left is as the run itself says it."""
    async with a_run(cli) as writer:
        writer.tell(Progress(run="run-1", moved=3 << 20, left=30 << 20, rate=float(1 << 20)))
        out = await beside(cli, "status")
        running = line_of(await beside(cli, "status", "--json"), "status")["running"]
        writer.tell(Progress(run="another", moved=1, left=1, rate=1.0))
        other = await beside(cli, "status")
    assert "3.00 MiB sent, at most 30.0 MiB left, 1.00 MiB/s" in out
    assert "about 30 s left" in out
    told = (running["moved"], running["bytes_left"], running["seconds_left"])
    assert told == (3 << 20, 30 << 20, 30)
    assert "sent" not in other


async def test_the_whole_plan_is_told_over_its_runs(cli: Cli) -> None:
    """A run that goes on where another was cut off does not begin at nothing; one way goes on."""
    async with a_run(cli):
        pass
    async with a_run(cli, "run-2", rows=2):
        out = await beside(cli, "status")
        running = line_of(await beside(cli, "status", "--json"), "status")["running"]
    assert "4 of 4 images done (100 %) by all its runs" in out
    assert (running["plan_done"], running["plan_rows"]) == (4, 4)
    assert "To go on:" not in out
    assert cli("status", "--state", "s") == 0
    assert "2 of 2 images done (100 %)" in cli.out


async def test_a_lock_without_a_run_is_told(cli: Cli) -> None:
    """A holder that has begun no run is named, and an older open run is not taken for its."""
    async with a_run(cli):
        pass
    async with LocalState(cli.folder / "s").writer(command="imgmigrate state rm x"):
        out = await beside(cli, "status")
    assert out.startswith("Locked by process ")
    assert "'imgmigrate state rm x'" in " ".join(out.split())


async def test_an_interrupted_run_names_the_command_that_goes_on(cli: Cli) -> None:
    """Nobody holds the lock and the run has no end: it was cut off."""
    async with a_run(cli):
        pass
    assert cli("status", "--state", "s") == 0
    assert "No run is going on." in cli.out
    assert "interrupted: 2 of 4 images done (50 %), 2 left" in cli.out
    assert cli.out.endswith(f"To go on:\n  {COMMAND}\n")


@pytest.mark.parametrize("failed", [0, 1])
async def test_a_run_without_an_end_that_came_to_every_row_was_not_cut_off(
    cli: Cli, failed: int
) -> None:
    """Its state failed at the very end; only what failed is left to do again."""
    async with a_run(cli, rows=2 + failed) as writer:
        if failed:
            await writer.failed(samples.record("harbor.new/a:f").address, "denied (403)")
    assert cli("status", "--state", "s") == 0
    assert "ended, only its end is not recorded: 2 of " in cli.out
    assert "interrupted" not in cli.out
    assert ("To go on:" in cli.out) is bool(failed)


@pytest.mark.parametrize(
    ("counts", "resumes"),
    [
        ({"applied": 2}, False),
        ({"applied": 2, "conflict": 1}, False),
        ({"applied": 2, "failed": 1}, True),
        ({"applied": 2, "cancelled": 1}, True),
    ],
)
async def test_a_finished_run_tells_what_came_of_it(
    cli: Cli, counts: dict[str, int], resumes: bool
) -> None:
    """Its counts are its own; only what the same plan may still do gets a command."""
    await ended(cli, counts=counts)
    assert cli("status", "--state", "s") == 0
    assert "finished: 2 done" in cli.out
    assert ("To go on:" in cli.out) is resumes


async def test_the_log_has_the_newest_first(cli: Cli) -> None:
    """-n limits it; each run tells plan, time, outcome and command, an unfinished one its place."""
    for number in range(3):
        await ended(cli, f"run-{number}")
    async with a_run(cli, "run-3"):
        pass
    assert cli("state", "log", "--state", "s", "-n", "2") == 0
    names = [line for line in cli.out.splitlines() if line.startswith("run ")]
    assert names == [f"run run-{number} of plan {PLAN}" for number in (3, 2)]
    assert "interrupted: 2 of 4 images done (50 %), 2 left" in cli.out
    assert cli("state", "log", "--state", "s", "--json") == 0
    lines = [json.loads(line) for line in cli.out.splitlines()]
    assert [line["phase"] for line in lines[1:]] == ["interrupted", *["finished"] * 3]
    assert lines[1]["resume"] == COMMAND
    assert lines[2]["counts"] == {"applied": 2}


async def test_a_run_that_never_said_its_rows_is_shown(cli: Cli) -> None:
    """What is not known is left out, not guessed."""
    async with a_run(cli, rows=None):
        pass
    assert cli("status", "--state", "s") == 0
    assert "interrupted: 2 images done\n" in cli.out


async def test_the_lock_names_its_holder_as_the_refusal_does(cli: Cli) -> None:
    """`state lock` and the error of a locked state say the same."""
    async with a_run(cli):
        out = " ".join((await beside(cli, "state", "lock")).split())
        lock = line_of(await beside(cli, "state", "lock", "--json"), "lock")
        arguments = ("state", "rm", "**", "--auto-approve", "--state", str(cli.folder / "s"))
        refused = await asyncio.to_thread(python, SCRIPT, *arguments)
    assert refused.returncode == 5
    who = refused.stderr.partition("locked by ")[2].partition(" (")[0]
    assert who
    assert f"locked by {who}" in out
    assert lock["locked"] is True
    assert (lock["holder"]["command"], lock["holder"]["job"]) == (COMMAND, None)


def test_a_free_lock_is_free(cli: Cli) -> None:
    """Nobody is named where nobody writes, and looking makes no state."""
    assert cli("state", "lock", "--state", "s") == 0
    assert cli.out == "State s: not locked\n"
    assert not (cli.folder / "s").exists()
    assert cli("state", "lock", "--state", "s", "--json") == 0
    lock = line_of(cli.out, "lock")
    assert (lock["locked"], lock["holder"]) == (False, None)


async def test_what_a_killed_process_left_is_not_believed(cli: Cli) -> None:
    """The file that names a holder outlives a kill; the lock itself does not."""
    async with a_run(cli):
        left = (cli.folder / "s/lock.json").read_bytes()
    (cli.folder / "s/lock.json").write_bytes(left)
    assert cli("state", "lock", "--state", "s") == 0
    assert cli.out == "State s: not locked\n"
    assert cli("status", "--state", "s") == 0
    assert "interrupted" in cli.out


@pytest.mark.parametrize("command", [["status"], ["state", "log"], ["state", "list"]])
async def test_a_damaged_state_exits_1_and_names_the_repair(cli: Cli, command: list[str]) -> None:
    """What cannot be trusted is not shown."""
    await ended(cli)
    (cli.folder / "s/snapshot.jsonl").write_bytes(b"{}\n")
    assert cli(*command, "--state", "s") == 1
    assert "state repair --dry-run" in cli.err
