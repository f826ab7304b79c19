"""A state that finds no room for its snapshot: people are told in words, not by a log's line."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from imgmigrate.state import writer as writer_module
from imgmigrate.state.local import store
from tests.state.samples import a_run, local
from tests.support.images import image
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli

FULL = (
    "/state/imgmigrate: its journal could not be compacted: No space left on device; every "
    "record is safe, and the journal only grows until a run can compact it: free some space there"
)


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """No room is left for another snapshot."""

    def compact(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "compact", compact)


def prepare(cli: Cli) -> None:
    """Write a config and its source."""
    cli.write_config()
    write_layout(cli.folder / "images/os", "12", image())


def test_people_are_told_in_words(cli: Cli) -> None:
    """The object, the cause, what it means and what to do; the apply is complete all the same."""
    prepare(cli)
    assert cli("apply", "--auto-approve") == 0
    assert f"Warning: state {cli.folder}{FULL}\n" in cli.err
    assert "WARNING" not in cli.err
    assert "Apply complete" in cli.out


def test_programs_are_told_by_a_code(cli: Cli) -> None:
    """The stream has it as a warning before the end of the run."""
    prepare(cli)
    assert cli("apply", "--auto-approve", "--json") == 0
    lines = [json.loads(line) for line in cli.out.splitlines()]
    (warning,) = [each for each in lines if each.get("code") == "state_not_compacted"]
    assert warning["@message"] == f"Warning: state {cli.folder}{FULL}"
    assert cli.err == ""


def test_what_a_crash_tore_is_told_in_words(cli: Cli) -> None:
    """A line without an end is kept beside, and who applies next hears of it."""
    prepare(cli)
    assert cli("apply", "--auto-approve") == 0
    folder = cli.folder / "state/imgmigrate"
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"torn')
    assert cli("state", "rm", "oci:bundle/os:12", "--auto-approve") == 0
    said = "a crash tore its last line, which is cut off and kept in"
    assert f"Warning: state {folder}/journal.jsonl: {said}" in cli.err


async def test_what_nobody_hears_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that writes a state itself need not listen."""
    logged: list[tuple[object, ...]] = []
    monkeypatch.setattr(writer_module.logger, "warning", lambda *words: logged.append(words))
    async with a_run(local(tmp_path)) as writer:
        await writer.end({})
    ((_, said),) = logged
    assert "its journal could not be compacted" in str(said)
