"""Everything as data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import AccessDenied, ImgmigrateError
from imgmigrate.events import (
    BlobFinished,
    BlobMoved,
    BlobStarted,
    Event,
    ImageFinished,
    ImageStarted,
    Listed,
    NamesSkipped,
    Observed,
    Outcome,
    Receipt,
    Retrying,
    RunFinished,
    RunStarted,
    Warned,
)
from imgmigrate.oci.reference import Repository
from imgmigrate.plan import Action
from imgmigrate.render.json import JsonStream, plan_documents, state_document
from tests.render import samples
from tests.render.changes.test_tally import Clock

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

REPOSITORY = Repository("harbor.new", "team/api")
BLOB = samples.digest("blob")
FAILED = Receipt(
    REPOSITORY.at("2"),
    Outcome.FAILED,
    error=AccessDenied("harbor.new/team/api", "denied (403)", hint="the account lacks push"),
)


class Written:
    """A stream whose lines are kept, one second a tick."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._raw: list[str] = []
        self.stream = JsonStream(self._raw.append, now=lambda: samples.MADE, clock=self.clock)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line so far, parsed; each must be one line."""
        assert all("\n" not in line for line in self._raw)
        return [json.loads(line) for line in self._raw]

    def emit(self, *events: Event) -> list[dict[str, Any]]:
        """The lines that these events add."""
        before = len(self._raw)
        for event in events:
            self.stream.emit(event)
        return self.lines[before:]


@pytest.fixture
def written() -> Written:
    return Written()


def test_the_first_line_is_the_version(written: Written) -> None:
    """A reader knows what it reads before anything else."""
    (line,) = written.lines
    assert (line["type"], line["ui"]) == ("version", "1.0")
    assert line["imgmigrate"]


def test_a_plan_is_one_line_a_change_and_a_summary(
    written: Written, snapshot: SnapshotAssertion
) -> None:
    """The rows come as they stand in the plan file, the summary last."""
    plan = samples.every_action()
    written.stream.plan(plan, saved="plan.out", file_sha256="a" * 64)
    lines = written.lines[1:]
    assert [line["change"] for line in lines[:-1]] == [change.line() for change in plan.changes]
    assert lines[-1] == snapshot
    assert [line["@message"] for line in lines[:-1]] == snapshot


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (Listed(REPOSITORY, 3), "listed"),
        (RunStarted("run", "plan", 3, None), "run_start"),
        (ImageStarted(REPOSITORY.at("1")), "apply_start"),
        (ImageFinished(Receipt(REPOSITORY.at("1"), Outcome.APPLIED, BLOB, 5)), "apply_complete"),
        (ImageFinished(FAILED), "apply_errored"),
        (Retrying("harbor.new", "503", 1.0), "retry"),
        (Warned("some_code", "text"), "diagnostic"),
        (RunFinished("run", "plan", {Outcome.FAILED: 1}, 5, 1.0, (FAILED,)), "run_summary"),
    ],
)
def test_events_are_lines(
    written: Written, event: Event, kind: str, snapshot: SnapshotAssertion
) -> None:
    """Each event has its type, and every line has a level, a message and a time."""
    (line,) = written.emit(event)
    assert line["type"] == kind
    assert {"@level", "@message", "@timestamp"} <= set(line)
    assert line == snapshot


def test_progress_is_told_at_most_once_a_second(written: Written) -> None:
    """Byte counts are gathered; nobody wants a line a chunk."""
    written.emit(RunStarted("run", "plan", 3, 900), BlobStarted(REPOSITORY, BLOB, 900))
    moved = BlobMoved(REPOSITORY, BLOB, 100)
    assert written.emit(moved, moved, moved) == []
    written.clock.now += 1.5
    (line,) = written.emit(moved, moved)
    assert (line["type"], line["moved"], line["size"]) == ("apply_progress", 400, 900)
    assert line["blobs_in_flight"] == 1
    written.clock.now += 1.5
    (line,) = written.emit(BlobFinished(REPOSITORY, BLOB, 900, "uploaded"))
    assert line["blobs_in_flight"] == 0


def test_planning_progress_is_told_at_most_once_a_second(written: Written) -> None:
    """A hundred thousand images looked at are not a hundred thousand lines."""
    assert written.emit(Observed(1, 9), Observed(2, 9)) == []
    written.clock.now += 1.5
    (line,) = written.emit(Observed(3, 9))
    assert (line["type"], line["done"], line["total"]) == ("plan_progress", 3, 9)


def test_errors_are_diagnostics_one_for_each_cause(written: Written) -> None:
    """A group of errors is taken apart, and the same text is told once."""
    same = ImgmigrateError("no", hint="try yes")
    written.stream.error(ExceptionGroup("many", [same, ImgmigrateError("no"), ValueError("odd")]))
    first, second = written.lines[1:]
    assert (first["severity"], first["summary"], first["detail"]) == ("error", "no", "try yes")
    assert second["summary"] == "ValueError: odd"


def test_messages_carry_no_control_characters(written: Written) -> None:
    """`@message` is safe to print as it is."""
    (line,) = written.emit(Warned("code", "a\x1b[2Jb\r\nc"))
    assert line["@message"] == "Warning: a [2Jb c"


def test_skipped_names_are_a_diagnostic(written: Written) -> None:
    """Programs find them by a stable code."""
    (line,) = written.emit(NamesSkipped(Repository("old.example", "team/**"), ("A\x07",), 1))
    assert (line["type"], line["code"], line["@level"]) == ("diagnostic", "names_skipped", "warn")
    said = "old.example/team/**: 1 listed name is no valid repository name, and left out: A"
    assert line["summary"] == said


def test_records_are_lines(written: Written) -> None:
    """The state's records come one a line, absent fields left out."""
    written.stream.records(samples.state().records.values())
    lines = written.lines[1:]
    assert [line["record"]["address"] for line in lines] == list(samples.state().records)
    assert "previous" not in lines[0]["record"]


def test_a_plan_is_a_header_its_rows_and_an_end(snapshot: SnapshotAssertion) -> None:
    """`show --format json` has the header's fields, the plan's name and the chosen rows."""
    plan = samples.every_action()
    rows = [change for change in plan.changes if change.action is Action.CONFLICT]
    assert list(plan_documents(plan, rows)) == snapshot
    *whole, end = plan_documents(plan)
    assert (len(whole), end["changes"]) == (1 + len(plan.changes), len(plan.changes))


def test_a_state_is_one_document(snapshot: SnapshotAssertion) -> None:
    """`show --format json` without a plan summarises the state."""
    assert state_document(samples.state()) == snapshot
