"""A signal while nothing runs that it could cancel."""

from __future__ import annotations

import os
import select
import signal
import threading
from typing import Any

import pytest

from imgmigrate.cli.signals import SIGNALS, interruptible, wait_for_input
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


def test_a_signal_wakes_a_wait_that_it_came_just_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the wait is for tells of a signal too, so none is heard only once somebody types."""
    theirs, ours = os.pipe()
    others: list[list[int]] = []

    def ready(reading: list[int], *_: object) -> tuple[list[int], list[Any], list[Any]]:
        if others:
            os.write(ours, b"\n")
        else:
            os.kill(os.getpid(), signal.SIGUSR1)
        found = select_now(reading, [], [], 0)
        others.append([each for each in found[0] if each != theirs])
        return found

    select_now = select.select
    monkeypatch.setattr(select, "select", ready)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        wait_for_input(theirs)
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(theirs)
        os.close(ours)
    assert [len(each) for each in others] == [1, 0]
    assert signal.set_wakeup_fd(-1) == -1
