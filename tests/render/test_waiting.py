"""Waits and stopped runs, as people and machines see them."""

from __future__ import annotations

import io
import json

from msgspec.structs import replace
from rich.console import Console

from imgmigrate.errors import ImgmigrateError
from imgmigrate.events import ImageFinished, ImageStarted, Outcome, Receipt, RunFinished, Waiting
from imgmigrate.oci.reference import Repository
from imgmigrate.render.changes.tally import Tally
from imgmigrate.render.json import JsonStream
from imgmigrate.render.progress import LiveProgress
from imgmigrate.render.summary import MOST_UNREACHED, result_text
from tests.render import samples
from tests.render.test_progress import STARTED, lines_of

APP = Repository("harbor.new", "team/api")
WAIT = Waiting("docker.io", "its pull limit \x1b[31mis used up", 21_600)
SHOWN = "waiting, at most 6 h 0 min: docker.io: its pull limit  [31mis used up"


def unreached(tag: str) -> Receipt:
    address = APP.at(tag)
    error = ImgmigrateError(f"{address}: not reached: night", hint="go on tomorrow")
    return Receipt(address, Outcome.CANCELLED, error=error)


def test_a_wait_is_a_line_at_once() -> None:
    """Nobody has to guess why a log stands still."""
    assert lines_of(STARTED, WAIT) == [SHOWN]


def test_a_wait_stays_on_the_terminal() -> None:
    """Above the live display it scrolls by, and an unreached row does not."""
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with LiveProgress(Tally(), console) as live:
        live.emit(STARTED)
        live.emit(WAIT)
        live.emit(ImageFinished(unreached("1")))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert SHOWN in shown
    assert "team/api:1" not in shown


def test_a_wait_is_a_json_line() -> None:
    """Machines get subject, cause and seconds."""
    lines: list[str] = []
    JsonStream(lines.append).emit(WAIT)
    line = json.loads(lines[-1])
    assert (line["type"], line["@level"], line["delay"]) == ("wait", "info", 21_600)
    assert line["subject"] == "docker.io"


def test_rows_that_a_stopped_run_did_not_reach_are_no_lines() -> None:
    """A hundred thousand of them would bury what happened; one that was cut short is shown."""
    cut = replace(unreached("cut"), error=ImgmigrateError(f"{APP.at('cut')}: not reached: night"))
    events = [ImageFinished(unreached(str(number))) for number in range(5)]
    lines = lines_of(STARTED, ImageStarted(cut.address), *events, ImageFinished(cut))
    assert lines == ["[6/3] not reached: harbor.new/team/api:cut: not reached: night"]


def test_a_stopped_run_gives_its_reason_once() -> None:
    """Reason, hint, as many addresses as help, and the command that goes on."""
    count = MOST_UNREACHED + 1
    receipts = tuple(unreached(f"v{number:02}") for number in range(count))
    result = RunFinished(
        "run", "plan", {Outcome.CANCELLED: count}, 0, 1.0, receipts, "the night is over"
    )
    plan = samples.plan(*(samples.change(f"{each.address}", "copy", "new") for each in receipts))
    text = result_text(plan, result, resume="imgmigrate apply plan.out", replan="REPLAN")
    assert text.splitlines() == [
        "! not reached (11)",
        "  the night is over",
        "  hint: go on tomorrow",
        *(f"  ! harbor.new/team/api:v{number:02}" for number in range(MOST_UNREACHED)),
        "  and 1 more",
        "",
        "Apply incomplete: 11 not reached; 0 B moved in 1.0 s.",
        "To go on where this ended:",
        "  imgmigrate apply plan.out",
    ]
