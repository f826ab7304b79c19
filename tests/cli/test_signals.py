"""A signal while nothing runs that it could cancel."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from imgmigrate.cli.signals import SIGNALS, interruptible
from imgmigrate.errors import Interrupted


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("consequence", "end"), [(None, ""), ("nothing was changed", "; nothing was changed")]
)
def test_a_signal_is_an_error_with_its_code(
    number: signal.Signals, consequence: str | None, end: str
) -> None:
    """Whatever waits is left, what it has changed is told, and handlers are put back."""
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(Interrupted) as caught, interruptible(consequence):
        os.kill(os.getpid(), number)
    assert caught.value.message == f"interrupted by {number.name}{end}"
    assert caught.value.signal_number == number
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_other_threads_are_left_alone() -> None:
    """Only the main thread may handle signals, so elsewhere the block just runs."""
    reached = []

    def work() -> None:
        with interruptible():
            reached.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert reached == [signal.getsignal(signal.SIGTERM)]
