"""The exit codes of DESIGN section 9, one row each."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click
import pytest

from imgmigrate import errors
from imgmigrate.cli.exit import Applied, Declined, Planned, Proved, exit_code
from imgmigrate.events import Outcome, Receipt, RunFinished
from imgmigrate.oci.reference import Reference
from tests.render.samples import change, plan

if TYPE_CHECKING:
    from imgmigrate.plan import Plan

COPY = change("a.b/c:1", "copy", "new")
ADOPT = change("a.b/c:2", "adopt", "already_there")
KEEP = change("a.b/c:3", "keep", "source_gone")
CONFLICT = change("a.b/c:4", "conflict", "foreign")
ERROR = change("a.b/c:5", "error", "unreadable")
MOVE = change("a.b/c:6", "move", "moved")
DELETE = change("a.b/c:7", "delete", "rule_removed")
PROTECTED = change("a.b/c:8", "blocked", "protected")
OVER_LIMIT = change("a.b/c:9", "blocked", "max_delete")


@pytest.mark.parametrize(
    ("made", "code", "detailed"),
    [
        (plan(), 0, 0),
        (plan(COPY), 0, 2),
        (plan(ADOPT, KEEP), 0, 0),
        (plan(CONFLICT), 0, 2),
        (plan(COPY, CONFLICT), 0, 2),
        (plan(CONFLICT, PROTECTED), 0, 2),
        (plan(ERROR, CONFLICT), 3, 3),
        (plan(COPY, ERROR), 3, 3),
        (plan(DELETE), 0, 2),
        (plan(MOVE), 0, 2),
        (plan(PROTECTED), 0, 0),
        (plan(COPY, OVER_LIMIT), 6, 6),
        (plan(ERROR, OVER_LIMIT), 6, 6),
    ],
    ids=[
        *("nothing", "writes", "bookkeeping", "conflict", "conflict-writes"),
        *("conflict-protected", "conflict-error", "error"),
        *("delete", "move", "protected", "over-the-limit", "over-the-limit-and-error"),
    ],
)
def test_a_plan_exits_by_its_rows(made: Plan, code: int, detailed: int) -> None:
    """2 only for changes and conflicts, and only when asked; 3 and 6 win over it."""
    assert exit_code(Planned(made)) == code
    assert exit_code(Planned(made, detailed=True)) == detailed


def ended(*unfinished: Outcome, **counts: int) -> RunFinished:
    receipts = tuple(Receipt(Reference.parse("a.b/c:1"), outcome) for outcome in unfinished)
    numbers = {Outcome(name): number for name, number in counts.items()}
    return RunFinished("run", "plan", numbers, 0, 1.0, receipts)


@pytest.mark.parametrize(
    ("made", "result", "code"),
    [
        (plan(), None, 0),
        (plan(KEEP), None, 0),
        (plan(COPY), ended(applied=1), 0),
        (plan(PROTECTED), None, 0),
        (plan(OVER_LIMIT), None, 6),
        (plan(COPY, OVER_LIMIT), ended(applied=1), 6),
        (plan(COPY, OVER_LIMIT), ended(Outcome.FAILED, failed=1), 6),
        (plan(COPY), ended(already=1), 0),
        (plan(COPY), ended(applied=1, failed=0), 0),
        (plan(COPY), ended(Outcome.FAILED, failed=1), 3),
        (plan(COPY), ended(conflict=1), 7),
        (plan(COPY), ended(Outcome.CONFLICT, applied=3, conflict=1), 7),
        (plan(COPY), ended(conflict=1, failed=1), 3),
        (plan(COPY), ended(conflict=1, cancelled=1), 3),
        (plan(COPY, CONFLICT), ended(Outcome.FAILED, conflict=1, failed=1), 3),
        (plan(COPY), ended(cancelled=1), 3),
        (plan(COPY, ERROR), ended(applied=1), 3),
        (plan(COPY, CONFLICT), ended(applied=1), 7),
        (plan(COPY, CONFLICT, OVER_LIMIT), ended(applied=1), 6),
        (plan(ERROR), None, 3),
        (plan(ERROR, CONFLICT), None, 3),
        (plan(CONFLICT), None, 7),
    ],
)
def test_an_apply_exits_by_what_is_left(made: Plan, result: RunFinished | None, code: int) -> None:
    """0 only if every row is done; 3 for what another run may mend, 7 for conflicts alone."""
    assert exit_code(Applied(made, result)) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ImgmigrateError("x"), 1),
        (errors.StateError("x"), 1),
        (errors.NotFound("x", "y"), 1),
        (errors.PlanRefused("x"), 4),
        (errors.StateLocked("x"), 5),
        (errors.GuardError("x"), 6),
        (errors.StateUnsaved("x"), 8),
        (errors.UsageError("x"), 64),
        (errors.ConfigError("x"), 64),
        (errors.Interrupted(signal.SIGINT, "x"), 130),
        (errors.Interrupted(signal.SIGTERM, "x"), 143),
        (click.UsageError("x"), 64),
        (click.BadParameter("x"), 64),
        (click.exceptions.Exit(0), 0),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
        (MemoryError(), 1),
    ],
)
def test_an_error_carries_its_code(error: BaseException, code: int) -> None:
    """Each class of error exits with the one code of its kind; 2 is never among them."""
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([errors.ImgmigrateError("x"), ValueError("y")], 1),
        ([errors.StateUnsaved("x"), errors.PlanRefused("y")], 8),
        ([errors.StateLocked("x"), errors.UsageError("y")], 5),
        ([ExceptionGroup("inner", [errors.UsageError("x")]), ValueError("y")], 64),
    ],
)
def test_of_several_errors_the_gravest_decides(members: list[Exception], code: int) -> None:
    """A group exits with the code whose reader has most at stake."""
    assert exit_code(ExceptionGroup("group", members)) == code


def test_a_declined_apply_is_1_and_everything_else_0() -> None:
    """An answer that was not `yes` is 1; a command that just ends is 0."""
    assert exit_code(Declined()) == 1
    assert exit_code(None) == 0


@pytest.mark.parametrize(
    ("whole", "unread", "code"), [(True, False, 0), (False, False, 2), (False, True, 3)]
)
def test_a_verification_tells_what_is_broken_from_what_is_not_known(
    whole: bool, unread: bool, code: int
) -> None:
    """What could not be read wins: the rest is not the whole answer."""
    assert exit_code(Proved(whole, unread)) == code
