"""`plan` and `show`."""

from __future__ import annotations

import hashlib
import json
import signal
from typing import TYPE_CHECKING

import pytest

from imgmigrate.cli.commands.show import ACTIONS
from imgmigrate.errors import ImgmigrateError, Interrupted, StateError
from imgmigrate.events import Listed, Warned
from imgmigrate.oci.reference import Repository
from imgmigrate.plan import Action, read_plan
from tests.render import samples

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Change
    from tests.cli.helpers import Cli, Engine

COPY = samples.change("harbor.new/a:1", "copy", "new", transfer_bytes=2048)
ERROR = samples.change("harbor.new/b", "error", "unreadable", source=None, detail="denied")
CONFLICT = samples.change("harbor.new/c:1", "conflict", "foreign")


def test_options_reach_the_planner(cli: Cli, engine: Engine) -> None:
    """Globs, sizes, concurrency and the state's place are passed on as typed."""
    assert (
        cli(
            *("plan", "-target=a/**", "-target", "b", "-exclude=c", "-replace", "d"),
            *("-allow-overwrite=e", "-sizes=never", "-parallelism=3", "-state", "elsewhere"),
        )
        == 0
    )
    ((config, options),) = engine.planned
    assert (options.target, options.exclude) == (("a/**", "b"), ("c",))
    assert (options.replace, options.allow_overwrite) == (("d",), ("e",))
    assert (options.sizes, options.parallelism) == ("never", 3)
    assert config.state == cli.folder / "elsewhere"


def test_a_plan_is_text_on_stdout(cli: Cli, engine: Engine) -> None:
    """Without `--out` the plan is shown and called a preview; stdout has nothing else."""
    engine.plan = samples.plan(COPY)
    assert cli("plan") == 0
    assert cli.out.startswith("Plan: 1 to copy. 2.00 KiB to transfer.\n")
    assert cli.out.endswith("Plan: 1 to copy. 2.00 KiB to transfer.\n")
    assert "only a preview" in cli.out
    assert "imgmigrate plan --out plan.out" in cli.out
    assert cli.err == ""


def test_out_saves_the_plan_and_names_the_next_command(cli: Cli, engine: Engine) -> None:
    """The saved file is the plan shown, and its sha256 is what sha256sum prints."""
    engine.plan = samples.plan(COPY)
    assert cli("-c", "imgmigrate.yaml", "plan", "-out", "my plan.out") == 0
    path = cli.folder / "my plan.out"
    assert read_plan(path) == engine.plan
    assert hashlib.sha256(path.read_bytes()).hexdigest() in cli.out
    assert "imgmigrate apply --config imgmigrate.yaml 'my plan.out'" in cli.out
    assert "preview" not in cli.out


def test_a_plan_that_cannot_be_saved_is_an_error(cli: Cli, engine: Engine) -> None:
    """The place is named, and nothing pretends to have been saved."""
    (cli.folder / "there").symlink_to("/dev/full")
    assert cli("plan", "--out", "there") == 1
    assert "plan there: cannot be written" in cli.err
    assert engine.planned


@pytest.mark.parametrize(
    "place", ["no-such-folder/plan.out", "imgmigrate.yaml", "state", "imgmigrate.lock.yaml"]
)
def test_a_place_that_must_not_be_written_is_refused_first(
    cli: Cli, engine: Engine, place: str
) -> None:
    """A missing or a named folder, the config or its pins are refused before all planning."""
    (cli.folder / "state").mkdir(exist_ok=True)
    assert cli("plan", "--out", place) == 64
    assert place in cli.err
    assert not engine.planned


@pytest.mark.parametrize(
    ("rows", "arguments", "code"),
    [
        ([COPY], ["plan"], 0),
        ([COPY], ["plan", "-detailed-exitcode"], 2),
        ([CONFLICT], ["plan", "-detailed-exitcode"], 2),
        ([COPY, ERROR], ["plan", "-detailed-exitcode", "--out", "plan.out"], 3),
        ([COPY, ERROR], ["plan"], 3),
    ],
)
def test_the_exit_code_follows_the_rows(
    cli: Cli, engine: Engine, rows: list[Change], arguments: list[str], code: int
) -> None:
    """A plan that could not read everything is still shown and saved, and exits 3."""
    engine.plan = samples.plan(*rows)
    assert cli(*arguments) == code
    assert cli.out.startswith("Plan: ")
    assert (cli.folder / "plan.out").exists() == ("--out" in arguments)


def test_json_is_all_there_is_on_stdout(cli: Cli, engine: Engine) -> None:
    """Version, events, changes and summary are lines; warnings are lines too."""
    engine.plan = samples.plan(COPY, CONFLICT)
    engine.events = (Listed(Repository("harbor.old", "a"), 1), Warned("some_code", "mind this"))
    assert cli("plan", "--json", "--out", "plan.out") == 0
    lines = [json.loads(line) for line in cli.out.splitlines()]
    assert [line["type"] for line in lines] == [
        "version",
        "listed",
        "diagnostic",
        "planned_change",
        "planned_change",
        "change_summary",
    ]
    assert lines[-1]["saved"] == "plan.out"
    assert cli.err == ""


def test_errors_are_lines_in_json(cli: Cli, engine: Engine) -> None:
    """With `--json` a failure is a diagnostic on stdout, after the version line."""
    engine.error = StateError("state is damaged", hint="mend it")
    assert cli("plan", "--json") == 1
    first, second = (json.loads(line) for line in cli.out.splitlines())
    assert first["type"] == "version"
    assert (second["summary"], second["detail"]) == ("state is damaged", "mend it")
    assert cli.err == ""


def test_warnings_go_to_stderr(cli: Cli, engine: Engine) -> None:
    """In text mode stdout stays the plan alone."""
    engine.events = (Warned("some_code", "mind this"),)
    assert cli("plan") == 0
    assert cli.err == "Warning: mind this\n"


def test_errors_have_their_hint_below(cli: Cli, engine: Engine) -> None:
    """What failed stands first, what to do on the next line."""
    engine.error = ImgmigrateError("first line\nsecond line", hint="try this")
    assert cli("plan") == 1
    assert cli.err == "Error: first line\n  second line\n  try this\n"


def test_every_error_of_a_group_is_told(cli: Cli, engine: Engine) -> None:
    """A group of errors is unwrapped, never shown as a group."""
    errors = [ImgmigrateError("one"), ExceptionGroup("inner", [StateError("two")])]
    engine.error = ExceptionGroup("outer", errors)
    assert cli("plan") == 1
    assert cli.err == "Error: one\nError: two\n"


def test_the_unexpected_is_one_line_unless_debugging(cli: Cli, engine: Engine) -> None:
    """A defect does not spill a traceback, but `--log-level debug` shows it."""
    engine.error = ZeroDivisionError("oops")
    assert cli("plan") == 1
    assert "Error: ZeroDivisionError: oops" in cli.err
    assert "Traceback" not in cli.err
    assert cli("plan", "-log-level", "debug") == 1
    assert "Traceback" in cli.err


def test_an_interrupted_plan_says_that_nothing_changed(cli: Cli, engine: Engine) -> None:
    """Planning can be stopped at any time."""
    engine.error = Interrupted(signal.SIGTERM, "interrupted by SIGTERM")
    assert cli("plan") == 143
    assert "interrupted by SIGTERM while planning; nothing was changed" in cli.err


@pytest.fixture
def plan_file(cli: Cli) -> Path:
    path = cli.folder / "plan.out"
    samples.every_action().write(path)
    return path


def test_show_needs_no_config(cli: Cli, plan_file: Path) -> None:
    """A saved plan is shown offline, with the command that applies it."""
    assert cli("show", "plan.out") == 0
    assert cli.out.startswith("Plan: 4 to copy")
    assert "  imgmigrate apply plan.out\n" in cli.out
    assert plan_file.exists()


@pytest.mark.usefixtures("plan_file")
def test_show_selects_rows(cli: Cli) -> None:
    """`--only` and `--target` pick rows by action and address, both together."""
    assert cli("show", "plan.out", "-only=copy", "-only", "keep", "--target", "**/web") == 0
    assert "shown: 1 of 12 rows" in cli.out
    assert "harbor.new/team/web:3" in cli.out
    assert cli("show", "plan.out", "--target", "harbor.nwe/**") == 64
    assert "--target harbor.nwe/**: matches no address" in cli.err
    assert cli("show", "plan.out", "--target", "/(/") == 64


@pytest.mark.usefixtures("plan_file")
@pytest.mark.parametrize("option", [["--format", "json"], ["-json"], ["-format=json"]])
def test_show_gives_json_lines(cli: Cli, option: list[str]) -> None:
    """`--format json` is a header, one row a line and an end; rows can be picked there too."""
    assert cli("show", *option, "plan.out", "--only", "conflict") == 0
    header, *rows, end = (json.loads(line) for line in cli.out.splitlines())
    assert (header["type"], header["kind"]) == ("plan", "imgmigrate.plan")
    assert header["plan_id"] == samples.every_action().plan_id
    assert [row["action"] for row in rows] == ["conflict", "conflict"]
    assert (end["type"], end["changes"], end["of"]) == ("end", 2, 12)


def test_show_refuses_a_damaged_plan(cli: Cli, plan_file: Path) -> None:
    """An edited plan is not shown as if it were sound: exit 4."""
    plan_file.write_bytes(plan_file.read_bytes().replace(b'"copy"', b'"keep"'))
    assert cli("show", "plan.out") == 4
    assert cli.out == ""


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_show_without_a_plan_shows_the_state(cli: Cli, options: list[str]) -> None:
    """Without a file it is the state that is shown, here an empty one."""
    assert cli("show", "--state", "s", *options) == 0
    assert "No state yet in s" in cli.out or json.loads(cli.out)["lineage"] is None


def test_show_knows_every_action() -> None:
    """`--only` names them without loading the models, and none is missing."""
    assert sorted(ACTIONS) == sorted(Action)
