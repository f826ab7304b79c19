"""`state mv`, `unprotect` and `repair` through the command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.state.local.store import LocalState
from imgmigrate.state.record import Status
from tests.cli.helpers import Terminal
from tests.render import samples

if TYPE_CHECKING:
    from imgmigrate.state.memory import StateInMemory
    from tests.cli.helpers import Cli

API_1, API_2, WEB = "harbor.new/team/api:1", "harbor.new/team/api:2", "harbor.new/web:1"
GONE = "oci:bundle/os:12"
APPROVED = ("--state", "s", "--auto-approve")


@pytest.fixture
async def recorded(cli: Cli) -> Cli:
    """Three live records, of which one is protected, and a tombstone, in `s`."""
    async with LocalState(cli.folder / "s").writer(command="test") as writer:
        await writer.begin("run", "plan", [])
        await writer.record(samples.record(API_1, sequence=0, protected=True))
        await writer.record(samples.record(API_2, sequence=0))
        await writer.record(samples.record(WEB, sequence=0))
        await writer.record(samples.record(GONE, sequence=0, status=Status.DELETED))
        await writer.end({"applied": 4})
    return cli


def state(cli: Cli) -> StateInMemory:
    return LocalState(cli.folder / "s").read()


def addresses(cli: Cli) -> set[str]:
    return set(state(cli).records)


@pytest.mark.parametrize(
    ("old", "new", "after"),
    [
        (API_1, "harbor.new/crew/api:one", {"harbor.new/crew/api:one", API_2, WEB, GONE}),
        (
            "harbor.new/team/api",
            "b.new/x",
            {"b.new/x:1", "b.new/x:2", WEB, GONE},
        ),
        (
            "harbor.new/**",
            "b.new/mirror/**",
            {"b.new/mirror/team/api:1", "b.new/mirror/team/api:2", "b.new/mirror/web:1", GONE},
        ),
        ("harbor.new/*:1", "harbor.new/*:one", {"harbor.new/web:one", API_1, API_2, GONE}),
        (WEB, GONE, {API_1, API_2, GONE}),
        (GONE, "oci:other:12", {API_1, API_2, WEB, "oci:other:12"}),
    ],
)
def test_mv_gives_records_another_address(
    recorded: Cli, old: str, new: str, after: set[str]
) -> None:
    """Addresses, repositories and globs; a tombstone gives way to a live record."""
    before = state(recorded)
    assert recorded("state", "mv", old, new, *APPROVED) == 0
    assert "no registry was touched" in recorded.out
    assert addresses(recorded) == after
    digests = {each.digest for each in state(recorded).live()}
    assert digests == {each.digest for each in before.live()}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (API_1, API_2, f"cannot be moved to {API_2}, which is recorded itself"),
        ("harbor.new/team/*", "harbor.new/**", "both must have the same wildcards"),
        ("harbor.new/team/*", "harbor.new/crew", "both must have the same wildcards"),
        ("harbor.new/team/api", "harbor.new/team/web:1", "give both a tag, or neither"),
        ("harbor.new/nothing:1", "harbor.new/x:1", "matches no address"),
        ("/harbor/", "harbor.new/x", "a regex cannot be turned around"),
        (API_1, API_1, "both are the same"),
        (API_1, "Not/An Address:1", "Not/An Address:1"),
    ],
)
def test_mv_refuses_what_it_cannot_do_as_a_whole(
    recorded: Cli, old: str, new: str, said: str
) -> None:
    """A live record in the way, a pair that does not fit, nothing to move: 64, nothing changed."""
    before = state(recorded).head
    assert recorded("state", "mv", old, new, *APPROVED) == 64
    assert said in recorded.err
    assert state(recorded).head == before


@pytest.mark.parametrize("command", [["mv", WEB, "b.new/web:1"], ["unprotect", "**"]])
def test_a_dry_run_changes_nothing(recorded: Cli, command: list[str]) -> None:
    """--dry-run shows what would be done and needs nobody to ask."""
    before = state(recorded).head
    assert recorded("state", *command, "--dry-run", "--state", "s") == 0
    assert "nothing was changed" in recorded.out
    assert state(recorded).head == before


@pytest.mark.parametrize("command", [["mv", WEB, "b.new/web:1"], ["unprotect", "**"], ["rm", "**"]])
@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("y\n", 1), ("", 1)])
def test_changes_ask(
    recorded: Cli,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    answer: str,
    code: int,
) -> None:
    """Only the word yes changes the state."""
    before = state(recorded).head
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert recorded("state", *command, "--state", "s") == code
    assert "Only yes is accepted" in recorded.err
    assert (state(recorded).head != before) is (code == 0)


@pytest.mark.parametrize("command", [["mv", WEB, "b.new/web:1"], ["unprotect", "**"], ["rm", "**"]])
def test_a_stream_cannot_ask(recorded: Cli, command: list[str]) -> None:
    """--json needs --auto-approve or --dry-run; then it tells how many changed."""
    assert recorded("state", *command, "--state", "s", "--json") == 64
    assert recorded("state", *command, "--json", *APPROVED) == 0
    *_, last = (json.loads(line) for line in recorded.out.splitlines())
    assert (last["type"], last["operation"]) == ("state_change", command[0])
    assert last["changed"] >= 1


def test_unprotect_lifts_what_the_state_keeps(recorded: Cli) -> None:
    """The protection goes, everything else about the record stays."""
    assert recorded("state", "list", "--state", "s") == 0
    assert "harbor.new/team/api:1" in recorded.out
    assert recorded.out.count("(protected)") == 1
    before = state(recorded).records[API_1]
    assert recorded("state", "unprotect", "harbor.new/**", *APPROVED) == 0
    after = state(recorded).records[API_1]
    assert not after.protected
    assert (after.sequence, after.digest, after.run) == (before.sequence, before.digest, before.run)


def test_unprotect_of_what_is_not_protected_is_refused(recorded: Cli) -> None:
    """A glob that matches no protected record is a typing error."""
    assert recorded("state", "unprotect", WEB, *APPROVED) == 64
    assert f"{WEB}: matches no address" in recorded.err


def test_show_gives_json(recorded: Cli) -> None:
    """`state show --json` is the same line as that of `state list --json`."""
    assert recorded("state", "show", API_1, "--state", "s", "--json") == 0
    _, line = (json.loads(each) for each in recorded.out.splitlines())
    assert line["record"]["address"] == API_1
    assert line["record"]["protected"] is True


def damage(cli: Cli) -> None:
    """Damage the snapshot, whose content is in the backups too."""
    (cli.folder / "s/snapshot.jsonl").write_bytes(b"{}\n")


def test_repair_shows_and_changes_nothing_in_a_dry_run(recorded: Cli) -> None:
    """--dry-run tells what is wrong and what is lost; the state stays refused."""
    damage(recorded)
    assert recorded("state", "repair", "--dry-run", "--state", "s") == 0
    assert "snapshot: damaged: " in recorded.out
    assert "rebuilt from s/backups/" in recorded.out
    assert recorded("state", "list", "--state", "s") == 1


def test_repair_gives_the_records_back(recorded: Cli) -> None:
    """After it the state reads as before, and what was damaged is kept and named."""
    before = state(recorded).records
    damage(recorded)
    assert recorded("state", "repair", *APPROVED) == 0
    assert "After the repair: 3 images recorded" in recorded.out
    assert "kept in s/backups/damaged-" in recorded.out
    assert state(recorded).records == before


@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("no\n", 1)])
def test_repair_asks(
    recorded: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """Only the word yes repairs."""
    damage(recorded)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert recorded("state", "repair", "--state", "s") == code
    assert recorded("state", "list", "--state", "s") == code


def test_a_whole_state_needs_no_repair_and_no_answer(recorded: Cli) -> None:
    """Where nothing is wrong nobody is asked."""
    assert recorded("state", "repair", "--state", "s") == 0
    assert recorded.out == "State s is whole: 3 images recorded, sequence 6.\n"


def test_repair_tells_as_data(recorded: Cli) -> None:
    """--json gives the survey and what was kept."""
    damage(recorded)
    assert recorded("state", "repair", "--json", *APPROVED) == 0
    _, survey, repaired = (json.loads(line) for line in recorded.out.splitlines())
    assert (survey["whole"], survey["images"], survey["lost"]) == (False, 3, [])
    assert len(repaired["kept"]) == 1


def test_what_cannot_be_had_back_exits_1(recorded: Cli) -> None:
    """Without any readable file the way is adopt, and nothing is made empty."""
    for path in (recorded.folder / "s").rglob("*.jsonl"):
        path.write_bytes(b"{}\n")
    assert recorded("state", "repair", *APPROVED) == 1
    assert "imgmigrate adopt '**'" in recorded.err
