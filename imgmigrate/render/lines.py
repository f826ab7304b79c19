"""Show a run as plain lines, for logs: what failed, and how far it is once a minute.

Decides nothing. The sentences are shared with the live display (`progress.py`); this module
loads no library, because most runs in CI need only it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from imgmigrate.events import (
    ImageFinished,
    NamesSkipped,
    Outcome,
    RateLearnt,
    Retrying,
    RunFinished,
    Waiting,
    Warned,
)
from imgmigrate.redaction import printable
from imgmigrate.render.errors import cause_at, hint_of
from imgmigrate.render.options import spoken
from imgmigrate.render.units import UNKNOWN, count, duration, size
from imgmigrate.render.words import bytes_text, outcome_text, rate_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.events import Event, Receipt
    from imgmigrate.render.changes.tally import Tally

__all__ = [
    "LineProgress",
    "finished_line",
    "overall",
    "planning_line",
    "retry_line",
    "share",
    "wait_line",
    "was_begun",
]

# A log of a night has a few hundred of them; a job that says nothing for ten minutes is killed.
HEARTBEAT_SECONDS = 60.0


class LineProgress:
    """Write one line per image that failed, or with `every` per image, and a sign of life a minute.

    A `quiet` one writes warnings alone.
    """

    def __init__(
        self,
        tally: Tally,
        write: Callable[[str], None],
        *,
        every: bool = False,
        quiet: bool = False,
    ) -> None:
        self.tally = tally
        self._write, self._every, self._quiet = write, every, quiet
        self._spoke = tally.clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def emit(self, event: Event) -> None:
        """Count, and write what is worth a line; rows settled from the start are not."""
        event = event.warning if isinstance(event, NamesSkipped) else event
        settled, begun = self.tally.settled, was_begun(event, self.tally)
        self.tally.emit(event)
        if isinstance(event, Warned):
            self._say(f"Warning: {printable(spoken(event.message))}")
        elif self._quiet:
            return
        elif isinstance(event, ImageFinished) and (
            self._every or not event.receipt.outcome.is_done
        ):
            if self.tally.settled == settled and begun:
                self._say(finished_line(event.receipt, self.tally))
        elif isinstance(event, RateLearnt):
            self._say(rate_text(event))
        elif isinstance(event, Waiting):
            self._say(wait_line(event))
        elif isinstance(event, RunFinished):
            return
        elif self.tally.clock() - self._spoke >= HEARTBEAT_SECONDS:
            if isinstance(event, Retrying):
                self._say(retry_line(event, self.tally))
            else:
                self._say("  ".join(overall(self.tally) or [planning_line(self.tally)]))

    def _say(self, line: str) -> None:
        self._spoke = self.tally.clock()
        self._write(line)


def planning_line(tally: Tally) -> str:
    """How far planning or verifying has come; before anything was read, that we are alive."""
    checked = tally.checked
    if checked is not None:
        read = f", {size(checked.read)} read" if checked.read is not None else ""
        images = f"{checked.done:,} of {count(checked.total, 'image')} looked at"
        return f"verifying: {images}{read}, {duration(tally.seconds)}"
    if not tally.repositories and not tally.addresses:
        return f"starting, {duration(tally.seconds)}"
    text = f"reading both sides: {count(tally.repositories, 'repository', 'repositories')} listed"
    if tally.addresses:
        text += f", {tally.observed:,} of {count(tally.addresses, 'image')} looked at"
    if tally.retries:
        text += f", {count(tally.retries, 'retry', 'retries')}"
    return f"{text}, {duration(tally.seconds)}"


def overall(tally: Tally) -> list[str]:
    """The totals: images on one line, bytes on the next; empty before the run has begun."""
    if not tally.images:
        return []
    images = f"{tally.done:,} of {count(tally.images, 'image')} done"
    if tally.undone:
        images += f", {tally.undone:,} not done"
    if tally.open:
        images += f", {len(tally.open):,} open"
    total = f" of at most {size(tally.size)}" if tally.size is not None else ""
    speed = UNKNOWN if tally.rate is None else size(max(0, int(tally.rate)))
    left = tally.seconds_left
    octets = f"{size(tally.moved)}{total}, {speed}/s, {duration(tally.seconds)}"
    return [images, octets + (f", about {duration(left)} left" if left is not None else "")]


def share(tally: Tally) -> float:
    """How much is through, from 0 to 1: of the bytes, where it is known how many they are."""
    if tally.size:
        return min(1.0, max(0, tally.moved) / tally.size)
    return tally.outcomes.total() / tally.images if tally.images else 0.0


def finished_line(receipt: Receipt, tally: Tally) -> str:
    """One image's end: what became of it, how many are through, what it moved or why not."""
    place = f"{tally.outcomes.total():,}/{tally.images:,}" if tally.images else "?"
    address = str(receipt.address)
    line = f"[{place}] {outcome_text(receipt)}: {printable(address)}"
    if receipt.error:
        hint = hint_of(receipt.error)
        return f"{line}: {cause_at(address, receipt.error)}" + (f"; {hint}" if hint else "")
    return line + bytes_text(receipt)


def retry_line(event: Retrying, tally: Tally) -> str:
    """The latest retry, and how many there were."""
    return (
        f"{count(tally.retries, 'retry', 'retries')}; the last in {duration(event.delay)}: "
        f"{printable(event.subject)}: {printable(event.cause)}"
    )


def wait_line(event: Waiting) -> str:
    """Why nothing moves, and for how long at most."""
    cause = f"{printable(event.subject)}: {printable(event.cause)}"
    return f"waiting, at most {duration(event.delay)}: {cause}"


def was_begun(event: Event, tally: Tally) -> bool:
    """Tell a row that was tried from one that a stopped run did not reach, of any event."""
    if not isinstance(event, ImageFinished) or event.receipt.outcome is not Outcome.CANCELLED:
        return True
    return event.receipt.address in tally.open
