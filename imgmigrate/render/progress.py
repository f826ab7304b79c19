"""Show a run live at the foot of a terminal: totals, and the blobs in flight.

A sink and a context manager; writes to stderr only, and decides nothing. It is drawn by a
thread of rich's from a `Tally`, so drawing never delays the engine.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imgmigrate.events import ImageFinished, NamesSkipped, RateLearnt, Waiting, Warned
from imgmigrate.redaction import printable
from imgmigrate.render.lines import (
    finished_line,
    overall,
    planning_line,
    retry_line,
    wait_line,
    was_begun,
)
from imgmigrate.render.options import spoken
from imgmigrate.render.units import count, size
from imgmigrate.render.words import rate_text

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import RenderableType

    from imgmigrate.events import Event
    from imgmigrate.render.changes.tally import Tally

__all__ = ["LiveProgress"]

# More would push the totals off a small terminal.
MOST_BLOBS = 8
FRAMES_PER_SECOND = 8
BAR_WIDTH = 24


class LiveProgress:
    """Redraw totals and the blobs in flight at the foot of a terminal; messages scroll above."""

    def __init__(self, tally: Tally, console: Console | None = None) -> None:
        self.tally = tally
        self.console = console or Console(stderr=True)
        self._live = Live(
            get_renderable=self.draw,
            console=self.console,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def emit(self, event: Event) -> None:
        """Count, and let what must not be missed scroll by."""
        event = event.warning if isinstance(event, NamesSkipped) else event
        settled, begun = self.tally.settled, was_begun(event, self.tally)
        self.tally.emit(event)
        if isinstance(event, Warned):
            self._say(f"Warning: {printable(spoken(event.message))}")
        elif isinstance(event, RateLearnt):
            self._say(rate_text(event))
        elif isinstance(event, Waiting):
            self._say(wait_line(event))
        elif self.tally.settled > settled or not begun:
            return
        elif isinstance(event, ImageFinished) and not event.receipt.outcome.is_done:
            self._say(finished_line(event.receipt, self.tally))

    def draw(self) -> RenderableType:
        """One frame."""
        tally = self.tally
        if not tally.images:
            return Text(planning_line(tally), overflow="ellipsis", no_wrap=True)
        lines: list[RenderableType] = [
            Text(line, overflow="ellipsis", no_wrap=True) for line in overall(tally)
        ]
        # Drawn in a thread: the engine may add a blob meanwhile, so they are copied in one step.
        blobs = list(tally.blobs.values())
        shown = heapq.nlargest(MOST_BLOBS, blobs, key=lambda blob: blob.size)
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(width=BAR_WIDTH)
        table.add_column(justify="right", no_wrap=True)
        for blob in shown:
            table.add_row(
                Text(f"  {printable(blob.name)}", overflow="ellipsis", no_wrap=True),
                ProgressBar(total=max(1, blob.size), completed=blob.moved, width=BAR_WIDTH),
                Text(f"{size(blob.moved)} / {size(blob.size)}"),
            )
        if shown:
            lines.append(table)
        if len(blobs) > len(shown):
            lines.append(Text(f"  and {count(len(blobs) - len(shown), 'smaller blob')}"))
        if tally.last_retry and blobs:
            text = f"  {retry_line(tally.last_retry, tally)}"
            lines.append(Text(text, overflow="ellipsis", no_wrap=True))
        return Group(*lines)

    def _say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)
