"""The one place that decides the process's exit code (DESIGN section 9).

| code | meaning |
| --- | --- |
| 0 | ok |
| 1 | error, nothing changed; also a damaged state, an answer that was not `yes`, or a registry |
|   | that does not do what the rules need (`validate --online`) |
| 2 | only `plan --detailed-exitcode`: something at a destination would change, or, with |
|   | `--refresh-only`, has moved since it was recorded; and `pin --check`: sources have moved |
| 3 | a plan has error rows; a source to pin was not read; or an apply began and some row is not |
|   | done |
| 4 | the plan was refused |
| 5 | the state is locked |
| 6 | a guard refused; also if the rest was planned or done, and `max_delete` kept the deletes |
| 8 | images moved, but the state could not be written |
| 64 | usage or config error |
| 129, 130, 143 | interrupted; the state is consistent |
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from imgmigrate.errors import GuardError, ImgmigrateError, Interrupted, UsageError

if TYPE_CHECKING:
    from imgmigrate.events import RunFinished
    from imgmigrate.plan import Plan

__all__ = ["Applied", "Declined", "Pinned", "Planned", "Probed", "exit_code"]

OK = 0
FAILED = 1
CHANGES = 2
PARTLY = 3
USAGE = UsageError.exit_code
SIGNALLED = 128

# Of several errors at once, the one whose reader has most at stake: images that moved unrecorded
# come first, then refusals, then the user's own signal, then everything unclassified.
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_GRAVEST_FIRST = (8, 6, 5, 4, 3, USAGE, *(SIGNALLED + each for each in _SIGNALS))


@dataclass(frozen=True, slots=True)
class Planned:
    """`plan` ended with this plan; `detailed` if the exit code shall tell of changes."""

    plan: Plan
    detailed: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """`apply` ended; `result` is None where there was nothing to do."""

    plan: Plan
    result: RunFinished | None


@dataclass(frozen=True, slots=True)
class Declined:
    """The user did not say `yes`."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """`pin` ended; `unread` if a source could not be, `moved` if `--check` found differences."""

    unread: bool
    moved: bool


@dataclass(frozen=True, slots=True)
class Probed:
    """`validate --online` ended; `works` if the registries do all that the rules need."""

    works: bool


def exit_code(outcome: object) -> int:
    """Map how a command ended, or what it raised, to the process's exit code."""
    match outcome:
        case Planned():
            return _planned(outcome)
        case Applied():
            return _applied(outcome)
        case Declined():
            return FAILED
        case Pinned():
            return PARTLY if outcome.unread else CHANGES if outcome.moved else OK
        case Probed():
            return OK if outcome.works else FAILED
        case BaseException():
            return _raised(outcome)
        case int():  # click's own: 0 after --help and --version
            return outcome
    return OK


def _planned(outcome: Planned) -> int:
    summary = outcome.plan.summary
    if _is_over_limit(outcome.plan):
        return GuardError.exit_code
    if summary.error:
        return PARTLY
    moved = outcome.plan.header.refresh_only and bool(outcome.plan.changes)
    return CHANGES if outcome.detailed and (summary.alters or moved) else OK


def _applied(outcome: Applied) -> int:
    summary, result = outcome.plan.summary, outcome.result
    if _is_over_limit(outcome.plan):
        return GuardError.exit_code
    if summary.error or summary.conflict:
        return PARTLY
    if result is None:
        return OK
    undone = [number for each, number in result.counts.items() if not each.is_done]
    return PARTLY if result.unfinished or any(undone) else OK


def _is_over_limit(plan: Plan) -> bool:
    """Tell whether `max_delete` stopped deletes: graver than what else is not done."""
    return any(change.is_over_limit for change in plan.changes)


def _raised(error: BaseException) -> int:
    match error:
        case BaseExceptionGroup():
            codes = {_raised(each) for each in error.exceptions}
            return next((code for code in _GRAVEST_FIRST if code in codes), FAILED)
        case Interrupted():
            return SIGNALLED + error.signal_number
        case ImgmigrateError():
            return error.exit_code
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            return USAGE
        case KeyboardInterrupt() | click.Abort():
            return SIGNALLED + signal.SIGINT
    return FAILED
