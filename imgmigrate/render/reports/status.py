"""Tell how far runs are, and who writes a state: for people and as data.

Pure: a State, who holds its lock, and the time in; lines and documents out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.causes import grouped
from imgmigrate.events import Outcome
from imgmigrate.plan.pace import time_left
from imgmigrate.redaction import printable
from imgmigrate.render.causes import cause_lines
from imgmigrate.render.errors import with_address
from imgmigrate.render.options import spoken
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style
from imgmigrate.render.units import count, duration, moment, size
from imgmigrate.render.words import counted_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imgmigrate.state.holder import Holder, Progress
    from imgmigrate.state.record import Run, State

__all__ = [
    "Phase",
    "RunView",
    "Seen",
    "holder_part",
    "log_lines",
    "run_line",
    "status_line",
    "status_lines",
]

# A conflict needs another plan.
_LEFT = (Outcome.PARTLY, Outcome.FAILED, Outcome.CANCELLED)
# The longest of the words before the values.
_LABEL = 9


class Phase(StrEnum):
    """Whether a run goes on, was cut off, or came to its end."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


class Seen(Struct, frozen=True):
    """A state as it was looked at: whether somebody writes it, who says so, and when that was."""

    state: State
    locked: bool
    holder: Holder | None
    now: datetime

    def runs(self) -> list[RunView]:
        """Every run that the state remembers, the newest first."""
        return [self._view(run) for run in reversed(self.state.runs)]

    def _view(self, run: Run) -> RunView:
        before = sum(each.done for each in self._earlier(run))
        if run.ended_at is not None:
            return RunView(run, Phase.FINISHED, self.now, before)
        is_last = run == self.state.runs[-1]
        running = self.locked and is_last and (self.holder is None or _began(self.holder, run))
        if not running:
            return RunView(run, Phase.INTERRUPTED, self.now, before)
        told = self.holder.progress if self.holder else None
        progress = told if told and told.run == run.run else None
        return RunView(run, Phase.RUNNING, self.now, before, progress)

    def _earlier(self, run: Run) -> Iterator[Run]:
        """The runs of the same plan before this one: what they did is done."""
        for each in self.state.runs:
            if each.run == run.run:
                return
            if run.plan_id and each.plan_id == run.plan_id:
                yield each


class RunView(Struct, frozen=True):
    """A run, and what follows from its numbers.

    `before` rows of its plan were done by earlier runs; `progress` is what a running one tells of
    its bytes.
    """

    run: Run
    phase: Phase
    now: datetime
    before: int = 0
    progress: Progress | None = None

    @property
    def plan_done(self) -> int:
        """How many rows of its plan are done by now, by whichever run."""
        return self.before + self.run.done

    @property
    def plan_rows(self) -> int | None:
        """How many rows its plan had to do when it was first applied."""
        return None if self.run.rows is None else self.before + self.run.rows

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken so far; until its last record if it was cut off."""
        if self.phase is Phase.RUNNING:
            end: datetime | None = self.now
        else:
            end = _time(self.run.ended_at or self.run.last_at)
        began = _time(self.run.began_at)
        return None if end is None or began is None else max(0.0, (end - began).total_seconds())

    @property
    def per_minute(self) -> float | None:
        """Images done a minute; None where that cannot be told."""
        seconds = self.seconds
        return self.run.done * 60 / seconds if seconds and self.run.done else None

    @property
    def seconds_left(self) -> float | None:
        """How long a running run still takes; None where nobody knows.

        By its bytes, as it says itself; by its images only where it has none to send.
        """
        if self.progress is not None and self.progress.left != 0:
            return time_left(self.progress.left, self.progress.rate)
        rate, left = self.per_minute, self.run.left
        if self.phase is not Phase.RUNNING or rate is None or left is None:
            return None
        return left * 60 / rate

    @property
    def is_through(self) -> bool:
        """Tell whether a run that says nothing of its end had come to every row."""
        return self.phase is Phase.INTERRUPTED and self.run.rows is not None and not self.run.left

    @property
    def undone(self) -> int:
        """How many rows a finished run left that the same plan may still do."""
        return sum(self.run.counts.get(each.value, 0) for each in _LEFT)

    @property
    def resume(self) -> str | None:
        """The command that goes on with it, if something is left and it is not running."""
        is_open = self.phase is Phase.INTERRUPTED or self.undone > 0
        if self.is_through:
            is_open = self.run.failed > 0
        return self.run.command or None if is_open and self.phase is not Phase.RUNNING else None


def run_line(view: RunView) -> report_lines.Run:
    """Lay out a run."""
    run, rate, left = view.run, view.per_minute, view.seconds_left
    return report_lines.Run(
        run=run.run,
        plan_id=run.plan_id,
        phase=view.phase.value,
        command=run.command or None,
        pid=run.pid,
        host=run.host or None,
        began_at=run.began_at,
        ended_at=run.ended_at,
        last_at=run.last_at,
        seconds=view.seconds,
        rows=run.rows,
        done=run.done,
        conflicts=run.conflicts,
        failed=run.failed,
        failures=tuple(
            report_lines.ImageFailure(address=each.address, cause=spoken(each.cause))
            for each in run.failures
        ),
        left=run.left,
        plan_rows=view.plan_rows,
        plan_done=view.plan_done,
        moved=view.progress.moved if view.progress else None,
        bytes_left=view.progress.left if view.progress else None,
        counts=dict(run.counts),
        per_minute=None if rate is None else round(rate, 1),
        seconds_left=None if left is None else round(left),
        resume=view.resume,
        name=run.name,
    )


def holder_part(holder: Holder | None) -> report_lines.Holder | None:
    """Lay out who holds a lock."""
    if holder is None:
        return None
    return report_lines.Holder(**holder.model_dump(mode="json", exclude={"progress"}))


def status_line(seen: Seen, place: str) -> report_lines.Status:
    """Lay out how things stand: the lock, the running run, the last one that is not."""
    running, last = _split(seen)
    return report_lines.Status(
        state=place,
        name=seen.state.name,
        locked=seen.locked,
        holder=holder_part(seen.holder) if seen.locked else None,
        running=run_line(running) if running else None,
        last=run_line(last) if last else None,
    )


def status_lines(seen: Seen, place: str, style: Style = PLAIN) -> Iterator[str]:
    """Tell how things stand; the running run first, then the last one that is not."""
    running, last = _split(seen)
    if running:
        yield from _running(seen, running, style)
    elif seen.locked:
        who = seen.holder.describe(seen.now) if seen.holder else "another process"
        yield from style.wrap(f"Locked by {printable(who, 2000)}; it has begun no run.")
    elif last:
        yield style.paint("No run is going on.", "bold")
    else:
        yield from style.wrap(f"No run yet in {printable(place, 500)}: nothing has been applied.")
    if last:
        if seen.locked:
            yield ""
        yield from _last(last, style, is_running=running is not None)
    if seen.state.name:
        said = f"State {printable(place, 500)} belongs to {printable(seen.state.name)}."
        yield from (style.paint(line, "dim") for line in style.wrap(said, hanging="  "))


def log_lines(views: Iterable[RunView], style: Style = PLAIN) -> Iterator[str]:
    """List runs: when, how long, which plan, what came of it, and the command."""
    for number, view in enumerate(views):
        if number:
            yield ""
        run = view.run
        yield style.paint(f"{_name(run)}", "bold")
        yield f"  {moment(run.began_at)}, {duration(view.seconds)}"
        yield from style.wrap(_outcome(view), indent="  ")
        if run.command:
            yield f"  {printable(run.command, 2000)}"


def _running(seen: Seen, view: RunView, style: Style) -> Iterator[str]:
    run, holder = view.run, seen.holder
    yield style.paint(f"Running: {_name(run)}", "bold")
    user = f" of {holder.user}" if holder else ""
    rows = [
        ("since", f"{moment(run.began_at)} ({duration(view.seconds)} ago)"),
        ("by", f"process {run.pid}{user} on {run.host}"),
        ("command", run.command),
        ("job", holder.job if holder else None),
        ("images", _images(view)),
        ("plan", _plan(view)),
        ("bytes", _bytes(view)),
        ("speed", _speed(view)),
    ]
    for label, value in rows:
        if value:
            yield f"  {label:<{_LABEL}}{printable(value, 2000)}"
    yield from _failures(view, style)


def _failures(view: RunView, style: Style) -> Iterator[str]:
    """The rows that failed last: what to look at before the run, or its plan, goes on."""
    run = view.run
    if not run.failures:
        return
    more = f", the last {len(run.failures)}" if run.failed > len(run.failures) else ""
    yield f"  failed ({run.failed:,}){more}:"
    groups, alone = grouped(run.failures, lambda failure: failure.why)
    for cause, members in groups:
        yield from cause_lines(cause, [each.address for each in members], style, indent="    ")
    for each in alone:
        head = f"    {style.paint('!', 'red')} "
        said_why = printable(spoken(each.cause), 500)
        said = with_address(printable(each.address, 500), said_why)
        lines = list(style.wrap(said, indent="      "))
        yield head + lines[0].lstrip()
        yield from lines[1:]


def _last(view: RunView, style: Style, *, is_running: bool) -> Iterator[str]:
    run = view.run
    yield f"Last: {_name(run)}"
    yield f"  {moment(run.began_at)}, {duration(view.seconds)}"
    yield from style.wrap(_outcome(view), indent="  ")
    yield from _failures(view, style)
    if view.resume and not is_running:
        yield "To go on:"
        yield f"  {printable(view.resume, 2000)}"


def _began(holder: Holder, run: Run) -> bool:
    """Tell whether a run is its whose lock it is: a process may hold it several times."""
    began = _time(run.began_at)
    is_later = began is None or holder.since.replace(microsecond=0) <= began
    who = (holder.pid, holder.host, holder.command)
    return is_later and who == (run.pid, run.host, run.command)


def _split(seen: Seen) -> tuple[RunView | None, RunView | None]:
    """The running run, and the newest of the others."""
    views = seen.runs()
    running = views[0] if views and views[0].phase is Phase.RUNNING else None
    rest = views[1:] if running else views
    return running, rest[0] if rest else None


def _name(run: Run) -> str:
    return f"run {printable(run.run)} of plan {printable(run.plan_id) or 'none'}"


def _outcome(view: RunView) -> str:
    run = view.run
    if view.phase is Phase.FINISHED:
        said = [counted_text(word, number) for word, number in run.counts.items() if number]
        if run.name and run.rows == 0:
            said.append(f"the state belongs to {run.name} now")
        return f"finished: {printable(', '.join(said)) or 'nothing done'}"
    if view.is_through:
        return f"ended, only its end is not recorded: {_images(view)}"
    return f"{view.phase.value}: {_images(view)}"


def _images(view: RunView) -> str:
    run = view.run
    if run.rows is None:
        parts = [f"{count(run.done, 'image')} done"]
    else:
        share = f" ({run.done * 100 // run.rows} %)" if run.rows else ""
        parts = [f"{run.done:,} of {count(run.rows, 'image')} done{share}"]
    if run.conflicts:
        parts.append(count(run.conflicts, "conflict"))
    if run.failed:
        parts.append(f"{run.failed:,} failed")
    if run.left:
        parts.append(f"{run.left:,} left")
    whole = None if view.phase is Phase.RUNNING else _plan(view)
    return ", ".join(parts) + (f"; of the plan {whole}" if whole else "")


def _plan(view: RunView) -> str | None:
    """The whole plan, where earlier runs did a part of it."""
    if not view.before or not view.plan_rows:
        return None
    share = view.plan_done * 100 // view.plan_rows
    return (
        f"{view.plan_done:,} of {count(view.plan_rows, 'image')} done ({share} %) by all its runs"
    )


def _bytes(view: RunView) -> str | None:
    progress = view.progress
    if progress is None:
        return None
    left = "" if progress.left is None else f", at most {size(progress.left)} left"
    rate = "" if progress.rate is None else f", {size(int(progress.rate))}/s"
    return f"{size(progress.moved)} sent{left}{rate}"


def _speed(view: RunView) -> str | None:
    rate, left = view.per_minute, view.seconds_left
    if rate is None:
        return None
    said = f"{rate:,.0f} images a minute" if rate >= 1 else f"{rate * 60:,.1f} images an hour"
    return said if left is None else f"{said}, about {duration(left)} left"


def _time(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
