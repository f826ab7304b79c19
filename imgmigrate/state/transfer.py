"""Copy a state, and what is kept beside it, to another place, and prove what is there then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.clock import now
from imgmigrate.errors import StateAway, StateError, UsageError
from imgmigrate.state.base import PlanKeeper, SightingsKeeper
from imgmigrate.state.saved import kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.errors import ImgmigrateError
    from imgmigrate.state.base import StateStore
    from imgmigrate.state.saved import SavedPlan
    from imgmigrate.state.view import View

__all__ = ["Copied", "copy_state"]

# Bytes of plans that are copied at once: more is a group of its own.
GROUP = 16 * 1024 * 1024


class Copied(Struct, frozen=True):
    """What was copied: a state, and so many of the plans beside it; why each of `left` was not."""

    view: View
    plans: int = 0
    left: Mapping[str, ImgmigrateError] = field(default_factory=dict)


async def copy_state(
    source: StateStore, target: StateStore, *, command: str, lock_timeout: float = 0
) -> Copied:
    """Copy a state to another place and prove it, record by record; both are held meanwhile.

    Then what was seen at sources, and the plans beside it whose time is not over, each proven by
    its sha256, where both places keep them; what is wrong with a plan stops nothing. UsageError
    where the target holds another state, or what the source lacks; StateError if what is there
    then is not what was copied.
    """
    async with (
        source.writer(command=command, lock_timeout=lock_timeout),
        target.writer(command=command, lock_timeout=lock_timeout) as writer,
    ):
        view = await source.load()
        await writer.restore(view)
        there = await target.load()
        if _facts(there) != _facts(view):
            message = f"state {target.place}: it does not hold what {source.place} holds"
            raise StateError(message, hint="use the old place on; the new one cannot be trusted")
    if isinstance(source, SightingsKeeper) and isinstance(target, SightingsKeeper):
        seen = tuple(await source.sightings())
        if seen:
            await target.add_sightings(seen)
    if not (isinstance(source, PlanKeeper) and isinstance(target, PlanKeeper)):
        return Copied(view)
    return await _copy_plans(source, target, view)


async def _copy_plans(source: PlanKeeper, target: PlanKeeper, view: View) -> Copied:
    """Copy plans, the oldest first, in groups: each may be a commit, or a swap of a head."""
    ours = {plan.sha256: plan for plan in await source.plans()}
    there = {plan.sha256: plan for plan in await target.plans()}
    # Beside those of the target one may be overtaken that is the newest of its own place.
    due = [plan for plan in kept({**there, **ours}.values(), now()) if plan.sha256 in ours]
    group: dict[SavedPlan, bytes] = {}
    left: dict[str, ImgmigrateError] = {}
    for plan in due:
        try:
            data = await source.read_plan(plan.sha256)
        except StateAway:
            raise
        except (StateError, UsageError) as error:
            left[plan.sha256] = error
            continue
        if group and sum(map(len, group.values())) + len(data) > GROUP:
            left |= await _bring(target, group)
            group = {}
        group[plan] = data
    if group:
        left |= await _bring(target, group)
    return Copied(view, len(due) - len(left), left)


async def _bring(
    target: PlanKeeper, group: Mapping[SavedPlan, bytes]
) -> dict[str, ImgmigrateError]:
    """Bring plans and prove each; where one is not there, none of them is said to be."""
    try:
        await target.bring_plans(group)
        for plan in group:
            await target.read_plan(plan.sha256)
    except StateAway:
        raise
    except StateError as error:
        return {plan.sha256: error for plan in group}
    return {}


def _facts(view: View) -> tuple[object, ...]:
    state = view.state()
    whose = (state.lineage, state.sequence, state.head, state.name, state.place, state.runs)
    claimed = (dict(state.claims), dict(state.stand_ins), dict(state.companions))
    return (*whose, dict(state.records), *claimed)
