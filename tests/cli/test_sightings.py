"""`plan --record`, and what other commands say of sightings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli

LINE = "first sightings are not recorded by this plan: imgmigrate plan --record does"


@pytest.fixture
def ready(cli: Cli) -> Cli:
    """A config with something to copy."""
    write_layout(cli.folder / "images/os", "12", images.image("os"))
    cli.write_config()
    return cli


def files(cli: Cli) -> list[Path]:
    """What was recorded."""
    return sorted((cli.folder / "state/imgmigrate/sightings").glob("*.jsonl"))


def test_a_plan_records_what_it_is_asked_to(ready: Cli) -> None:
    """Nothing is printed about it, and the same plan records nothing new."""
    assert ready("plan") == 0
    said, noted = ready.out, ready.err
    assert not files(ready)
    assert ready("plan", "--record") == 0
    assert ready.err == noted
    assert len(ready.out.splitlines()) == len(said.splitlines())
    (path,) = files(ready)
    assert [json.loads(line)["is_planned"] for line in path.read_text().splitlines()] == [True]
    assert ready("plan", "--record", "--json") == 0
    assert files(ready) == [path]


def test_other_plans_say_that_they_do_not(ready: Cli) -> None:
    """In one line, and only of what is new, where plans record: whoever only applies hears none."""
    assert ready("apply", "--auto-approve") == 0
    assert len(files(ready)) == 1
    write_layout(ready.folder / "images/os", "12", images.image("new"))
    assert ready("plan") == 0
    assert LINE not in ready.err
    assert ready("plan", "--record") == 0
    assert ready("plan") == 0
    assert LINE not in ready.err
    write_layout(ready.folder / "images/os", "12", images.image("newer"))
    assert ready("plan") == 0
    assert ready.err.count(LINE) == 1
    assert ready("plan", "--json") == 0
    codes = [json.loads(line).get("code") for line in ready.out.splitlines()]
    assert codes.count("sightings_unrecorded") == 1
    assert ready("apply", "--auto-approve") == 0
    assert LINE not in ready.err


def test_recording_is_refused_where_nothing_is_written(ready: Cli) -> None:
    """Before any work; also beside what makes no plan of the rules."""
    assert ready("apply", "--auto-approve") == 0
    assert ready("state", "export", "--out", "state.jsonl") == 0
    before = files(ready)
    trusted = ready.folder.parent / f"{ready.folder.name}-trusted.yaml"
    trusted.write_text("version: 1\n")
    for options, said in (
        (("--state-file", "state.jsonl"), "is an export, which nothing changes"),
        (("--untrusted", "--trusted", str(trusted)), "a stranger's config"),
        (("--refresh-only",), "--record: --refresh-only looks at what is recorded"),
        (("--explain", "oci:bundle/os:12"), "so --record has no meaning"),
    ):
        assert ready("plan", "--record", *options) == 64
        assert said in ready.err.replace("\n  ", " ")
    assert files(ready) == before


def test_a_record_that_cannot_be_written_is_an_error_for_who_asked(ready: Cli) -> None:
    """Exit 1, and why."""
    folder = ready.folder / "state/imgmigrate"
    folder.mkdir(parents=True)
    (folder / "sightings").write_bytes(b"")
    assert ready("plan", "--record") == 1
    assert "sightings: cannot be written" in ready.err
    assert ready("plan") == 0


def test_a_plan_is_not_saved_over_what_was_recorded(ready: Cli) -> None:
    """Its folder is a part of the state."""
    assert ready("apply", "--auto-approve") == 0
    (path,) = files(ready)
    assert ready("plan", "--out", str(path)) == 64
    assert "belongs to the state" in ready.err.replace("\n  ", " ")
