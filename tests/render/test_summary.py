"""How an apply ended, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from imgmigrate.errors import AccessDenied, ImgmigrateError, TransientError
from imgmigrate.events import Outcome, Receipt, RunFinished
from imgmigrate.oci.reference import Reference
from imgmigrate.plan import Action
from imgmigrate.render.changes.tally import Tally
from imgmigrate.render.lines import finished_line
from imgmigrate.render.style import Style
from imgmigrate.render.summary import interrupted_text, result_lines, result_text, unplanned
from tests.render import samples

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion


def at(text: str) -> Reference:
    return Reference.parse(text)


def denied() -> AccessDenied:
    error = AccessDenied("harbor.new/team/api", "denied (403)", hint="the account lacks push")
    error.side = "destination"
    return error


def finished(*unfinished: Receipt, **counts: int) -> RunFinished:
    return RunFinished(
        run="20261124T075602Z-9f3a",
        plan_id="7f3c9a1b2c3d4e5f",
        counts={Outcome(name): number for name, number in counts.items()},
        moved=222_298_112,
        seconds=12.5,
        unfinished=unfinished,
    )


UNFINISHED = (
    Receipt(at("harbor.new/team/api:1"), Outcome.FAILED, error=denied()),
    Receipt(
        at("harbor.new/team/api:2"),
        Outcome.CONFLICT,
        error=ImgmigrateError(
            "destination harbor.new/team/api:2: shows 4c55a8552a2c, planned from nothing",
            hint="somebody changed it since the plan; plan again",
        ),
    ),
    Receipt(at("harbor.new/team/api:3"), Outcome.CANCELLED),
    Receipt(
        at("oci:bundle/os:4"),
        Outcome.FAILED,
        error=TransientError("oci:bundle/os:4", "the disk is slow today"),
    ),
)


def test_what_is_not_done_is_listed_with_cause_and_hint(snapshot: SnapshotAssertion) -> None:
    """Each unfinished row has its error and its fix, and the resume command stands last."""
    plan = samples.plan(*samples.every_action().changes)
    result = finished(*UNFINISHED, applied=8, already=2, failed=2, conflict=1, cancelled=1)
    assert result_text(plan, result, resume="imgmigrate apply plan.out") == snapshot


def test_a_complete_apply_is_one_line() -> None:
    """Success is said in one line: counts, bytes, time, rate."""
    plan = samples.plan(samples.change("a.b/c:1", "copy", "new"))
    lines = list(result_lines(plan, finished(applied=1), resume="imgmigrate apply plan.out"))
    assert lines == ["Apply complete: 1 done; 212 MiB moved in 12 s, 17.0 MiB/s."]


def test_images_that_wait_for_their_signatures_are_counted() -> None:
    """The run is complete, and still something of it is not there."""
    row = samples.change("a.b/c:1", "copy", "new").model_copy(update={"referrers_unread": "503"})
    text = result_text(samples.plan(row), finished(applied=1))
    assert "Signatures and the like of 1 image could not all be asked for" in text
    assert "Apply complete" in text


def test_bytes_that_were_spared_are_told() -> None:
    """Where mounts made a transfer needless, `0 B moved` does not look like a mistake."""
    text = result_text(samples.plan(), replace(finished(applied=1), spared=2048))
    assert "2.00 KiB mounted or there already." in " ".join(text.split())


def test_rows_that_the_plan_left_out_are_named_once() -> None:
    """A plan's conflicts are listed unless the run reported them itself."""
    row = samples.change("a.b/c:1", "conflict", "foreign")
    plan = samples.plan(row)
    assert unplanned(plan, None) == (row,)
    assert unplanned(plan, finished(Receipt(row.address, Outcome.CONFLICT))) == ()
    assert "left out by the plan (1)" in result_text(plan, finished(applied=1))


@pytest.mark.parametrize(
    ("action", "outcome", "said"),
    [
        ("copy", Outcome.FAILED, "RESUME"),
        ("copy", Outcome.CANCELLED, "RESUME"),
        ("copy", Outcome.CONFLICT, "REPLAN"),
        ("conflict", Outcome.CONFLICT, "REPLAN"),
        ("error", Outcome.FAILED, "REPLAN"),
    ],
)
def test_the_way_on_is_the_one_that_helps(action: str, outcome: Outcome, said: str) -> None:
    """The same plan finishes what failed; what moved or could not be read needs another plan."""
    row = samples.change("a.b/c:1", action, "some_reason")
    result = finished(Receipt(row.address, outcome))
    text = result_text(samples.plan(row), result, resume="RESUME", replan="REPLAN")
    assert text.splitlines()[-1] == f"  {said}"


def test_long_rows_are_folded() -> None:
    """An unfinished row with a long address and a long cause still fits the terminal."""
    address = at(f"registry.example.com/{'/'.join(['long-name'] * 12)}:v1")
    error = ImgmigrateError("a cause " * 30, hint="a hint " * 30)
    receipt = Receipt(address, Outcome.FAILED, error=error)
    lines = list(result_lines(samples.plan(), finished(receipt), style=Style(width=60)))
    assert max(len(line) for line in lines) <= 60
    assert str(address) in "".join(line.strip(" !") for line in lines)


def test_an_interrupted_apply_says_what_is_saved() -> None:
    """The last words of an interrupted run: how much is done, and where that is recorded."""
    assert interrupted_text(0, 0, "state/prod").endswith("nothing was changed")
    said = interrupted_text(3, 12, "state/prod")
    assert said == "interrupted: 3 of 12 images done and recorded in state/prod"


def test_the_end_says_what_was_done() -> None:
    """Each action has its word, with bytes that travelled and bytes that did not have to."""
    done = RunFinished(
        "run",
        "plan",
        {Outcome.APPLIED: 36, Outcome.CONFLICT: 2},
        moved=1024,
        seconds=1.0,
        actions={Action.DELETE: 18, Action.COPY: 18},
        spared=2048,
    )
    (line,) = result_lines(samples.plan(), done, style=Style(200))
    assert line == (
        "Apply complete: 18 copied, 18 deleted, 2 conflicts; 1.00 KiB moved in 1.0 s, 1.00 KiB/s; "
        "2.00 KiB mounted or there already."
    )


@pytest.mark.parametrize(
    ("action", "outcome", "said"),
    [
        ("copy", Outcome.APPLIED, "copied: harbor.new/a:1, 1.00 KiB, 2.00 KiB spared"),
        ("update", Outcome.APPLIED, "updated: harbor.new/a:1, 1.00 KiB, 2.00 KiB spared"),
        ("move", Outcome.APPLIED, "moved: harbor.new/a:1, 1.00 KiB, 2.00 KiB spared"),
        ("delete", Outcome.APPLIED, "deleted: harbor.new/a:1"),
        ("adopt", Outcome.APPLIED, "adopted: harbor.new/a:1"),
        ("forget", Outcome.APPLIED, "forgot: harbor.new/a:1"),
        ("copy", Outcome.ALREADY, "already copied: harbor.new/a:1"),
        ("copy", Outcome.FAILED, "failed: harbor.new/a:1"),
    ],
)
def test_a_line_says_what_was_done(action: str, outcome: Outcome, said: str) -> None:
    """Bytes stand only where an image was written."""
    address = Reference.parse("harbor.new/a:1")
    receipt = Receipt(address, outcome, moved=1024, action=Action(action), spared=2048)
    assert finished_line(receipt, Tally()) == f"[?] {said}"
