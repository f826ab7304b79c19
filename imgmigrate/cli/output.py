"""Where text goes: results to stdout, diagnostics to stderr, logs redacted.

Whoever reads our output may leave early (`| head`), and a disk may be full: the work goes on,
the rest is dropped (`streams.py`).
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import click

from imgmigrate.cli.streams import read_line
from imgmigrate.errors import ImgmigrateError, Interrupted
from imgmigrate.redaction import printable, redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.cli.given.options import Settings
    from imgmigrate.events import Warned
    from imgmigrate.render.json import JsonStream
    from imgmigrate.render.style import Style

__all__ = ["Output", "logging_to_stderr", "report"]

FALLBACK_WIDTH = 80


class Output:
    """The process's stdout and stderr. With a `stream`, stdout holds JSON Lines only."""

    def __init__(self) -> None:
        self.stream: JsonStream | None = None
        self.no_color = False
        # How much of its way a command tells: only its end, or each image.
        self.is_quiet = self.is_verbose = False
        # A file, a record or an image outlives the command: what it printed is not all of it.
        self.left_something = False
        for file in (sys.stdout, sys.stderr):
            # A terminal in another encoding shows an escape instead of failing.
            reconfigure = getattr(file, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")

    def text(self, text: str) -> None:
        """Write a result to stdout; it ends its own lines."""
        self._write("stdout", text)

    def line(self, line: str) -> None:
        """Write one line to stdout."""
        self._write("stdout", line + "\n")

    def note(self, line: str) -> None:
        """Write one line of diagnostics to stderr."""
        self._write("stderr", line + "\n")

    def say(self, text: str, *, indent: str = "", hanging: str = "  ") -> None:
        """Write prose to stderr, folded where that is a terminal: a log keeps it in one line."""
        if not sys.stderr.isatty():
            self.note(f"{indent}{text}")
            return
        for line in self.style("stderr").wrap(text, indent=indent, hanging=hanging):
            self.note(line)

    def ask(self, question: str) -> str:
        """Ask on stderr and read a line of stdin; the end of the input is an empty answer."""
        self._write("stderr", question)
        self.flush()
        return read_line().strip()

    def warn(self, code: str, message: str) -> None:
        """Tell of something that stops nothing."""
        if self.stream:
            self.stream.warning(code, message)
        else:
            from imgmigrate.render.options import spoken

            self.say(f"Warning: {spoken(message)}")

    def warned(self, warning: Warned) -> None:
        """Tell of what the library warned of while nothing showed progress."""
        self.warn(warning.code, printable(warning.message, 4000))

    def open_stream(self) -> JsonStream:
        """Turn stdout into the JSON Lines stream, once."""
        if self.stream is None:
            from imgmigrate.render.json import JsonStream

            self.stream = JsonStream(self.line)
        return self.stream

    def style(self, name: str = "stdout") -> Style:
        """How wide and colourful text for `stdout` or `stderr` may be."""
        from imgmigrate.render.style import Style

        return Style(width=self.width(), colour=self.colours(name))

    def colours(self, name: str) -> bool:
        """Tell whether a stream is a terminal whose owner wants colours (no-color.org)."""
        plain = self.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return not plain and _file(name).isatty()

    def width(self) -> int:
        """The terminal's columns; 80 where there is no terminal."""
        import shutil

        return shutil.get_terminal_size((FALLBACK_WIDTH, 24)).columns

    def flush(self) -> None:
        """Push out what is buffered."""
        for name in ("stdout", "stderr"):
            self._write(name, "")

    def _write(self, name: str, text: str) -> None:
        file = _file(name)
        file.write(text)
        file.flush()


def _file(name: str) -> IO[str]:
    return sys.stdout if name == "stdout" else sys.stderr


def report(error: BaseException, settings: Settings) -> None:
    """Print what ended the command: each cause, and below it what to do."""
    output = settings.output
    if isinstance(error, click.exceptions.Exit):
        return
    if settings.is_debugging:
        output.note(redact("".join(traceback.format_exception(error))).rstrip())
    if isinstance(error, click.ClickException):
        _report_usage(error, output)
        return
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        output.note("Error: interrupted")
        return
    if output.stream:
        output.stream.error(error)
        return
    from imgmigrate.render.errors import causes, hint_of, message_of

    for cause in causes(error):
        first, *rest = message_of(cause).split("\n")
        output.say(f"Error: {first}")
        for line in rest:
            output.say(line, indent="  ", hanging="    ")
        hint = hint_of(cause)
        if hint and isinstance(cause, Interrupted):  # a command, to be pasted
            output.note(f"  {hint}")
        elif hint:
            output.say(hint, indent="  ")
        if not isinstance(cause, ImgmigrateError) and not settings.is_debugging:
            output.note("  this is unexpected; --log-level debug shows where it happened")


def _report_usage(error: click.ClickException, output: Output) -> None:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        output.note(error.format_message())
        return
    output.say(f"Error: {redact(error.format_message())}")
    if isinstance(context, click.Context):
        output.note(f"  see: {context.command_path} --help")


class _Redacting(logging.Formatter):
    """Formats a record, traceback included, and blanks out secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Stderr(logging.StreamHandler[IO[str]]):
    """Follows `sys.stderr`, which a live display replaces while it runs."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop a line that cannot be written: a log must not stop the work."""


@contextmanager
def logging_to_stderr(settings: Settings) -> Iterator[None]:
    """Log to stderr as long as the command runs, at the level that `settings` is told."""
    handler = _Stderr()
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    levels = {logger: logger.level for logger in (root, logging.getLogger("imgmigrate"))}
    root.addHandler(handler)
    settings.set_log_level("warning")
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)
