"""Where text goes."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest

from imgmigrate.cli.given.options import Settings
from imgmigrate.cli.output import Output, logging_to_stderr
from imgmigrate.redaction import hide
from tests.support.cli import TIMEOUT


class Tty(io.StringIO):
    """An output that claims to be a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def test_a_reader_that_leaves_does_not_stop_the_work() -> None:
    """`imgmigrate ... | head` goes on quietly and exits as if all had been read."""
    script = """
import sys
from imgmigrate.cli.output import Output
from imgmigrate.cli.streams import guarded_streams
with guarded_streams():
    output = Output()
    sys.stdin.readline()
    for _ in range(3):
        output.text("x" * 100_000 + "\\n")
    output.note("still here")
    output.flush()
sys.exit(7)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate("go\n", timeout=TIMEOUT)
    assert (process.returncode, err) == (7, "still here\n")


@pytest.mark.parametrize(
    ("terminal", "environment", "no_color", "coloured"),
    [
        (True, {}, False, True),
        (True, {}, True, False),
        (True, {"NO_COLOR": "1"}, False, False),
        (True, {"NO_COLOR": ""}, False, True),
        (True, {"TERM": "dumb"}, False, False),
        (False, {}, False, False),
    ],
)
def test_colours_need_a_terminal_whose_owner_wants_them(
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    environment: dict[str, str],
    no_color: bool,
    coloured: bool,
) -> None:
    """NO_COLOR, `--no-color`, a dumb terminal and a pipe all mean plain text."""
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", Tty() if terminal else io.StringIO())
    output = Output()
    output.no_color = no_color
    assert output.style().colour is coloured


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS counts; without it and without a terminal lines have 80 columns."""
    monkeypatch.setattr("sys.__stdout__", io.StringIO())
    assert Output().style().width == 80
    monkeypatch.setenv("COLUMNS", "132")
    assert Output().style().width == 132


def test_text_in_a_narrow_encoding_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that knows only ASCII shows an escape instead of failing."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Output().line("a…b")
    assert raw.getvalue() == b"a\\u2026b\n"


def test_logs_are_redacted_and_end_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Secrets in log lines and tracebacks are blanked, and no handler stays behind."""
    hide("correct-horse")
    root = logging.getLogger()
    before = list(root.handlers), root.level
    settings = Settings(Output())
    with logging_to_stderr(settings):
        settings.set_log_level("info")
        logging.getLogger("imgmigrate.test").info("token=%s", "abcdefgh")
        try:
            message = "with correct-horse"
            raise ValueError(message)
        except ValueError:
            logging.getLogger("imgmigrate.test").exception("failed")
        logging.getLogger("imgmigrate.test").debug("unheard")
    err = capsys.readouterr().err
    assert "token=***" in err
    assert "ValueError: with ***" in err
    assert "unheard" not in err
    assert (list(root.handlers), root.level) == before
