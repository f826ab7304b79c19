"""The options that allow deletes, and limit them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.values.shares import read_share
from tests.render import samples

if TYPE_CHECKING:
    from tests.cli.helpers import Cli, Engine

DELETE = samples.change("harbor.new/a:1", "delete", "rule_removed", before=samples.digest("old"))


@pytest.mark.parametrize("command", [("plan",), ("apply", "--auto-approve")], ids=" ".join)
def test_options_reach_the_planner(cli: Cli, engine: Engine, command: tuple[str, ...]) -> None:
    """`plan`, and `apply` without PLAN, plan with what is allowed."""
    engine.plan = samples.plan(DELETE)
    assert cli(*command, "-allow-delete", "-max-delete=2.5%") == 0
    ((_, options),) = engine.planned
    assert options.allow_delete
    assert not options.allow_delete_gone
    assert not options.forget
    assert options.max_delete == read_share("2.5%")


@pytest.mark.parametrize("option", ["allow_delete", "allow_delete_gone", "forget"])
def test_each_way_to_let_go_is_asked_for_by_itself(cli: Cli, engine: Engine, option: str) -> None:
    """None of them brings another along."""
    assert cli("plan", f"--{option.replace('_', '-')}") == 0
    ((_, options),) = engine.planned
    asked = {name for name in ("allow_delete", "allow_delete_gone", "forget")
             if getattr(options, name)}  # fmt: skip
    assert asked == {option}


def test_what_is_too_many_is_allowed_by_the_options_it_needs(cli: Cli, engine: Engine) -> None:
    """The command that is named allows what was blocked, and no other kind."""
    gone = samples.change("harbor.new/a:1", "blocked", "max_delete_gone")
    engine.plan = samples.plan(gone)
    assert cli("plan", "--allow-delete-gone", "--max-delete", "0") == 6
    assert "--allow-delete-gone --max-delete 1" in " ".join(cli.out.split())
    assert "--allow-delete " not in cli.out


def test_nothing_is_deleted_unless_that_is_allowed(cli: Cli, engine: Engine) -> None:
    """The default lets go, and deletes nothing."""
    assert cli("plan") == 0
    ((_, options),) = engine.planned
    assert not options.allow_delete
    assert options.max_delete is None


def test_a_preview_names_the_command_that_plans_the_same(cli: Cli, engine: Engine) -> None:
    """What is saved next must have the rows that were shown."""
    engine.plan = samples.plan(DELETE)
    assert cli("plan", "--allow-delete", "--target", "harbor.new/**") == 0
    assert "--allow-delete" in cli.out
    assert "--out plan.out" in cli.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--max-delete", "3"],
        ["plan", "--allow-delete", "--max-delete", "some"],
        ["plan", "--allow-delete", "--max-delete", "101%"],
        ["plan", "--allow-delete", "--refresh-only"],
        ["plan", "--allow-delete-gone", "--refresh-only"],
        ["plan", "--forget", "--refresh-only"],
        ["plan", "--forget", "--explain", "1"],
        ["plan", "--from", "a.example/a:1", "--to", "b.example/a", "--allow-delete"],
        ["plan", "--from", "a.example/a:1", "--to", "b.example/a", "--allow-delete-gone"],
        ["plan", "--from", "a.example/a:1", "--to", "b.example/a", "--forget"],
        ["apply", "plan.out", "--forget"],
        ["rollback", "plan.out", "--forget"],
        ["plan", "--allow-delete", "--explain", "1"],
        ["apply", "plan.out", "--allow-delete"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(cli: Cli, arguments: list[str]) -> None:
    """A limit without leave, a number that is none, and leave for what is planned already."""
    assert cli(*arguments) == 64
    assert cli.out == ""
    assert cli.err
