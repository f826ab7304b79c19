"""The three standard streams, so that none of them can stop the work or end up in a file of ours.

A full disk, a reader that left or a terminal that is gone loses text, never a migration: every
write of whatever library goes through a `Guard`. Descriptors that were closed from outside are
filled, or the next file that is opened would get their numbers and with them our output.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from msgspec import Struct

from imgmigrate.cli.signals import wait_for_input

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Guard", "Streams", "guarded_streams", "read_line"]

# Who closes a pipe, or a descriptor, has read all that was wanted.
_UNWANTED = (errno.EPIPE, errno.EBADF)


class Guard:
    """A text stream that never raises: what cannot be written is dropped, from then on all."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._gone = False
        # Why text is missing that somebody wanted; None if none is.
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop."""
        if not self._gone:
            try:
                self._file.write(text)
            except (OSError, ValueError) as error:
                self._lose(error)
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Push out what is buffered, or drop it."""
        if not self._gone:
            try:
                self._file.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _lose(self, error: OSError | ValueError) -> None:
        if not isinstance(error, OSError) and not self._file.closed:
            raise error
        self._gone = True
        if isinstance(error, OSError) and error.errno not in _UNWANTED:
            self.failure = error
        # What is buffered would fail again in the interpreter's last flush, and make its exit
        # code 120: let it go nowhere (docs.python.org, "Note on SIGPIPE").
        with contextlib.suppress(OSError, ValueError):
            number = self._file.fileno()
            descriptor = os.open(os.devnull, os.O_WRONLY)
            os.dup2(descriptor, number)
            os.close(descriptor)


class Streams(Struct, frozen=True):
    """The guarded stdout and stderr of a command."""

    stdout: Guard
    stderr: Guard


@contextmanager
def guarded_streams() -> Iterator[Streams]:
    """Guard stdout and stderr while a command runs, and make up for streams that are closed."""
    _fill_closed()
    streams = Streams(Guard(sys.stdout), Guard(sys.stderr))
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast("TextIO", streams.stdout), cast("TextIO", streams.stderr)
    try:
        yield streams
    finally:
        streams.stdout.flush()
        streams.stderr.flush()
        sys.stdout, sys.stderr = before


def read_line() -> str:
    """Read a line of stdin; nothing where it cannot be read."""
    with contextlib.suppress(OSError, ValueError):  # no descriptor: it never blocks
        wait_for_input(sys.stdin.fileno())
    try:
        return sys.stdin.readline()
    except (OSError, ValueError):
        return ""


def _fill_closed() -> None:
    """Open what was closed (`<&-`, `>&-`, `2>&-`): Python leaves None, the system a hole."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one: those below have been filled.
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            # Programs that we start expect three open streams as well.
            os.set_inheritable(number, True)
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
