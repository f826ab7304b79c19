"""Plan the way back from a run, or from a plan: a plan like any other.

The state tells what the run did last at each address, and by which digest the destination had
it before. An address that another run has written since is left to the rollback of that one.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError, UsageError
from imgmigrate.events import Warned
from imgmigrate.observing.globs import Globs
from imgmigrate.observing.observe import Observer
from imgmigrate.observing.problems import Problems, merged
from imgmigrate.plan import Action, Filters, Plan, Reason
from imgmigrate.planning.heading import heading
from imgmigrate.planning.owner import presently_named, tell_owner
from imgmigrate.planning.passes.base import run_passes
from imgmigrate.planning.passes.deletes import DeleteLimit, told_limit
from imgmigrate.planning.passes.keep_previous import Keeping, KeptNames
from imgmigrate.planning.passes.namesakes import Namesakes
from imgmigrate.planning.passes.wholeness import not_whole
from imgmigrate.planning.rollback.decide import Deed, decide_undo, overtaken
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imgmigrate.config.model import Config
    from imgmigrate.config.values.shares import Share
    from imgmigrate.events import Sink
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.planning.passes.base import Pass
    from imgmigrate.state.record import ImageRecord, Run, State
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.workspace import Workspace

__all__ = ["RollbackOptions", "make_rollback"]

# Runs that are named to whoever names one that there is not.
MOST_NAMED = 5


class RollbackOptions(Struct, frozen=True):
    """What the command line adds; each field means what it means in `PlanOptions`."""

    target: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_delete: bool = False
    max_delete: Share | None = None
    parallelism: int = 32
    on_rate_limit: OnRateLimit = "wait"


async def make_rollback(
    config: Config | Workspace,
    what: str | Plan,
    options: RollbackOptions | None = None,
    *,
    sink: Sink | None = None,
) -> Plan:
    """Plan how to undo `what`: the name of a run, the id of a plan, or the plan itself.

    Raises UsageError if the state knows of no such run or belongs to another config, StateError
    for a damaged state. What the destination does not have any more becomes an error row.
    """
    options = options or RollbackOptions()
    workspace = open_workspace(config, sink=sink, on_rate_limit=options.on_rate_limit)
    config, sink = workspace.config, workspace.sink
    with closing(await presently_named(await workspace.state.look(), config)) as state:
        tell_owner(state, config, sink)
        past = _recall(state, what)
        for warning in past.warnings:
            sink.emit(Warned("not_undone", warning))
        async with workspace.stores() as stores:
            observer = Observer(stores, state, sink, options.parallelism)
            undoing = _Undoing(config, options, state, observer)
            changes, unchanged = await undoing.plan(past)
        filters = Filters(target=options.target, exclude=options.exclude)
        header = await heading(
            config,
            state,
            changes,
            unchanged,
            filters=filters,
            undoes=past.name,
            notes=told_limit(changes, options.max_delete, config.guards, state),
            max_delete=options.max_delete,
        )
    return Plan.of(header, changes)


class _Past(Struct, frozen=True):
    """What is to be undone, and what others did at the same addresses since."""

    name: str
    deeds: tuple[Deed, ...]
    overtaken: tuple[ImageRecord, ...]
    warnings: tuple[str, ...]


class _Undoing(Struct, frozen=True):
    config: Config
    options: RollbackOptions
    state: State
    observer: Observer

    async def plan(self, past: _Past) -> tuple[list[Change], int]:
        """Return the changes and how many addresses need none."""
        targets = Globs("target", self.options.target, of="what is to be undone")
        excludes = Globs("exclude", self.options.exclude, of="what is to be undone")

        def is_wanted(record: ImageRecord) -> bool:
            targeted = targets.match(record.address) or not targets  # each notes its hits
            return not excludes.match(record.address) and targeted

        deeds = [deed for deed in past.deeds if is_wanted(deed.record)]
        changes = [overtaken(record) for record in past.overtaken if is_wanted(record)]
        targets.check()
        excludes.check()
        decided, unchanged = await self._decide(deeds)
        changes = await run_passes(self._passes(), [*changes, *decided], {})
        return merged(changes), unchanged

    def _passes(self) -> tuple[Pass, ...]:
        """Everything that changes the rows, in its order."""
        observer, state, config = self.observer, self.state, self.config
        most = self.options.max_delete or config.guards.max_delete
        return (
            Spare(state),
            Namesakes(config, state, observer, is_part=True),
            DeleteLimit(most, state),
            # Last of those that say what becomes of a tag: what is replaced is known by then.
            Keeping(observer, state, KeptNames(config), datetime.now(UTC)),
        )

    async def _decide(self, deeds: list[Deed]) -> tuple[list[Change], int]:
        """Look at the addresses, and at the former digests, and decide."""
        there = await self.observer.look_at_destinations(
            address
            for deed in deeds
            for address in (deed.record.address, deed.wanted)
            if address is not None
        )
        problems, changes, unchanged = Problems(self.state), [], 0
        for deed in deeds:
            address = deed.record.address
            shown = there[address]
            former = there[deed.wanted] if deed.wanted is not None else None
            if isinstance(shown, StoreError):
                problems.add(address, shown)
                continue
            if former is not None and deed.wanted is not None and shown != former:
                lost = await self.observer.missing_parts(deed.wanted, deed.absent)
                former = not_whole(deed.wanted, lost) if lost else former
            if isinstance(former, StoreError):
                problems.add(address, former)
                continue
            change = decide_undo(
                deed,
                shown.digest if shown else None,
                former,
                self.state,
                allow_delete=self.options.allow_delete,
                is_protected=self.config.guards.protects(address),
            )
            if change is None:
                unchanged += 1
            else:
                changes.append(change)
        return [*changes, *problems.changes()], unchanged


class Spare(Struct, frozen=True):
    """Deletes a kept tag only once its image has another tag by a row of this plan.

    Where that row is a conflict or an error, or is not wanted, it may be the last one.
    """

    state: State

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Name the heir of each, and keep those that have none."""
        heirs = {
            (change.address.repository, change.after): change.address
            for change in changes
            if change.reason == Reason.ROLLBACK and change.after is not None
        }
        spared = []
        for change in changes:
            record = self.state.record(change.address)
            if change.action is Action.DELETE and record is not None and record.keeps_previous:
                heir = heirs.get((change.address.repository, record.digest))
                stays = {"action": Action.KEEP, "reason": Reason.STAYS}
                update = {"moved_to": heir} if heir else stays
                change = change.model_copy(update=update)
            spared.append(change)
        return spared


def _recall(state: State, what: str | Plan) -> _Past:
    """Find what a run or a plan did here; UsageError if the state does not know it."""
    if isinstance(what, Plan):
        return _recall_plan(state, what)
    runs = [run for run in state.runs if what in (run.run, run.plan_id)]
    records = state.written_by(what)
    if not runs and not records:
        raise _unknown(state, f"{what}: there is no such run, plan or file")
    warnings = [*_unended(runs)]
    lost = sum(run.done for run in runs) - len(records)
    if lost > 0:
        rows = "1 address" if lost == 1 else f"{lost:,} addresses"
        warnings.append(
            f"{rows} of {what}: written again since, or no longer in the state; not undone here. "
            "Name the plan's file to see which"
        )
    return _Past(what, tuple(map(Deed.of, records)), (), tuple(warnings))


def _recall_plan(state: State, plan: Plan) -> _Past:
    """Find what became of each row; one that was never done has nothing to undo."""
    runs = [run for run in state.runs if run.plan_id == plan.plan_id]
    deeds, others = [], []
    for change in plan.changes:
        record = state.record(change.address)
        if record is None or not change.action.is_carried_out:
            continue
        if record.plan_id == plan.plan_id:
            deeds.append(Deed.of(record, change.action))
        elif record.sequence > plan.header.state.sequence:
            others.append(record)
    if not runs and not deeds:
        raise _unknown(state, f"plan {plan.plan_id} was never applied to this state")
    return _Past(plan.plan_id, tuple(deeds), tuple(others), tuple(_unended(runs)))


def _unended(runs: list[Run]) -> Iterable[str]:
    for run in runs[-1:]:
        if run.ended_at is None:
            yield (
                f"run {run.run} has not ended: what it did not record is not undone; "
                "apply its plan again first"
            )


def _unknown(state: State, message: str) -> UsageError:
    if not state.runs:
        return UsageError(message, hint="nothing was applied to this state yet")
    lines = [f"{message}; the last runs here:"]
    lines += [
        f"  {run.run}  plan {run.plan_id}  begun {run.began_at}"
        for run in reversed(state.runs[-MOST_NAMED:])
    ]
    return UsageError("\n".join(lines), hint="imgmigrate state log lists them all")
