"""`adopt`: what is there is recorded, what differs is ours only if that is said, 0 bytes move."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.applying import apply as applying
from imgmigrate.state.local.store import LocalState
from tests.cli.helpers import Terminal, python
from tests.support.images import image
from tests.support.layouts import layout_tags, write_layout

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.events import RunFinished
    from imgmigrate.state.record import State
    from tests.cli.helpers import Cli

CONFIG = """\
version: 1
images:
  - source: "oci:images/os"
    destination: "oci:bundle/os"
"""
TAGS = ("1", "2", "3")
EVERYTHING = "oci:bundle/**"


@pytest.fixture
def there(cli: Cli) -> Cli:
    """Three images, of which the destination has two alike and one that differs; no state."""
    (cli.folder / "imgmigrate.yaml").write_text(CONFIG)
    for tag in TAGS:
        write_layout(cli.folder / "images/os", tag, image(tag))
    write_layout(cli.folder / "bundle/os", "1", image("1"))
    write_layout(cli.folder / "bundle/os", "2", image("2"))
    write_layout(cli.folder / "bundle/os", "3", image("theirs"))
    return cli


def state(cli: Cli) -> State:
    return LocalState(cli.folder / "state" / "imgmigrate").read()


def recorded(cli: Cli) -> dict[str, str]:
    return {str(each.address): each.digest for each in state(cli).live()}


def bytes_of(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_is_there_is_recorded_and_nothing_is_written(there: Cli) -> None:
    """D = S becomes a record by a run of its own; what differs is named and left alone."""
    before = bytes_of(there.folder / "bundle")
    assert there("adopt", EVERYTHING) == 0
    assert "already there (2): recorded" in there.out
    assert "differ from the source (1): not ours, left alone" in there.out
    tags = layout_tags(there.folder / "bundle/os")
    assert recorded(there) == {f"oci:bundle/os:{tag}": tags[tag] for tag in "12"}
    assert bytes_of(there.folder / "bundle") == before
    (run,) = state(there).runs
    assert run.command == f"imgmigrate adopt '{EVERYTHING}'"
    assert (run.rows, run.done, run.counts["applied"]) == (2, 2, 2)
    assert there("plan", "--exclude", "**:3") == 0
    assert "Nothing to do: all 2 images are as the config says." in there.out


def test_a_lost_state_is_rebuilt(there: Cli) -> None:
    """After the state's folder is gone, one adoption makes the next plan empty again."""
    shutil.rmtree(there.folder / "bundle")
    assert there("apply", "--auto-approve") == 0
    expected = recorded(there)
    shutil.rmtree(there.folder / "state")
    assert there("adopt", "**") == 0
    assert recorded(there) == expected
    assert there("plan", "--detailed-exitcode") == 0
    assert "Nothing to do: all 3 images are as the config says." in there.out


def test_ownership_is_taken_only_when_asked_for(there: Cli) -> None:
    """--take-ownership records D as ours, so that the next plan updates it."""
    assert there("adopt", "**", "--take-ownership", "--auto-approve") == 0
    assert "differ from the source (1): taken over as they are" in there.out
    assert recorded(there) == {
        f"oci:bundle/os:{tag}": digest
        for tag, digest in layout_tags(there.folder / "bundle/os").items()
    }
    assert there("plan", "--detailed-exitcode") == 2
    assert "1 to update" in there.out
    assert "conflict" not in there.out


@pytest.mark.parametrize(("answer", "code", "count"), [("yes\n", 0, 3), ("no\n", 1, 0), ("", 1, 0)])
def test_taking_ownership_asks(
    there: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, count: int
) -> None:
    """Only the word yes takes over what differs; anything else records nothing at all."""
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert there("adopt", "**", "--take-ownership") == code
    assert "Take over 1 that differ?" in there.err
    assert len(recorded(there)) == count


@pytest.mark.parametrize("option", ["--json", "--no-color"])
def test_taking_ownership_needs_somebody_to_ask(
    there: Cli, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Where nobody can answer, it is refused before anything is read."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert there("adopt", "**", "--take-ownership", option) == 64
    assert recorded(there) == {}


def test_a_dry_run_records_nothing(there: Cli) -> None:
    """--dry-run shows the same and makes no state."""
    assert there("adopt", "**", "--dry-run", "--take-ownership") == 0
    assert "2 images to record as they are, 1 to take over" in there.out
    assert not (there.folder / "state/imgmigrate/journal.jsonl").exists()


def test_globs_choose_what_is_adopted(there: Cli) -> None:
    """Only the addresses that a glob matches are looked at and recorded."""
    assert there("adopt", "oci:bundle/os:2") == 0
    assert list(recorded(there)) == ["oci:bundle/os:2"]


def test_a_glob_that_matches_nothing_is_refused(there: Cli) -> None:
    """A typing error exits 64 and records nothing of the other globs."""
    assert there("adopt", "**:1", "oci:bundel/**") == 64
    assert there.err.startswith("Error: oci:bundel/**: matches no address")
    assert recorded(there) == {}


def test_adopting_twice_does_nothing_the_second_time(there: Cli) -> None:
    """What is recorded as it is needs no run."""
    assert there("adopt", "**:1") == 0
    assert there("adopt", "**:1") == 0
    assert "Adopt: nothing that is not recorded already." in there.out
    assert len(state(there).runs) == 1


def test_a_source_that_cannot_be_read_exits_3(there: Cli) -> None:
    """Error rows are shown and end with 3, while the others are adopted."""
    (there.folder / "images/os/index.json").write_text("nonsense")
    assert there("adopt", "**") == 3
    assert "1 error" in there.out


def test_a_destination_that_moved_meanwhile_is_not_recorded(
    there: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each destination is looked at again just before; what moved is a conflict, exit 7."""
    real = applying.apply_plan

    async def late(*arguments: Any, **options: Any) -> RunFinished:
        write_layout(there.folder / "bundle/os", "2", image("moved"))
        return await real(*arguments, **options)

    monkeypatch.setattr(applying, "apply_plan", late)
    assert there("adopt", "**") == 7
    assert list(recorded(there)) == ["oci:bundle/os:1"]
    assert "oci:bundle/os:2" in there.out
    assert "1 conflict" in there.out


async def test_a_locked_state_is_not_adopted_into(there: Cli) -> None:
    """While another process writes, adopt exits 5 and names it."""
    command = "imgmigrate apply plan.out"
    async with LocalState(there.folder / "state/imgmigrate").writer(command=command):
        script = "import sys; from imgmigrate.cli import main; sys.exit(main(sys.argv[1:]))"
        config = str(there.folder / "imgmigrate.yaml")
        done = await asyncio.to_thread(python, script, "adopt", "**", "-c", config)
    assert done.returncode == 5
    assert command in done.stderr


def test_the_stream_tells_what_was_found_and_done(there: Cli) -> None:
    """--json gives rows, counts and the run, one object a line."""
    assert there("adopt", "**", "--json") == 0
    lines = [json.loads(line) for line in there.out.splitlines()]
    (found,) = [line for line in lines if line["type"] == "adoption"]
    assert (found["same"], found["differing"], found["missing"]) == (2, 1, 0)
    assert [line["outcome"] for line in lines if line["type"] == "apply_complete"] == [
        "applied",
        "applied",
    ]


def test_lines_fit_a_terminal(there: Cli) -> None:
    """Long addresses are folded: no line is wider than 80 columns."""
    name = "deep/" * 20 + "os"
    config = CONFIG.replace("oci:bundle/os", f"oci:bundle/{name}")
    (there.folder / "imgmigrate.yaml").write_text(config)
    write_layout(there.folder / f"bundle/{name}", "1", image("1"))
    write_layout(there.folder / f"bundle/{name}", "3", image("theirs"))
    assert there("adopt", "**", "--dry-run", "--take-ownership") == 0
    assert max(len(line) for line in there.out.splitlines()) <= 80
