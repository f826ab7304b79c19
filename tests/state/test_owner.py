"""Whose a state is outlives everything that its files go through, and older readers read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import UsageError
from imgmigrate.state.lines.sealing import unseal
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import Owner
from tests.state.samples import PLAN, RUN, claim, draft, local

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.state.local.store import LocalState

TEAM = Owner("team.yaml", "state/team")
CREW = Owner("crew.yaml", "../state/team")
# What the first version of the journal knew.
FIRST_KINDS = {"begin", "claims", "record", "conflict", "failed", "remove", "move", "end"}


async def bound(state: LocalState, *, end: bool = True) -> None:
    """One run that binds the state and records an image."""
    async with state.writer(command="imgmigrate apply plan.out") as writer:
        await writer.begin(RUN, PLAN, [claim("a")], rows=1, owner=TEAM)
        await writer.record(draft("a"))
        if end:
            await writer.end({"applied": 1})


def owner(state: LocalState) -> tuple[str | None, str | None]:
    found = state.read()
    return found.name, found.place


@pytest.mark.parametrize("end", [True, False], ids=["snapshot", "journal"])
async def test_the_owner_is_read_from_snapshot_and_journal(tmp_path: Path, end: bool) -> None:
    """Wherever a run ended, and after the next ones too."""
    state = local(tmp_path)
    await bound(state, end=end)
    assert owner(state) == ("team.yaml", "state/team")
    async with state.writer(command="test") as writer:
        await writer.begin("run-2", PLAN, [])
        assert writer.state.name == "team.yaml"
        await writer.end({})
    assert owner(state) == ("team.yaml", "state/team")


async def test_binding_is_a_run_of_its_own(tmp_path: Path) -> None:
    """So the log tells when it was and by which command; nothing else changes."""
    state = local(tmp_path)
    await bound(state)
    before = state.read()
    async with state.writer(command="imgmigrate state rebind -c crew.yaml") as writer:
        await writer.bind(CREW)
    after = state.read()
    assert (after.name, after.place) == ("crew.yaml", "../state/team")
    assert after.records == before.records
    assert after.lineage == before.lineage
    run = after.runs[-1]
    assert (run.name, run.rows, run.plan_id) == ("crew.yaml", 0, "")
    assert run.command == "imgmigrate state rebind -c crew.yaml"
    assert run.ended_at is not None


async def test_older_readers_know_every_line_and_field_that_they_need(tmp_path: Path) -> None:
    """The owner is a field of lines that they know, and they leave fields out that they do not."""
    state = local(tmp_path)
    await bound(state, end=False)
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    documents = [unseal(line)[0] for line in lines]
    assert {each["kind"] for each in documents} <= FIRST_KINDS
    assert [each.get("name") for each in documents] == ["team.yaml", None, None]
    async with state.writer(command="test") as writer:
        await writer.end({})
    header = json.loads((tmp_path / "snapshot.jsonl").read_bytes().splitlines()[0])
    assert (header["format_version"], header["name"]) == ("1.1", "team.yaml")


@pytest.mark.parametrize("damage", ["gone", "torn", "a bit"])
async def test_a_repair_keeps_the_owner(tmp_path: Path, damage: str) -> None:
    """A snapshot that is rebuilt from backups and journals is as bound as the lost one."""
    state = local(tmp_path)
    await bound(state)
    async with state.writer(command="test") as writer:
        await writer.bind(CREW)
    snapshot = tmp_path / "snapshot.jsonl"
    data = snapshot.read_bytes()
    if damage == "gone":
        snapshot.unlink()
    else:
        snapshot.write_bytes(data[:-9] if damage == "torn" else data.replace(b"crew", b"crow", 1))
    found = state.survey()
    assert not found.is_whole
    await state.repair(found, command="imgmigrate state repair")
    assert owner(state) == ("crew.yaml", "../state/team")


async def test_a_lost_tail_takes_a_binding_along_and_no_more(tmp_path: Path) -> None:
    """What was bound before it is bound to that again."""
    state = local(tmp_path)
    await bound(state)
    async with state.writer(command="test") as writer:
        await writer.begin("run-2", PLAN, [], owner=CREW)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    assert owner(state) == ("team.yaml", "state/team")


def test_the_refusal_names_both_ways_out(tmp_path: Path) -> None:
    """The command is right where the config and its state are somewhere else, too."""
    from imgmigrate.foreign.load import load_config
    from imgmigrate.state.owner import check_owner

    path = tmp_path / "team 2.yml"
    path.write_text(
        "version: 1\nstate: {path: s}\nimages:\n- {source: a.io/b, destination: c.io/d}\n"
    )
    config = load_config(path)
    with pytest.raises(UsageError) as caught:
        check_owner(StateInMemory(lineage="l", name="team.yaml"), config)
    assert "state s: it belongs to team.yaml, and this is team 2.yml" in caught.value.message
    assert f"imgmigrate state rebind `config` '{path}' `state` " in str(caught.value.hint)
    check_owner(StateInMemory(), config)
    check_owner(StateInMemory(lineage="l"), config)
    check_owner(StateInMemory(lineage="l", name="team 2.yml"), config)
