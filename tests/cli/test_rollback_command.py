"""`rollback` as it is typed: what it names, what it hands on, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.values.shares import read_share
from imgmigrate.plan import Plan, read_plan
from tests.render import samples
from tests.support.images import two_platforms
from tests.support.layouts import layout_tags, write_layout
from tests.support.schemas import read_lines

if TYPE_CHECKING:
    from imgmigrate.planning.rollback.rollback import RollbackOptions
    from tests.cli.helpers import Cli

RUN = "20261124T075602Z-9f3a"
BACK = samples.plan(
    samples.change(
        "harbor.new/a:1", "update", "rollback", before=samples.digest("new"), transfer_bytes=0
    ),
    undoes=RUN,
)


class Planner:
    """Stands in for planning the way back: gives a prepared plan, keeps what it was asked."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.asked: list[tuple[str | Plan, RollbackOptions]] = []

    async def make_rollback(
        self, _: object, what: str | Plan, options: RollbackOptions, **__: Any
    ) -> Plan:
        """Give the prepared plan."""
        self.asked.append((what, options))
        return self.plan


@pytest.fixture
def planner(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Planner:
    """A command line whose way back a test prepares."""
    cli.write_config()
    planner = Planner(BACK)
    monkeypatch.setattr(
        "imgmigrate.planning.rollback.rollback.make_rollback", planner.make_rollback
    )
    return planner


def test_options_reach_the_planner(cli: Cli, planner: Planner) -> None:
    """Globs, leave to delete and its limit are handed on."""
    arguments = ("--target", "harbor.new/**", "-exclude=harbor.new/b", "-allow-delete")
    assert cli("rollback", RUN, *arguments, "--max-delete", "2%", "--parallelism", "3") == 0
    ((what, options),) = planner.asked
    assert what == RUN
    assert (options.target, options.exclude) == (("harbor.new/**",), ("harbor.new/b",))
    assert (options.allow_delete, options.max_delete) == (True, read_share("2%"))
    assert options.parallelism == 3


def test_a_preview_names_the_command_that_saves_it(cli: Cli, planner: Planner) -> None:
    """With the name as it was typed, the same options, and not over the plan that is undone."""
    planner.plan.write(cli.folder / "plan.out")
    assert cli("rollback", "plan.out", "--allow-delete") == 0
    ((what, _),) = planner.asked
    assert what == BACK
    assert cli.out.startswith("Rollback: 1 to update. 0 B to transfer.")
    assert f"undoes {RUN}" in cli.out
    assert "imgmigrate rollback plan.out --allow-delete --out back.out" in cli.out


def test_a_saved_one_is_applied_like_any_plan(cli: Cli, planner: Planner) -> None:
    """The file is a plan, and the command that applies it is named."""
    assert cli("rollback", RUN, "--out", "back.out") == 0
    assert "imgmigrate apply back.out" in cli.out
    assert read_plan(cli.folder / "back.out") == BACK
    assert cli("show", "back.out") == 0
    assert f"undoes {RUN}" in cli.out
    assert cli("show", "back.out", "--format", "markdown") == 0
    assert RUN in cli.out


def test_deletes_over_the_limit_end_with_6(cli: Cli, planner: Planner) -> None:
    """The advice undoes the same thing, and does not plan something else."""
    blocked = samples.change("harbor.new/a:1", "blocked", "max_delete", before=samples.digest("n"))
    planner.plan = samples.plan(blocked, undoes=RUN)
    assert cli("rollback", RUN, "--allow-delete") == 6
    command = f"imgmigrate rollback {RUN} --allow-delete --max-delete 1 --out back.out"
    assert command in cli.out


def test_error_rows_end_with_3(cli: Cli, planner: Planner) -> None:
    """What is gone at the destination is said with the way to prevent it."""
    gone = samples.change("harbor.new/a:1", "error", "previous_gone", detail="it is not there")
    planner.plan = samples.plan(gone, undoes=RUN)
    assert cli("rollback", RUN) == 3
    assert "keep_previous" in cli.out


def test_conflicts_get_advice_that_helps(cli: Cli, planner: Planner) -> None:
    """--allow-overwrite is no option here."""
    row = samples.change("harbor.new/a:1", "conflict", "written_since", detail="run x did")
    planner.plan = samples.plan(row, undoes=RUN)
    assert cli("rollback", RUN) == 0
    assert "rollback of that run" in " ".join(cli.out.split())
    assert "--allow-overwrite" not in cli.out


def test_nothing_to_undo_is_said_so(cli: Cli, planner: Planner) -> None:
    """It is no wrong usage, and says nothing about rules."""
    planner.plan = samples.plan(unchanged=2, undoes=RUN)
    assert cli("rollback", RUN) == 0
    assert cli.out.startswith("Nothing to undo")


def test_json_says_which_operation_it_is(cli: Cli, planner: Planner) -> None:
    """The stream's summary line is of a rollback."""
    assert cli("rollback", RUN, "--json") == 0
    assert read_lines("stream", cli.out)[-1]["operation"] == "rollback"


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollback"],
        ["rollback", RUN, "--max-delete", "3"],
        ["rollback", RUN, "--replace", "a.io/b"],
        ["rollback", RUN, "--out", "nowhere/back.out"],
        ["rollback", RUN, "--out", "imgmigrate.yaml"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(cli: Cli, planner: Planner, arguments: list[str]) -> None:
    """Nothing named, a limit without leave, options of plan, and places that cannot be written."""
    assert cli(*arguments) == 64
    assert not planner.asked
    assert cli.err


def test_an_edited_plan_is_refused(cli: Cli, planner: Planner) -> None:
    """A file that is no whole plan is exit 4, as everywhere."""
    (cli.folder / "plan.out").write_bytes(BACK.encode()[:-9])
    assert cli("rollback", "plan.out") == 4
    assert not planner.asked


def test_an_unknown_run_names_the_last_ones(cli: Cli) -> None:
    """Exit 64; who mistyped a run finds it in the answer, and an empty state says that it is."""
    cli.write_config()
    assert cli("rollback", RUN) == 64
    assert "nothing was applied" in cli.err
    write_layout(cli.folder / "images" / "os", "12", two_platforms())
    assert cli("apply", "--auto-approve") == 0
    assert layout_tags(cli.folder / "bundle" / "os")
    assert cli("rollback", RUN) == 64
    assert "the last runs here" in cli.err
    assert "  plan " in cli.err
    run = cli.err.split("the last runs here:\n  ")[1].split()[0]
    assert cli("rollback", run) == 0
    assert "stays; deleted with --allow-delete" in cli.out
