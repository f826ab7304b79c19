"""Signals: the first cancels, the second leaves, a hang is ended."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

import pytest

from imgmigrate.cli.output import Output
from imgmigrate.cli.run import is_live, run, watching
from imgmigrate.render.changes.tally import Tally
from imgmigrate.render.lines import LineProgress
from imgmigrate.render.progress import LiveProgress
from tests.cli.helpers import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Start a process; it is ready.
    Start = Callable[[str], "Process"]

PRELUDE = """
import asyncio, sys
from imgmigrate.cli import run as running
from imgmigrate.errors import Interrupted

# However long a busy machine takes to tidy up.
running.LAST_RESORT_SECONDS = 3600

async def wait_for_ever():
    print("ready", flush=True)
    await asyncio.Event().wait()

async def tidy_up():
    try:
        await wait_for_ever()
    finally:
        print("tidied", flush=True)

async def refuse_to_end():
    try:
        await wait_for_ever()
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        await asyncio.Event().wait()

async def finish_anyway():
    try:
        await wait_for_ever()
    except asyncio.CancelledError:
        return 7

def go(work):
    try:
        code = running.run(work)
    except Interrupted as error:
        print(error.message, flush=True)
        code = 128 + error.signal_number
    sys.exit(code)
"""


class Process:
    """A Python process that is told apart by what it prints."""

    def __init__(self, script: str, err: IO[str]) -> None:
        self._err = err
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )

    def expect(self, line: str) -> None:
        """Wait until the process has printed this line next."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == line

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end: exit code, remaining stdout, stderr.

        Not by `communicate`, which does not see what `expect` has read of the next lines.
        """
        assert self._process.stdout is not None
        out = self._process.stdout.read()
        code = self._process.wait()
        self._err.seek(0)
        return code, out, self._err.read()

    def close(self) -> None:
        """Leave nothing behind, whatever became of it."""
        self._process.kill()
        with self._process:
            pass


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that are ready; all die with the test."""
    with ExitStack() as stack:

        def start(script: str) -> Process:
            # A file, so that nothing has to read two streams at once.
            process = Process(script, stack.enter_context(tempfile.TemporaryFile("w+")))
            stack.callback(process.close)
            process.expect("ready")
            return process

        yield start


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_first_signal_cancels_and_lets_tidy_up(
    start: Start, number: signal.Signals, code: int
) -> None:
    """The work ends by cancellation, so its cleaning up runs, and the signal is told."""
    process = start("go(tidy_up)")
    process.send(number)
    ended, out, err = process.end()
    assert ended == code
    assert out.splitlines() == ["tidied", f"interrupted by {number.name}"]
    assert "a second signal leaves at once" in err


def test_a_terminal_that_is_gone_does_not_keep_a_run_from_ending(start: Start) -> None:
    """A hang-up takes the terminal along, so nothing can be said on it."""
    process = start("import os; os.close(2); go(tidy_up)")
    process.send(signal.SIGHUP)
    ended, out, _ = process.end()
    assert (ended, out.splitlines()) == (129, ["tidied", "interrupted by SIGHUP"])


def test_a_hang_up_is_ignored_under_nohup(start: Start) -> None:
    """Who started us with SIGHUP ignored wants the run to outlive the terminal."""
    script = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); go(tidy_up)"
    process = start(script)
    process.send(signal.SIGHUP)
    process.send(signal.SIGTERM)
    ended, out, _ = process.end()
    assert (ended, out.splitlines()) == (143, ["tidied", "interrupted by SIGTERM"])


def test_ctrl_c_while_modules_load_is_no_traceback() -> None:
    """Nothing has begun by then: the exit code is all that there is to say."""
    script = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "imgmigrate.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from imgmigrate.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_second_signal_leaves_at_once(start: Start) -> None:
    """Work that does not end can always be left, with the code of the first signal."""
    process = start("go(refuse_to_end)")
    process.send(signal.SIGTERM)
    process.expect("cancelled")
    process.send(signal.SIGINT)
    assert process.end()[0] == 143


def test_work_that_hangs_is_ended(start: Start) -> None:
    """Five seconds after the first signal the process is gone, whatever hangs."""
    process = start("running.LAST_RESORT_SECONDS = 0.01; go(refuse_to_end)")
    process.send(signal.SIGINT)
    assert process.end()[0] == 130


def test_a_signal_wakes_a_loop_that_waits(start: Start) -> None:
    """Also one that interrupts no system call: it came just before, or to another thread."""
    script = """
import signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
go(tidy_up)
"""
    process = start(script)
    process.send(signal.SIGTERM)
    ended, out, _ = process.end()
    assert (ended, out.splitlines()) == (143, ["tidied", "interrupted by SIGTERM"])


@pytest.mark.parametrize(("is_bulk", "loop"), [(False, "uvloop"), (True, "asyncio.unix_events")])
def test_the_loop_fits_the_work(is_bulk: bool, loop: str) -> None:
    """Many requests go faster over uvloop; large layers do not, and its TLS takes more memory."""

    async def kind() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run(kind, is_bulk=is_bulk) == loop


def test_work_that_finishes_anyway_keeps_its_result(start: Start) -> None:
    """A signal that comes too late changes nothing."""
    process = start("go(finish_anyway)")
    process.send(signal.SIGINT)
    assert process.end()[0] == 7


def test_a_signal_before_the_loop_runs_is_not_lost(start: Start) -> None:
    """Also a signal that arrives while the loop is being made ends the work."""
    script = """
import os, signal
real = running._loop_factory
def factory():
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return real()
running._loop_factory = factory
go(wait_for_ever)
"""
    ended, out, _ = start(script).end()
    assert (ended, out.strip()) == (143, "interrupted by SIGTERM")


@pytest.mark.parametrize(
    ("terminal", "environment", "live"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"CI": "true"}, False),
    ],
)
def test_only_a_terminal_that_can_be_redrawn_gets_a_live_display(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environment: dict[str, str], live: bool
) -> None:
    """Pipes, dumb terminals and CI systems get plain lines."""
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", Terminal() if terminal else io.StringIO())
    assert is_live() is live
    with watching(Output(), Tally()) as sink:
        assert isinstance(sink, LiveProgress if live else LineProgress)


def test_handlers_are_put_back() -> None:
    """After the work the process handles signals as before."""

    async def work() -> int:
        return 1

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert run(work) == 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_cancellation_of_its_own_is_no_interruption() -> None:
    """Work that cancels itself is a defect, and is not dressed up as a signal."""

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(work)
