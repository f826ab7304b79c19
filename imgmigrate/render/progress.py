"""Show a run live at the foot of a terminal: totals, and the blobs in flight.

A sink and a context manager; writes to stderr only, and decides nothing. It is drawn by a
thread of rich's from a `Tally`, so drawing never delays the engine.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Self

from msgspec import Struct
from rich.cells import cell_len
from rich.console import Console
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
    share,
    wait_line,
    was_begun,
)
from imgmigrate.render.options import spoken
from imgmigrate.render.style import Style
from imgmigrate.render.units import count, size
from imgmigrate.render.words import rate_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from imgmigrate.events import Event
    from imgmigrate.oci.reference import Reference
    from imgmigrate.render.changes.tally import InFlight, Tally

__all__ = ["LiveProgress"]

# More would push the totals off a small terminal.
MOST_BLOBS = 8
FRAMES_PER_SECOND = 8
# A blob's bar where the terminal is wide, and where it is not: the name needs the room.
BAR_WIDTH = 24
SMALL_BAR_WIDTH = 8
WIDE = 72
# The longest that two sizes get: `1023 MiB / 1023 MiB`.
SIZES_WIDTH = 19
PERCENT_WIDTH = len(" 100 %")


class LiveProgress:
    """Redraw totals and the blobs in flight at the foot of a terminal; messages scroll above.

    With `every` each image that is done is one of the messages.
    """

    def __init__(
        self, tally: Tally, console: Console | None = None, *, every: bool = False
    ) -> None:
        self.tally, self._every = tally, every
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
        elif isinstance(event, ImageFinished) and (
            self._every or not event.receipt.outcome.is_done
        ):
            self._say(finished_line(event.receipt, self.tally))

    def draw(self) -> RenderableType:
        """One frame, as wide as the terminal is when it is drawn."""
        return _Frame(self.tally)

    def _say(self, text: str) -> None:
        lines = Style(self.console.width).wrap(text, hanging="  ")
        self.console.print(Text("\n".join(lines)), soft_wrap=True)


class _Frame(Struct, frozen=True):
    """Totals, a bar, and the largest blobs in flight; no line is wider than the terminal."""

    tally: Tally

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        width, tally = options.max_width, self.tally
        if not tally.images:
            yield from _folded([planning_line(tally)], width)
            return
        images, *octets = overall(tally)
        yield from _folded([images], width)
        yield _bar(share(tally), width)
        yield from _folded(octets, width)
        # Drawn in a thread: the engine may add to both meanwhile, so each is copied in one step.
        blobs, opened = list(tally.blobs.values()), list(tally.open)
        shown = heapq.nlargest(MOST_BLOBS, blobs, key=lambda blob: blob.size)
        if shown:
            yield _blobs(shown, opened, width)
        if len(blobs) > len(shown):
            yield Text(f"  and {count(len(blobs) - len(shown), 'smaller blob')}")
        if tally.last_retry and blobs:
            yield from _folded([retry_line(tally.last_retry, tally)], width, indent="  ")


def _folded(lines: Iterable[str], width: int, indent: str = "") -> Iterable[RenderableType]:
    """Break lines between words, or cut them where a terminal is too narrow for that."""
    for line in lines:
        parts = Style(width).wrap(line, indent=indent, hanging=f"{indent}  ")
        yield from (Text(part, overflow="ellipsis", no_wrap=True) for part in parts)


def _bar(part: float, width: int) -> RenderableType:
    bar = Table.grid(padding=0)
    room = max(1, width - PERCENT_WIDTH)
    bar.add_column(width=room)
    bar.add_column(width=PERCENT_WIDTH, justify="right", no_wrap=True)
    bar.add_row(ProgressBar(total=1, completed=part, width=room), f"{int(part * 100)} %")
    return bar


def _blobs(shown: list[InFlight], opened: list[Reference], width: int) -> RenderableType:
    """One line a blob. Its sizes are never cut; its name gives way, then its bar."""
    bar = BAR_WIDTH if width >= WIDE else SMALL_BAR_WIDTH
    room = max(1, width - len("  ") - 1 - bar - 1 - SIZES_WIDTH)
    names = [printable(_name(blob, opened), 500) for blob in shown]
    full = [f"{name} {blob.digest.short}" for name, blob in zip(names, shown, strict=True)]
    if all(cell_len(name) <= room for name in full):
        names = full
    table = Table.grid(padding=0)
    for column in (2, room, 1, bar, 1):
        table.add_column(width=column, no_wrap=True)
    table.add_column(width=SIZES_WIDTH, justify="right", no_wrap=True)
    for name, blob in zip(names, shown, strict=True):
        sizes = f"{size(blob.moved)} / {size(blob.size)}"
        drawn = ProgressBar(total=max(1, blob.size), completed=blob.moved, width=bar)
        table.add_row("", Text(_end_of(name, room)), "", drawn, "", Text(sizes))
    return table


def _name(blob: InFlight, opened: list[Reference]) -> str:
    """The last part of its repository, and the tag that it is brought for.

    What several open tags share is named for all of them: it belongs to none.
    """
    tags = [each.tag or "" for each in opened if each.repository == blob.repository]
    name = blob.repository.path.rpartition("/")[2]
    if len(tags) == 1 and tags[0]:
        return f"{name}:{tags[0]}"
    return f"{name} ({count(len(tags), 'tag')})" if len(tags) > 1 else name


def _end_of(name: str, room: int) -> str:
    """What fits of a name: its end tells more than its beginning."""
    if cell_len(name) <= room:
        return name
    while cell_len(name) >= room:
        name = name[1:]
    return f"…{name}"
