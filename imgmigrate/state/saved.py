"""What is known of a plan that is kept beside a state, and which are kept no longer. Pure.

A plan is found by the sha256 of its bytes, and its bytes are believed for nothing else: whoever
can write where they lie can keep a plan from being applied, never have another one applied.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel

from imgmigrate.clock import timestamp
from imgmigrate.errors import StateError, UsageError
from imgmigrate.remedies import remedy
from imgmigrate.schemas.models import LENIENT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from imgmigrate.state.record import Run

__all__ = [
    "SavedPlan",
    "SavedPlans",
    "checked",
    "damaged_plan",
    "find_plan",
    "kept",
    "new_plan",
    "with_run",
    "with_runs",
]

# Days that a plan is kept after it was applied, or after a later one was saved.
KEPT_DAYS = 30
# Digits of a sha256 that name a plan: chance makes no two of the same 48 bits.
FEWEST_DIGITS = 12
_KEY = re.compile(rf"(?:sha256:)?([0-9a-f]{{{FEWEST_DIGITS},64}})")


class SavedPlan(BaseModel):
    """A plan that is kept; `run` is the last that applied it, as far as anybody knows.

    `config` is the path that it was planned from, None if there was no config. A minor version may
    add fields.
    """

    model_config = LENIENT

    sha256: str
    plan_id: str
    saved_at: str
    config: str | None = None
    run: str | None = None
    applied_at: str | None = None


class SavedPlans(BaseModel):
    """A list of them, as a file has it."""

    model_config = LENIENT

    plans: tuple[SavedPlan, ...] = ()


def new_plan(data: bytes, *, plan_id: str, config: str | None, now: datetime) -> SavedPlan:
    """Say what is known of a plan that is saved now."""
    sha256 = hashlib.sha256(data).hexdigest()
    return SavedPlan(sha256=sha256, plan_id=plan_id, saved_at=timestamp(now), config=config)


def kept(plans: Iterable[SavedPlan], now: datetime) -> tuple[SavedPlan, ...]:
    """Those to keep, the oldest first: the newest, and each whose 30 days are not over."""
    ordered = sorted(plans, key=lambda plan: plan.saved_at)
    earliest = timestamp(now - timedelta(days=KEPT_DAYS))
    overtaken = [later.saved_at for later in ordered[1:]]
    stay = [
        plan
        for plan, at in zip(ordered, overtaken, strict=False)
        if min(at, plan.applied_at or at) > earliest
    ]
    return (*stay, *ordered[-1:])


def with_run(plan: SavedPlan, run: str, at: str) -> SavedPlan:
    """The same, applied by a run."""
    return plan.model_copy(update={"run": run, "applied_at": at})


def with_runs(plans: Iterable[SavedPlan], runs: Iterable[Run]) -> list[SavedPlan]:
    """Tell what the runs that a state remembers, the oldest first, did with plans."""
    last = {run.plan_id: run for run in runs}
    found = []
    for plan in plans:
        run = last.get(plan.plan_id)
        at = run and (run.ended_at or run.last_at or run.began_at)
        found.append(with_run(plan, run.run, at) if run and at else plan)
    return found


def find_plan(plans: Iterable[SavedPlan], key: str, place: str) -> SavedPlan:
    """Find a plan by its sha256 or how that begins; UsageError if there is none, or several."""
    key = key.strip().lower()
    match = _KEY.fullmatch(key)
    if match is None:
        message = f"{key!r} is no sha256 of a plan, nor the first {FEWEST_DIGITS} digits of one"
        raise UsageError(message, hint=_listed())
    found = [plan for plan in plans if plan.sha256.startswith(match[1])]
    if len(found) == 1:
        return found[0]
    if found:
        message = f"state {place}: {len(found)} plans begin with sha256:{match[1]}"
        raise UsageError(message, hint=f"write more digits: {_listed()}")
    message = f"state {place}: no plan sha256:{match[1]} is kept there"
    again = f"plan again: {remedy('plan', save=True)}"
    raise UsageError(message, hint=f"{_listed()}; or {again}")


def checked(plan: SavedPlan, data: bytes, place: str) -> bytes:
    """Give the bytes back if they are the plan's; StateError if not."""
    if hashlib.sha256(data).hexdigest() != plan.sha256:
        raise damaged_plan(plan, place, "its bytes are not those that were saved")
    return data


def damaged_plan(plan: SavedPlan, place: str, cause: str) -> StateError:
    """Refuse a plan that cannot be had back."""
    hint = f"plan again: {remedy('plan', save=True)}"
    return StateError(f"plan sha256:{plan.sha256}: {cause}", subject=f"state {place}", hint=hint)


def _listed() -> str:
    return f"{remedy('state', 'plans')} lists those that are kept"
