"""A parameter that the library names is an option wherever it is printed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from rich.console import Console

from imgmigrate.errors import OutOfReach, StoreError
from imgmigrate.events import (
    ImageFinished,
    ImageStarted,
    Outcome,
    Receipt,
    Refusal,
    RunFinished,
    RunStarted,
    Warned,
)
from imgmigrate.planning.adopting import Adoption
from imgmigrate.probing.probe import Check, Report, Verdict
from imgmigrate.render.changes.markdown import plan_markdown
from imgmigrate.render.changes.tally import Tally
from imgmigrate.render.changes.text import plan_text
from imgmigrate.render.json import JsonStream
from imgmigrate.render.lines import LineProgress
from imgmigrate.render.progress import LiveProgress
from imgmigrate.render.reports.adopt import adoption_lines
from imgmigrate.render.reports.probe import probe_line, probe_lines
from imgmigrate.render.summary import result_text
from tests.render import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.events import Event

TEXT = "plan with `allow_delete` once"
SPOKEN = "plan with --allow-delete once"
ROW = samples.change("harbor.new/a:1", "error", "unreadable", source=None, detail=TEXT)
DOWN = [
    samples.change(f"harbor.new/a:{n}", "error", "unreadable", detail=TEXT, out_of_reach="h.new")
    for n in range(2)
]
ERROR = StoreError("harbor.new/a:1", TEXT, hint=TEXT)
RECEIPTS = tuple(
    Receipt(ROW.address, outcome, error=ERROR) for outcome in (Outcome.FAILED, Outcome.CANCELLED)
)
GONE = OutOfReach("h.new", TEXT, host="h.new", hint=TEXT)
REFUSAL = Refusal("h.new", GONE, tuple(row.address for row in DOWN))
DONE = RunFinished("run", "plan", {}, 0, 1.0)
STOPPED = replace(DONE, unfinished=RECEIPTS, stopped=TEXT)
REFUSED = replace(DONE, unfinished=RECEIPTS[:1], refusals=(REFUSAL,))
IMAGE: tuple[Event, ...] = (
    RunStarted("run", "plan", images=1, size=None),
    ImageStarted(ROW.address),
    ImageFinished(RECEIPTS[0]),
)
ADOPTION = Adoption(samples.plan(), (), (), (), (ROW,), taken=False)
REPORT = Report("harbor.new", ("source",), (Check("pull", Verdict.FAILED, TEXT, TEXT),))


def streamed(act: Callable[[JsonStream], None]) -> str:
    written: list[str] = []
    act(JsonStream(written.append))
    return "\n".join(written)


def logged(*events: Event) -> str:
    written: list[str] = []
    progress = LineProgress(Tally(), written.append)
    for event in events:
        progress.emit(event)
    return "\n".join(written)


def live(*events: Event) -> str:
    file = io.StringIO()
    progress = LiveProgress(Tally(), Console(file=file, width=200))
    for event in events:
        progress.emit(event)
    return file.getvalue()


OUTPUTS: dict[str, tuple[Callable[[], str], int]] = {
    "a row": (lambda: plan_text(samples.plan(ROW)), 1),
    "rows of a registry that is down": (lambda: plan_text(samples.plan(*DOWN)), 1),
    "a note": (lambda: plan_text(samples.plan(notes=(TEXT,))), 1),
    "a row in Markdown": (lambda: plan_markdown(samples.plan(ROW)), 1),
    "a note in Markdown": (lambda: plan_markdown(samples.plan(notes=(TEXT,))), 1),
    # Cause and hint of what failed, why the run was stopped, and what to do then.
    "the end of a run": (lambda: result_text(samples.plan(), STOPPED), 4),
    "what a plan left out": (lambda: result_text(samples.plan(ROW), DONE), 1),
    "a refusal": (lambda: result_text(samples.plan(), REFUSED), 2),
    "a warning in a log": (lambda: logged(Warned("code", TEXT)), 1),
    "an image in a log": (lambda: logged(*IMAGE), 2),
    "a warning on a terminal": (lambda: live(Warned("code", TEXT)), 1),
    "an image on a terminal": (lambda: live(*IMAGE), 2),
    # `@message` and `summary`; an error has its hint as well.
    "a warning as data": (lambda: streamed(lambda stream: stream.warning("code", TEXT)), 2),
    "an error as data": (lambda: streamed(lambda stream: stream.error(ERROR)), 3),
    "an image as data": (lambda: streamed(lambda stream: stream.emit(IMAGE[-1])), 2),
    "the end of a run as data": (lambda: streamed(lambda stream: stream.emit(STOPPED)), 5),
    "a check": (lambda: "\n".join(probe_lines([REPORT])), 2),
    "a check as data": (lambda: str(probe_line(REPORT)), 2),
    "a row to adopt": (lambda: "\n".join(adoption_lines(ADOPTION)), 1),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_output_speaks_of_options(name: str) -> None:
    """Rows, errors with their hints, warnings and why a run stopped: text, Markdown and JSON."""
    printed, times = OUTPUTS[name][0](), OUTPUTS[name][1]
    assert printed.count(SPOKEN) == times
    assert "allow_delete" not in printed


def test_what_programs_read_of_a_row_is_the_plans() -> None:
    """A row in the stream is the plan file's line, in which the library's words are kept."""
    printed = streamed(lambda stream: stream.plan(samples.plan(ROW)))
    assert f'"detail":"{TEXT}"' in printed


def test_a_plan_of_an_older_version_is_shown_as_it_is() -> None:
    """Its rows may name options."""
    row = ROW.model_copy(update={"detail": SPOKEN})
    assert plan_text(samples.plan(row)).count(SPOKEN) == 1
