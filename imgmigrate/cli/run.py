"""Run asynchronous work under signals, with the display that fits the terminal.

The first SIGINT, SIGTERM or SIGHUP cancels the work, which then has five seconds to make the state
consistent; the second leaves at once. Whatever was recorded survives both.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from imgmigrate.cli.signals import heeded
from imgmigrate.errors import Interrupted
from imgmigrate.redaction import printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

    from imgmigrate.cli.output import Output
    from imgmigrate.events import Event, Sink
    from imgmigrate.render.changes.tally import Tally

__all__ = ["Both", "is_live", "look", "run", "watching"]

logger = logging.getLogger(__name__)

# The work ends itself within 5 s. This catches a thread that hangs, for example in name
# resolution; GitHub Actions kills after 7.5 s.
LAST_RESORT_SECONDS = 6.0
_SHOW_CURSOR = b"\x1b[?25h"

_T = TypeVar("_T")


def run(work: Callable[[], Coroutine[Any, Any, _T]], *, is_bulk: bool = False) -> _T:
    """Run `work` to its end; `Interrupted` if a signal ended it.

    `is_bulk`: it moves few and large layers, not many requests.
    """
    with (
        _Interruption() as interruption,
        asyncio.Runner(loop_factory=None if is_bulk else _loop_factory()) as runner,
    ):
        try:
            return runner.run(interruption.guard(work))
        except asyncio.CancelledError:
            if interruption.number is None:
                raise
            name = signal.Signals(interruption.number).name
            raise Interrupted(interruption.number, f"interrupted by {name}") from None


def look(output: Output, work: Callable[[Sink], Coroutine[Any, Any, _T]], *, doing: str) -> _T:
    """Run `work` that only reads while showing its progress; an interruption says so."""
    from imgmigrate.render.changes.tally import Tally

    try:
        with watching(output, Tally()) as sink:
            return run(lambda: work(sink))
    except Interrupted as error:
        message = f"{error.message} while {doing}; nothing was changed"
        raise Interrupted(error.signal_number, message) from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop's loop where it can be had: a fifth less CPU for many small images.

    For large layers it gains nothing, and its TLS holds a quarter more memory.
    """
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError:
        return None
    return factory


class _Interruption:
    """Turns the first signal into a cancellation and the second into the end of the process.

    Plain signal handlers, not the loop's: those wait for a loop that may be busy or hanging. They
    run between two lines of Python, so a loop that is about to wait must be woken: a signal that
    comes after the last line before that would be heard only when something else happens.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._last_resort: threading.Timer | None = None
        # Python's C handler writes to the one at once; the loop waits for the other.
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._wakes = -1

    def __enter__(self) -> Self:
        self._wakes = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for each in heeded():
            self._previous[each] = signal.signal(each, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._last_resort is not None:
            self._last_resort.cancel()
        for each, handler in self._previous.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(self._wakes)
        self._woken.close()
        self._waker.close()

    async def guard(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run `work` as the task that a signal cancels."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        # uvloop has set a descriptor of its own by now, which wakes it as well.
        self._loop.add_reader(self._woken, self._woken.recv, 4096)
        if self.number is not None:
            raise asyncio.CancelledError
        return await work()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.number is not None:
            _leave(128 + self.number)
        self.number = number
        # os.write: a handler may run in the middle of a buffered write.
        _say(b"\nending within 5 s; a second signal leaves at once\n")
        self._last_resort = threading.Timer(LAST_RESORT_SECONDS, _leave, (128 + number,))
        self._last_resort.daemon = True
        self._last_resort.start()
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)


def _leave(code: int) -> NoReturn:
    """End the process without any cleaning up; a live display has hidden the cursor."""
    if os.isatty(2):
        _say(_SHOW_CURSOR)
    os._exit(code)


def _say(text: bytes) -> None:
    """Write to stderr, or not: a log that cannot be written must not raise in a handler."""
    with suppress(OSError):
        os.write(2, text)


@contextmanager
def watching(output: Output, tally: Tally) -> Iterator[Sink]:
    """Give a sink that shows progress: JSON lines, a live display or plain lines."""
    with _showing(output, tally) as sink:
        yield Both(_Log(), sink) if logger.isEnabledFor(logging.INFO) else sink


@contextmanager
def _showing(output: Output, tally: Tally) -> Iterator[Sink]:
    if output.stream is not None:
        output.stream.tally = tally  # which it counts in itself
        yield output.stream
        return
    if is_live() and not output.is_quiet:
        from rich.console import Console

        from imgmigrate.render.progress import LiveProgress

        console = Console(stderr=True, no_color=not output.colours("stderr"))
        with LiveProgress(tally, console, every=output.is_verbose) as live:
            yield live
    else:
        from imgmigrate.render.lines import LineProgress

        quiet, every = output.is_quiet, output.is_verbose
        with LineProgress(tally, output.note, every=every, quiet=quiet) as lines:
            yield lines


def is_live() -> bool:
    """Tell whether stderr can be redrawn; a CI system that lends a terminal keeps every frame."""
    animated = os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    return animated and sys.stderr.isatty()


class _Log:
    """Logs what is tried again, and what is waited for."""

    def emit(self, event: Event) -> None:
        """Log it, at level info."""
        from imgmigrate.events import Retrying, Waiting

        if isinstance(event, (Retrying, Waiting)):
            what = "again in" if isinstance(event, Retrying) else "waiting, at most"
            text = f"{event.subject}: {event.cause}; {what} {event.delay:.1f} s"
            logger.info("%s", printable(redact(text)))


class Both:
    """Passes each event to two sinks."""

    def __init__(self, first: Sink, second: Sink) -> None:
        self._sinks = (first, second)

    def emit(self, event: Event) -> None:
        """Pass it on."""
        for sink in self._sinks:
            sink.emit(event)
