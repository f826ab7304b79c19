"""How much a command tells of its way: --quiet, --verbose, and lines that fit a terminal."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.cli.output import Output
from imgmigrate.events import ImageFinished, ImageStarted, Outcome, Receipt, RunStarted, Warned
from tests.cli.helpers import Terminal
from tests.render import samples

if TYPE_CHECKING:
    from tests.cli.helpers import Cli, Engine

COPIES = tuple(samples.change(f"harbor.new/team/a:{n}", "copy", "new") for n in range(2))


@pytest.fixture(autouse=True)
def run(engine: Engine) -> Engine:
    """A run of two images, and a warning on its way."""
    engine.plan = samples.plan(*COPIES)
    engine.events = (
        RunStarted("run", "plan", images=2, size=None),
        *(ImageStarted(row.address) for row in COPIES),
        *(ImageFinished(Receipt(row.address, Outcome.APPLIED)) for row in COPIES),
        Warned("code", "mind this"),
    )
    return engine


def test_a_log_of_an_apply_has_no_line_for_what_is_done(cli: Cli) -> None:
    """The end says how many there were."""
    assert cli("apply", "--auto-approve") == 0
    assert "harbor.new/team/a" not in cli.err
    assert cli.out.splitlines()[-1].startswith("Apply complete: 2 done")


def test_verbose_has_a_line_for_each_image(cli: Cli) -> None:
    """Who wants to follow each image can."""
    assert cli("apply", "--auto-approve", "--verbose") == 0
    assert [line.partition(" ")[0] for line in cli.err.splitlines() if "done" in line][-2:] == [
        "[1/2]",
        "[2/2]",
    ]


def test_quiet_prints_the_end_alone(cli: Cli) -> None:
    """Neither the plan nor progress; warnings are never swallowed."""
    assert cli("apply", "--auto-approve", "--quiet") == 0
    assert cli.out.splitlines() == ["Apply complete: 2 done; 4.00 KiB moved in 2.0 s, 2.00 KiB/s."]
    assert set(cli.err.splitlines()) == {"Warning: mind this"}


def test_a_quiet_plan_is_its_headline(cli: Cli) -> None:
    """One sentence says what would change."""
    assert cli("plan", "--quiet") == 0
    assert cli.out.splitlines() == ["Plan: 2 to copy. ? to transfer (sizes unknown)."]


def test_who_is_asked_sees_the_plan_all_the_same(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody says yes to what was not shown."""
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    assert cli("apply", "--quiet") == 1
    assert "harbor.new/team/a:0" in cli.out


def test_json_tells_everything_however_quiet(cli: Cli) -> None:
    """A stream is read by programs, which skip what they do not need."""
    assert cli("apply", "--auto-approve", "--json", "--quiet") == 0
    types = {json.loads(line)["type"] for line in cli.out.splitlines()}
    assert {"planned_change", "apply_complete", "diagnostic"} <= types


ERROR = f"harbor.new/{'team/' * 12}api: denied (403), and nothing more is known of it"


class Screen(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def test_an_error_is_folded_where_a_terminal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words and addresses stay whole as far as they fit."""
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("sys.stderr", screen := Screen())
    Output().say(f"Error: {ERROR}")
    assert screen.getvalue().splitlines() == [
        "Error: harbor.new/team/team/team/team/team/team/",
        "  team/team/team/team/team/team/api: denied (403),",
        "  and nothing more is known of it",
    ]


def test_an_error_in_a_log_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What searches a log finds the whole of it."""
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("sys.stderr", log := io.StringIO())
    Output().say(f"Error: {ERROR}")
    assert log.getvalue().splitlines() == [f"Error: {ERROR}"]
