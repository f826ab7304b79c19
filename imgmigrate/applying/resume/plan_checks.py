"""Whether a plan may be applied to a state: whose it is, its lineage, its age, rows that moved.

Pure but for the history that it is told to look at. Each refusal says what differs, who moved
it and when, and the next command.
"""

from __future__ import annotations

import os.path
import re
import shlex
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from imgmigrate.config.values.paths import default_place
from imgmigrate.errors import PlanRefused, RowConflict
from imgmigrate.events import Outcome, Receipt
from imgmigrate.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.config.model import Config
    from imgmigrate.plan import Change, Plan
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["REPLAN", "check_age", "check_binding", "check_first", "check_unmoved", "stale"]

# Who does not know how we were called is told the plain command.
REPLAN = remedy("plan", out="plan.out")
# What `plan` names: a plan that is kept beside a state.
_KEPT = re.compile("sha256:[0-9a-f]{64}")
# Clocks differ: a plan may seem to be made so many seconds after now.
MOST_SKEW = 300
# Addresses that a refusal names; all of them would bury why.
MOST_NAMED = 10


class History(Protocol):
    """The past of a state, as far as it is remembered."""

    async def remembers(self, sequence: int, head: str) -> bool:
        """Tell whether a line is in it."""


def check_first(plan: Plan, config: Config, file: str = "plan.out") -> None:
    """Refuse a plan made without a state, or before any for another config or place.

    It has no lineage to tell one state from another, and would fit them all. `file` is what the
    plan is called, its file or the sha256 by which a state keeps it, for the command that is right.
    """
    if plan.header.stateless:
        message = f"plan {plan.plan_id}: made without a state, so what is ours was not known"
        raise PlanRefused(message, hint=f"it is for readers; plan again here: {REPLAN}")
    bound = plan.header.state
    if bound.lineage is not None or bound.name is None:
        return
    if bound.name != config.name:
        this = config.name or "no config"
        message = f"plan {plan.plan_id}: made for {bound.name}, before it had a state; "
        message += f"this is {this}"
    elif bound.place is not None and not _is_same_place(bound.place, config):
        message = f"plan {plan.plan_id}: made for the state {bound.place} of {bound.name}, "
        message += f"before that was there; this is {config.place}"
    else:
        return
    raise PlanRefused(message, hint=f"apply it where it belongs: {_right_command(plan, file)}")


def _is_same_place(place: str, config: Config) -> bool:
    if place == config.place or config.backend:
        return place == config.place
    return os.path.realpath(config.base / place) == os.path.realpath(config.state)


def _right_command(plan: Plan, file: str) -> str:
    header = plan.header
    path = PurePosixPath(header.config or header.state.name or "CONFIG")
    place = header.state.place or default_place(path)
    state = None if place == default_place(path) else str(path.parent / place)
    if _KEPT.fullmatch(file):
        return remedy("apply", config=str(path), state=state, plan=file)
    return f"{remedy('apply', config=str(path), state=state)} {shlex.quote(file)}"


async def check_binding(plan: Plan, state: State, history: History, replan: str = REPLAN) -> None:
    """Refuse a plan that was made from another state than this one's past."""
    bound = plan.header.state
    if bound.lineage is None:
        return
    name = f"plan {plan.plan_id}"
    if bound.lineage != state.lineage:
        found = f"its lineage is {state.lineage}" if state.lineage else "there is no state yet"
        message = f"{name}: made from a state of lineage {bound.lineage}; here {found}"
        message += _last_run(state)
        raise PlanRefused(message, hint=f"check `state` and state.path, or plan again: {replan}")
    if bound.sequence > state.sequence:
        message = (
            f"{name}: made from a newer state (sequence {bound.sequence}) than the one here "
            f"(sequence {state.sequence})" + _last_run(state)
        )
        raise PlanRefused(message, hint=f"restore the newer state, or plan again: {replan}")
    if not await history.remembers(bound.sequence, bound.head):
        message = (
            f"{name}: the state's history does not contain the point that the plan was made "
            f"from (sequence {bound.sequence})" + _last_run(state)
        )
        raise PlanRefused(message, hint=f"the state was replaced since; plan again: {replan}")


def check_age(
    plan: Plan,
    state: State,
    most: float | None,
    now: datetime,
    *,
    limit: str = "`max_plan_age`",
    replan: str = REPLAN,
) -> None:
    """Refuse a plan older than `most` seconds, unless a run of it has begun: that one goes on.

    `limit` is who says so.
    """
    if most is None or any(run.plan_id == plan.plan_id for run in state.runs):
        return
    name, said = f"plan {plan.plan_id}", plan.header.created_at
    try:
        made = datetime.fromisoformat(said)
        age = (now - made).total_seconds() if made.tzinfo is not None else None
    except (ValueError, OverflowError):
        age = None
    if age is None or age < -MOST_SKEW:
        cause = "that is no time with its zone" if age is None else "that is in the future"
        message = f"{name}: made at {said}, {cause}, so it cannot be told how old it is"
        raise PlanRefused(f"{message}; {limit} is asked", hint=f"plan again: {replan}")
    if age > most:
        message = (
            f"plan {plan.plan_id}: made at {plan.header.created_at}, {_span(age)} ago; "
            f"{limit} allows {_span(most)}"
        )
        raise PlanRefused(message, hint=f"plan again: {replan}")


def check_unmoved(plan: Plan, stale: Sequence[Receipt], replan: str = REPLAN) -> None:
    """Refuse the whole plan if the state has moved under some row of it."""
    if not stale:
        return
    rows = "1 row is" if len(stale) == 1 else f"{len(stale)} rows are"
    lines = [f"plan {plan.plan_id}: `strict`: {rows} no longer true"]
    lines += [_line(receipt) for receipt in stale[:MOST_NAMED]]
    if len(stale) > MOST_NAMED:
        lines.append(f"and {len(stale) - MOST_NAMED} more")
    raise PlanRefused("\n".join(lines), hint=f"plan again: {replan}")


def stale(change: Change, record: ImageRecord | None) -> Receipt:
    """The receipt of a row that the state has overtaken: what was planned from, what is there."""
    planned = change.recorded.short if change.recorded else "no record"
    if record is None:
        found = "its record is gone"
    else:
        found = f"run {record.run} recorded {record.digest.short} at {record.at}"
        if record.plan_id:
            found += f" (plan {record.plan_id})"
    cause = f"the state moved since the plan ({planned}): {found}"
    hint = "plan again for this image"
    error = RowConflict(cause, subject=str(change.address), hint=hint)
    return Receipt(change.address, Outcome.CONFLICT, error=error)


def _line(receipt: Receipt) -> str:
    return receipt.error.message if receipt.error else str(receipt.address)


def _last_run(state: State) -> str:
    if not state.runs:
        return ""
    run = state.runs[-1]
    return f"; the last run here is {run.run} of plan {run.plan_id}, begun at {run.began_at}"


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
