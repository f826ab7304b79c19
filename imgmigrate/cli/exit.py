"""The one place that decides the process's exit code (DESIGN section 9).

| code | meaning |
| --- | --- |
| 0 | ok |
| 1 | error, nothing changed; also a damaged state, an answer that was not `yes`, a registry |
|   | that does not do what the rules need (`validate --online`), or a stdout that cannot be |
|   | written, of a command that leaves nothing else |
| 2 | only `plan --detailed-exitcode`: something at a destination would change or is a conflict, |
|   | or, with `--refresh-only`, has moved since it was recorded; `pin --check`: sources have |
|   | moved; `verify`: images are not whole, or other ones; and `compare`: they are not equal |
| 3 | what another run may mend: a plan has error rows; a source to pin, or an image to verify, |
|   | was not read; or an apply began and some row failed or was not reached |
| 4 | the plan was refused |
| 5 | the state is locked |
| 6 | a guard refused; also if the rest was planned or done, and `max_delete` kept the deletes, |
|   | `protect` one of them, or `verify` an image that is not signed |
| 7 | what a person must decide: all that an apply left are conflicts |
| 8 | images moved, but the state could not be written |
| 64 | usage or config error |
| 129, 130, 143 | interrupted; the state is consistent |
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from imgmigrate.errors import GuardError, ImgmigrateError, Interrupted, UsageError

if TYPE_CHECKING:
    from imgmigrate.events import Outcome, RunFinished
    from imgmigrate.plan import Action, Plan

__all__ = ["Applied", "Declined", "Pinned", "Planned", "Probed", "Proved", "exit_code"]

OK = 0
FAILED = 1
CHANGES = 2
PARTLY = 3
CONFLICTS = 7
USAGE = UsageError.exit_code
SIGNALLED = 128

# Of several errors at once, the one whose reader has most at stake: images that moved unrecorded
# come first, then refusals, then the user's own signal, then everything unclassified.
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_GRAVEST_FIRST = (8, 6, 5, 4, 3, USAGE, *(SIGNALLED + each for each in _SIGNALS))


class Planned(Struct, frozen=True):
    """`plan` ended with this plan; `detailed` if the exit code shall tell of changes."""

    plan: Plan
    detailed: bool = False


class Applied(Struct, frozen=True):
    """`apply` ended; `result` is None where there was nothing to do."""

    plan: Plan
    result: RunFinished | None


class Declined(Struct, frozen=True):
    """The user did not say `yes`."""


class Pinned(Struct, frozen=True):
    """`pin` ended; `unread` if a source could not be, `moved` if `--check` found differences."""

    unread: bool
    moved: bool


class Probed(Struct, frozen=True):
    """`validate --online` ended; `works` if the registries do all that the rules need."""

    works: bool


class Proved(Struct, frozen=True):
    """`verify` or `compare` ended; `unread` if an image could not be read: nobody knows then."""

    whole: bool
    unread: bool


def exit_code(outcome: object, *, is_untold: bool = False) -> int:
    """Map how a command ended, or what it raised, to the process's exit code.

    `is_untold`: what it was to print is lost, and that was all that it was to leave.
    """
    code = _code(outcome)
    return FAILED if code == OK and is_untold else code


def _code(outcome: object) -> int:
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
        case Proved():
            return PARTLY if outcome.unread else OK if outcome.whole else CHANGES
        case BaseException():
            return _raised(outcome)
        case int():  # click's own: 0 after --help and --version
            return outcome
    return OK


def _planned(outcome: Planned) -> int:
    summary = outcome.plan.summary
    if _is_over_limit(outcome.plan):
        return GuardError.exit_code
    if summary.count_of(_is_for_another_run):
        return PARTLY
    moved = outcome.plan.header.refresh_only and bool(outcome.plan.changes)
    differs = summary.alters or summary.count_of(_is_for_a_person) or moved
    return CHANGES if outcome.detailed and differs else OK


def _applied(outcome: Applied) -> int:
    from imgmigrate.events import Outcome

    summary, result = outcome.plan.summary, outcome.result
    if _is_over_limit(outcome.plan) or (result and _is_guarded(result)):
        return GuardError.exit_code
    undone = _undone(result) if result else set()
    is_partly = summary.count_of(_is_for_another_run) or outcome.plan.unknown
    if is_partly or undone - {Outcome.CONFLICT}:
        return PARTLY
    return CONFLICTS if summary.count_of(_is_for_a_person) or undone else OK


def _is_for_another_run(action: Action) -> bool:
    return action.traits.needs == "another run"


def _is_for_a_person(action: Action) -> bool:
    return action.traits.needs == "a person"


def _undone(result: RunFinished) -> set[Outcome]:
    """The ways in which rows ended without being done."""
    counted = {each for each, number in result.counts.items() if number and not each.is_done}
    return counted | {receipt.outcome for receipt in result.unfinished}


def _is_guarded(result: RunFinished) -> bool:
    """Tell whether a guard refused some row: the rest was done."""
    return any(isinstance(receipt.error, GuardError) for receipt in result.unfinished)


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
