"""`state list`, `show`, `rm`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.state.local.store import LocalState
from imgmigrate.state.record import Status
from tests.cli.helpers import Terminal, python
from tests.render import samples

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

ADDRESSES = ("harbor.new/team/api:1", "harbor.new/team/api:2", "harbor.new/web:1")
FORGOTTEN = "oci:bundle/os:12"


@pytest.fixture
async def recorded(cli: Cli) -> Cli:
    """A state with three live records and one tombstone, in `s`."""
    state = LocalState(cli.folder / "s")
    async with state.writer(command="test") as writer:
        await writer.begin("run", "plan", [])
        for address in ADDRESSES:
            await writer.record(samples.record(address, sequence=0))
        await writer.record(samples.record(FORGOTTEN, sequence=0, status=Status.FORGOTTEN))
        await writer.end({"applied": 4})
    return cli


def addresses(cli: Cli) -> list[str]:
    return [line.split()[0] for line in cli.out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], list(ADDRESSES)),
        (["harbor.new/team/**"], list(ADDRESSES[:2])),
        (["harbor.new/*:1", "harbor.new/team/api:2"], [ADDRESSES[1], ADDRESSES[2]]),
        (["--all"], [*ADDRESSES, FORGOTTEN]),
        (["--all", "oci:bundle/*"], [FORGOTTEN]),
    ],
)
def test_list_shows_what_the_globs_match(
    recorded: Cli, arguments: list[str], found: list[str]
) -> None:
    """Live records by address, tombstones with `--all`; globs unite. No config is needed."""
    assert recorded("state", "list", "--state", "s", *arguments) == 0
    assert addresses(recorded) == found


def test_list_gives_lines_of_json(recorded: Cli) -> None:
    """`--json` is the versioned stream, one line a record."""
    assert recorded("-state=s", "state", "list", "--json") == 0
    lines = [json.loads(line) for line in recorded.out.splitlines()]
    assert [line["type"] for line in lines] == ["version", "record", "record", "record"]
    assert [line["record"]["address"] for line in lines[1:]] == list(ADDRESSES)


@pytest.mark.parametrize("command", [["list"], ["rm", "--dry-run"], ["rm", "--auto-approve"]])
def test_a_glob_that_matches_nothing_is_refused(recorded: Cli, command: list[str]) -> None:
    """A typing error is told, and does not let the rest of the globs through."""
    before = LocalState(recorded.folder / "s").read().records
    globs = ("harbor.new/web:1", "harbor.nwe/**")
    assert recorded("state", *command, "-state", "s", *globs) == 64
    assert "harbor.nwe/**: matches no address" in recorded.err
    assert LocalState(recorded.folder / "s").read().records == before


def test_show_prints_one_record(recorded: Cli) -> None:
    """Every field of one record, its digest in full."""
    assert recorded("state", "show", "-state=s", ADDRESSES[0]) == 0
    assert samples.digest(ADDRESSES[0]) in recorded.out


@pytest.mark.parametrize("address", ["harbor.new/none:1", "not an address", "https://a.b/c:1"])
def test_show_refuses_what_is_not_recorded(recorded: Cli, address: str) -> None:
    """An unknown or impossible address exits 64 and is named."""
    assert recorded("state", "show", "-state=s", address) == 64
    assert address in recorded.err


def test_rm_erases_records_and_claims_no_more(recorded: Cli) -> None:
    """Erased records are gone from the state, live or tombstone; the others stay."""
    globs = ("harbor.new/team/**", "oci:bundle/os")
    assert recorded("state", "rm", "-state=s", "--auto-approve", *globs) == 0
    assert "3 records removed; no registry was touched" in recorded.out
    assert list(LocalState(recorded.folder / "s").read().records) == [ADDRESSES[2]]


def test_rm_dry_run_changes_nothing(recorded: Cli) -> None:
    """`--dry-run` lists what would go."""
    assert recorded("state", "rm", "-state=s", "-dry-run", "harbor.new/**") == 0
    assert "3 records would be removed" in recorded.out
    assert len(LocalState(recorded.folder / "s").read().records) == 4


@pytest.mark.parametrize(("answer", "code", "left"), [("yes\n", 0, 3), ("no\n", 1, 4), ("", 1, 4)])
def test_rm_asks(
    recorded: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    """Only the word yes erases."""
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert recorded("state", "rm", "-state=s", ADDRESSES[0]) == code
    assert "Erase 1 record?" in recorded.err
    assert len(LocalState(recorded.folder / "s").read().records) == left


def test_rm_needs_a_terminal_or_approval(recorded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can answer, nothing is erased."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert recorded("state", "rm", "-state=s", ADDRESSES[0]) == 64
    assert len(LocalState(recorded.folder / "s").read().records) == 4


async def test_rm_respects_the_lock(cli: Cli) -> None:
    """While another process writes, `state rm` exits 5 and names the holder."""
    state = LocalState(cli.folder / "s")
    async with state.writer(command="imgmigrate apply plan.out") as writer:
        await writer.begin("run", "plan", [])
        await writer.record(samples.record(ADDRESSES[0], sequence=0))
        await writer.sync()
        script = "import sys; from imgmigrate.cli import main; sys.exit(main(sys.argv[1:]))"
        arguments = ("state", "rm", "--state", str(cli.folder / "s"), "--auto-approve", "**")
        done = await asyncio.to_thread(python, script, *arguments)
    assert done.returncode == 5
    assert "imgmigrate apply plan.out" in done.stderr
