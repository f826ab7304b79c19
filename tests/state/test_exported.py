"""A state in one file: what tells what is ours, and nothing of who did it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateError, UsageError
from imgmigrate.state.exported import print_export, read_exported
from tests.state.samples import a_run, claim, digest, draft, local, same

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.state.local.store import LocalState


@pytest.fixture
async def state(tmp_path: Path) -> LocalState:
    """A state with a record, a tombstone's worth of history and an open claim."""
    state = local(tmp_path / "state")
    async with a_run(state, claim("a"), claim("b", "2")) as writer:
        await writer.record(draft("a"))
    return state


async def test_what_was_exported_is_read_as_the_state_is(state: LocalState, tmp_path: Path) -> None:
    """Records, open claims, lineage and sequence: a plan from it is one from the state."""
    (tmp_path / "state.jsonl").write_bytes(print_export(state.view()))
    found, own = read_exported(tmp_path / "state.jsonl"), state.read()
    assert same(found, replace(own, runs=()))
    assert found.is_known
    assert found.owns(draft("b").address, digest("2"))


async def test_runs_stay_at_home(state: LocalState) -> None:
    """Their commands, hosts and failures are nobody's business; the state itself keeps them."""
    data = print_export(state.view())
    assert b"imgmigrate apply" not in data
    assert b"plan.out" not in data
    assert state.read().runs


async def test_an_export_that_was_changed_is_refused(state: LocalState, tmp_path: Path) -> None:
    """Any byte of it, and any line that is cut off."""
    data = print_export(state.view())
    path = tmp_path / "state.jsonl"
    broken = [data[:-1], data[: data.index(b"\n") + 1], b"", data + b"{}\n"]
    broken += [data[:n] + bytes([data[n] ^ 1]) + data[n + 1 :] for n in range(0, len(data), 37)]
    for each in broken:
        path.write_bytes(each)
        with pytest.raises(StateError):
            read_exported(path)


def test_an_export_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A typing error must not pass for a state in which nothing is ours."""
    with pytest.raises(UsageError, match=r"state file .*x\.jsonl: there is no such file"):
        read_exported(tmp_path / "x.jsonl")
    with pytest.raises(StateError):
        read_exported(tmp_path)
