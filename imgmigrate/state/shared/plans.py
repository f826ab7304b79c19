"""Keep plans in a depot, beside the state and without a hold on it.

The head names one list of them, which is written anew with each plan: so it stays small however
many there are. Whoever saves swaps the head for one with the same contents and another list; a
process that holds the state meets its own lease in it, and goes on from there (`held.py`). To
others its lease seems renewed by that: who waits for one that is gone waits for once that longer.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from imgmigrate.clock import timestamp
from imgmigrate.errors import StateError
from imgmigrate.state.saved import (
    SavedPlan,
    SavedPlans,
    checked,
    damaged_plan,
    find_plan,
    kept,
    with_run,
)
from imgmigrate.state.shared.depot import Missing, Overtaken
from imgmigrate.state.shared.head import named
from imgmigrate.state.shared.reading import head_of, latest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from imgmigrate.state.shared.depot import Depot
    from imgmigrate.state.shared.head import Head

__all__ = ["list_plans", "note_run", "read_plan", "save_plans"]

# Whoever is overtaken so often meets more than a holder's words and others' plans.
ATTEMPTS = 100


async def save_plans(depot: Depot, plans: Mapping[SavedPlan, bytes], *, now: datetime) -> None:
    """Save plans, and remove those whose time is over; the same plan twice is saved once."""
    new = {plan.sha256 for plan in plans}

    def change(before: tuple[SavedPlan, ...]) -> tuple[SavedPlan, ...]:
        return kept((*(each for each in before if each.sha256 not in new), *plans), now)

    await _change(depot, change, {_file(plan): data for plan, data in plans.items()})


async def note_run(depot: Depot, sha256: str, run: str, now: datetime) -> None:
    """Note the run that applied a plan; nothing if it is kept no more."""

    def change(plans: tuple[SavedPlan, ...]) -> tuple[SavedPlan, ...]:
        return tuple(
            with_run(each, run, timestamp(now)) if each.sha256 == sha256 else each for each in plans
        )

    await _change(depot, change, {})


async def list_plans(depot: Depot) -> tuple[SavedPlan, ...]:
    """Those that are kept, the oldest first."""
    return await latest(
        depot, lambda seen: _listed(depot, head_of(depot, seen)), gone=_listless(depot)
    )


async def read_plan(depot: Depot, key: str) -> bytes:
    """Read and verify the bytes of a plan."""
    plan = find_plan(await list_plans(depot), key, depot.place)
    try:
        data = await depot.read(_file(plan))
    except Missing:
        raise damaged_plan(plan, depot.place, "its file is not there") from None
    return checked(plan, data, depot.place)


async def _change(
    depot: Depot,
    change: Callable[[tuple[SavedPlan, ...]], tuple[SavedPlan, ...]],
    add: Mapping[str, bytes],
) -> None:
    """Swap the list for a changed one, whatever else is swapped meanwhile."""
    is_proven, missing = False, None
    tried: list[str] = []
    for _ in range(ATTEMPTS):
        seen = await depot.fetch()
        if seen is None and not is_proven:
            await depot.prove()
            is_proven = True
        head = head_of(depot, seen)
        try:
            before = await _listed(depot, head)
        except Missing:
            if head.plans == missing:
                raise _listless(depot) from None
            missing = head.plans  # another saved a plan since the head was read
            continue
        after = change(before)
        if after == before:
            return
        name = named("plans", head.sequence, "json")
        stay = {each.sha256 for each in after}
        drop = [_file(each) for each in before if each.sha256 not in stay]
        drop += [*tried, *([head.plans] if head.plans else [])]
        tried.append(name)
        listed = SavedPlans(plans=after).model_dump_json(exclude_none=True).encode()
        changed = head.model_copy(update={"plans": name})
        with contextlib.suppress(Overtaken):
            await depot.swap(seen, changed.printed(), {**add, name: listed}, drop)
            return
    message = f"state {depot.place}: others write it all the time"
    raise StateError(message, hint="run the same command again")


async def _listed(depot: Depot, head: Head) -> tuple[SavedPlan, ...]:
    if head.plans is None:
        return ()
    data = await depot.read(head.plans)
    try:
        return SavedPlans.model_validate_json(data).plans
    except ValueError:
        message = f"state {depot.place}: its list of plans is damaged"
        raise StateError(message, hint="somebody else wrote there; plan into a file") from None


def _listless(depot: Depot) -> StateError:
    message = f"state {depot.place}: its list of plans is not there"
    return StateError(message, hint="somebody else wrote there; plan into a file")


def _file(plan: SavedPlan) -> str:
    return f"plans/{plan.sha256}.plan"
