"""What a signal does while no work runs that it could cancel: it ends the command, with its code.

While work runs, `run.py` has handlers of its own.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imgmigrate.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

__all__ = ["SIGNALS", "heeded", "interruptible", "wait_for_input"]

# A closed terminal or ssh session hangs up on its programs: that ends a run as SIGTERM does.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded(signals: Sequence[signal.Signals] = SIGNALS) -> list[signal.Signals]:
    """Leave out a hang-up that whoever started us wants ignored, as `nohup` does."""
    return [
        each
        for each in signals
        if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN
    ]


@contextmanager
def interruptible(
    consequence: str | None = None, signals: Sequence[signal.Signals] = SIGNALS
) -> Iterator[None]:
    """Turn a signal into Interrupted, which may say what it has changed.

    Only the main thread gets signals: in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _: FrameType | None) -> None:
        message = f"interrupted by {signal.Signals(number).name}"
        raise Interrupted(number, f"{message}; {consequence}" if consequence else message)

    previous = {each: signal.signal(each, on_signal) for each in heeded(signals)}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def wait_for_input(descriptor: int) -> None:
    """Wait until there is something to read, or its end; the handler of a signal runs at once.

    Handlers run between two lines of Python. A signal that came after the last line before a read
    would be heard only when somebody types: Python's own C handler writes to a pipe, which ends
    the wait.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    previous = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        while descriptor not in select.select([descriptor, woken], [], [])[0]:
            os.read(woken, 4096)
    finally:
        signal.set_wakeup_fd(previous)
        os.close(woken)
        os.close(waker)
