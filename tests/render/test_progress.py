"""Showing a run while it runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from imgmigrate.errors import ImgmigrateError
from imgmigrate.events import (
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
from imgmigrate.render.changes.tally import Tally
from imgmigrate.render.lines import LineProgress
from imgmigrate.render.progress import MOST_BLOBS, LiveProgress
from tests.render import samples
from tests.render.changes.test_tally import Clock

REPOSITORY = Repository("harbor.new", "team/api")
STARTED = RunStarted("run", "plan", images=3, size=4096)


def lines_of(
    *events: Event, step: float = 0.0, every: bool = False, quiet: bool = False
) -> list[str]:
    """What `LineProgress` writes for these events, `step` seconds apart."""
    clock, written = Clock(), list[str]()
    progress = LineProgress(Tally(clock), written.append, every=every, quiet=quiet)
    with progress as sink:
        for event in events:
            clock.now += step
            sink.emit(event)
    return written


def finished(tag: str, outcome: Outcome, **more: object) -> tuple[Event, Event]:
    address = REPOSITORY.at(tag)
    error = ImgmigrateError(f"destination {address}: denied", hint="ask") if more else None
    return ImageStarted(address), ImageFinished(Receipt(address, outcome, moved=2048, error=error))


THREE = (
    STARTED,
    *finished("1", Outcome.APPLIED),
    *finished("2", Outcome.ALREADY),
    *finished("3", Outcome.FAILED, error=True),
)


def test_each_finished_image_is_a_line() -> None:
    """With --verbose a log has a line an image: place, outcome, address, bytes or cause."""
    assert lines_of(*THREE, every=True) == [
        "[1/3] done: harbor.new/team/api:1, 2.00 KiB",
        "[2/3] already done: harbor.new/team/api:2",
        "[3/3] failed: harbor.new/team/api:3: denied; ask",
    ]


def test_a_log_names_what_failed_alone() -> None:
    """100,000 records are no 100,000 lines: without --verbose only failures have one."""
    assert lines_of(*THREE) == ["[3/3] failed: harbor.new/team/api:3: denied; ask"]


def test_a_quiet_log_has_warnings_alone() -> None:
    """With --quiet nothing is told before the end, but what must not be missed."""
    assert lines_of(*THREE, Warned("code", "mind this"), step=300, quiet=True) == [
        "Warning: mind this"
    ]


def test_rows_settled_from_the_start_are_no_lines() -> None:
    """A resumed run does not repeat the lines of the runs before it."""
    settled = ImageFinished(Receipt(REPOSITORY.at("1"), Outcome.ALREADY))
    assert lines_of(STARTED, settled) == []


def test_long_silence_is_broken_by_a_sign_of_life() -> None:
    """While bytes move but no image ends, a line tells the totals at most once a minute."""
    blob = samples.digest("blob")
    moved = [BlobMoved(REPOSITORY, blob, 100)] * 5
    lines = lines_of(STARTED, BlobStarted(REPOSITORY, blob, 4096), *moved, step=24.0)
    assert len(lines) == 2
    assert lines[0].startswith("0 of 3 images done  ")
    assert "of at most 4.00 KiB" in lines[0]


def test_planning_shows_life_too() -> None:
    """While both sides are read, the count of images looked at is told."""
    lines = lines_of(Listed(REPOSITORY, 7), Observed(3, 7), step=61.0)
    assert lines[0].startswith("reading both sides: 1 repository listed")
    assert "3 of 7 images looked at" in lines[1]


def test_retries_are_told_when_they_are_all_there_is() -> None:
    """A run that waits for a registry says for which, and why."""
    (line,) = lines_of(STARTED, Retrying("harbor.new", "answered 503", 2.0), step=31.0)
    assert line == "1 retry; the last in 2.0 s: harbor.new: answered 503"


def test_warnings_are_shown_at_once() -> None:
    """A warning is never swallowed, and cannot write control characters."""
    assert lines_of(Warned("code", "mind \x1b[31mthis")) == ["Warning: mind  [31mthis"]


def test_skipped_names_are_a_warning_that_names_a_few() -> None:
    """Five show what they have in common; what a server wrote cannot write to the terminal."""
    repository = Repository("old.example", "team/api")
    one = NamesSkipped(repository, ("-1\x1b[2J",), 1)
    said = "Warning: old.example/team/api: 1 listed name is no valid tag, and left out: -1 [2J"
    assert lines_of(one) == [said]
    many = NamesSkipped(repository, tuple(f"+{number}" for number in range(9)), 1200)
    (line,) = lines_of(many)
    assert (
        "1,200 listed names are no valid tags, and left out: +0, +1, +2, +3, +4 and 1,195" in line
    )


def test_the_end_of_a_run_is_left_to_the_summary() -> None:
    """The last event makes no line of its own."""
    assert lines_of(RunFinished("run", "plan", {}, 0, 1.0), step=60.0) == []


@pytest.fixture
def live() -> LiveProgress:
    """A live display on a terminal that only remembers."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    return LiveProgress(Tally(Clock()), console)


def drawn(live: LiveProgress) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as capture:
        console.print(live.draw())
    return capture.get()


def test_a_frame_shows_totals_and_the_largest_blobs(live: LiveProgress) -> None:
    """Images, bytes and the blobs in flight; of many blobs only the largest."""
    live.emit(STARTED)
    for number in range(MOST_BLOBS + 3):
        live.emit(BlobStarted(REPOSITORY, samples.digest(str(number)), 1024 * (number + 1)))
    live.emit(BlobMoved(REPOSITORY, samples.digest("10"), 512))
    frame = drawn(live)
    assert "0 of 3 images done" in frame
    assert "512 B of at most 4.00 KiB" in frame
    assert "512 B / 11.0 KiB" in frame
    assert samples.digest("0").short not in frame
    assert "and 3 smaller blobs" in frame
    assert max(len(line) for line in frame.splitlines()) <= 80


def test_frames_of_every_phase_can_be_drawn(live: LiveProgress) -> None:
    """Before, while planning, and with a retry under way."""
    assert drawn(live).startswith("starting")
    live.emit(Observed(1, 2))
    assert "1 of 2 images looked at" in drawn(live)
    live.emit(STARTED)
    live.emit(BlobStarted(REPOSITORY, samples.digest("b"), 10))
    live.emit(Retrying("harbor.new", "answered 503", 2.0))
    assert "answered 503" in drawn(live)


def test_what_must_not_be_missed_scrolls_by(live: LiveProgress) -> None:
    """Failures and warnings stay on the terminal above the display; successes do not."""
    with live as sink:
        sink.emit(STARTED)
        sink.emit(Warned("code", "mind this"))
        for event in (
            *finished("1", Outcome.APPLIED),
            *finished("2", Outcome.FAILED, error=True),
            ImageFinished(Receipt(REPOSITORY.at("9"), Outcome.CONFLICT)),
        ):
            sink.emit(event)
    assert isinstance(live.console.file, io.StringIO)
    shown = live.console.file.getvalue()
    assert "Warning: mind this" in shown
    assert "failed: harbor.new/team/api:2: denied" in shown
    assert "harbor.new/team/api:1" not in shown
    assert "harbor.new/team/api:9" not in shown
