"""Carry out a plan: lock, check, journal, engine, receipts; `apply_plan` is the one way in.

The plan alone decides what is written; the config gives it registries, limits and the
state's place. Rows are bound to the state one by one (DESIGN section 7): the same plan
resumes itself, and plans about different images never disturb each other.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgmigrate.applying.engine import Engine
from imgmigrate.applying.recovery import save_elsewhere
from imgmigrate.errors import ImgmigrateError, PlanRefused, StateError, StateUnsaved
from imgmigrate.events import ImageFinished, NoSink, Outcome, Receipt, RunFinished, RunStarted
from imgmigrate.plan import Action
from imgmigrate.state.backends.local import LocalState
from imgmigrate.state.record import Claim, ImageRecord, Status
from imgmigrate.stores.cache import ManifestCache
from imgmigrate.stores.pool import open_stores

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.plan import Change, Plan
    from imgmigrate.state.record import State
    from imgmigrate.state.writer import Writer
    from imgmigrate.stores.pool import Stores
    from imgmigrate.stores.registry.metering import OnRateLimit

__all__ = ["ApplyOptions", "apply_plan"]


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """What the command line adds: open images, all-or-nothing checks, seconds for the lock.

    `on_rate_limit` is for where nothing is left of a metered registry's pulls: wait until
    there is, or stop the run so that it can go on later.
    """

    parallelism: int = 32
    strict: bool = False
    lock_timeout: float = 0
    command: str = "imgmigrate apply"
    on_rate_limit: OnRateLimit = "wait"


async def apply_plan(
    config: Config, plan: Plan, options: ApplyOptions | None = None, *, sink: Sink | None = None
) -> RunFinished:
    """Do what the plan says, record every image as it lands, and say what became of each row.

    Raises PlanRefused, StateLocked or StateError before anything has changed, StateUnsaved
    when images moved whose records could not be written. Cancelling it leaves a consistent
    state that the same plan continues.
    """
    options, sink = options or ApplyOptions(), sink or NoSink()
    backend, cache = LocalState(config.state), ManifestCache(config.state / "cache")
    opened = backend.writer(command=options.command, lock_timeout=options.lock_timeout)
    async with opened as writer:
        _check_binding(plan, writer.state, backend)
        run = _Run(config, plan, options, writer, cache, sink)
        finished = await run.carry_out()
    await asyncio.to_thread(cache.prune)
    return finished


def _check_binding(plan: Plan, state: State, backend: LocalState) -> None:
    """Refuse a plan that was made from another state than this one's past."""
    bound = plan.header.state
    if bound.lineage is None:
        return
    if bound.lineage != state.lineage:
        found = f"its lineage is {state.lineage}" if state.lineage else "there is no state yet"
        message = f"plan {plan.plan_id}: made from a state of lineage {bound.lineage}; here {found}"
        raise PlanRefused(message, hint="check --state and the config's state.path, or plan again")
    if bound.sequence > state.sequence:
        message = (
            f"plan {plan.plan_id}: made from a newer state (sequence {bound.sequence}) than the "
            f"one here (sequence {state.sequence})"
        )
        raise PlanRefused(message, hint="restore the newer state, or plan again")
    if not backend.knows(bound.sequence, bound.head):
        message = (
            f"plan {plan.plan_id}: the state's history does not contain the point that the plan "
            f"was made from (sequence {bound.sequence})"
        )
        raise PlanRefused(message, hint="the state was replaced since; plan again")


@dataclass(slots=True)
class _Run:
    config: Config
    plan: Plan
    options: ApplyOptions
    writer: Writer
    cache: ManifestCache
    sink: Sink
    name: str = field(default_factory=lambda: _run_name(datetime.now(UTC)))
    counts: Counter[Outcome] = field(default_factory=Counter)
    unfinished: list[Receipt] = field(default_factory=list)
    moved: int = 0
    wrote: bool = False
    stopped: str | None = None

    async def carry_out(self) -> RunFinished:
        """Sort the rows, run what is left, record, and sum up."""
        began = time.monotonic()
        todo, settled = self._sort_rows()
        self._refuse_if_strict(settled)
        size = _total(change.transfer_bytes for change in todo if change.action.writes)
        self.sink.emit(RunStarted(self.name, self.plan.plan_id, len(todo), size))
        for receipt in settled:
            self._count(receipt)
        if todo:
            opened = open_stores(
                self.config, sink=self.sink, on_rate_limit=self.options.on_rate_limit
            )
            async with opened as stores:
                self._resolve(stores, todo)
                engine = self._engine(stores)
                await self._begin(todo)
                await self._record_all(engine, todo)
            await self.writer.end({outcome.value: n for outcome, n in self.counts.items()})
        finished = RunFinished(
            self.name,
            self.plan.plan_id,
            dict(self.counts),
            self.moved,
            time.monotonic() - began,
            tuple(sorted(self.unfinished, key=lambda receipt: str(receipt.address))),
            self.stopped,
        )
        self.sink.emit(finished)
        return finished

    def _sort_rows(self) -> tuple[list[Change], list[Receipt]]:
        """Split the plan into rows to do and rows whose receipt is known already."""
        todo, settled = [], []
        for change in self.plan.changes:
            if change.action is Action.KEEP:
                continue
            receipt = self._settle(change)
            if receipt is None:
                todo.append(change)
            else:
                settled.append(receipt)
        return todo, settled

    def _settle(self, change: Change) -> Receipt | None:
        if change.action is Action.ERROR:
            error = ImgmigrateError(change.detail or f"{change.address}: {change.reason}")
            return Receipt(change.address, Outcome.FAILED, error=error)
        if change.action is Action.CONFLICT:
            message = f"destination {change.address}: {_CONFLICTS[change.reason]}"
            hint = "plan again with --allow-overwrite to replace it, or exclude it"
            error = ImgmigrateError(message, hint=hint)
            return Receipt(change.address, Outcome.CONFLICT, error=error)
        record = self.writer.state.record(change.address)
        if record is not None and self._is_done(change, record):
            return Receipt(change.address, Outcome.ALREADY, record.digest)
        if self._is_stale(change, record):
            return _stale(change, record)
        return None

    def _is_done(self, change: Change, record: ImageRecord) -> bool:
        if record.plan_id == self.plan.plan_id:
            return True
        newer = record.sequence > self.plan.header.state.sequence
        return newer and _shows(record, change)

    def _is_stale(self, change: Change, record: ImageRecord | None) -> bool:
        bound = self.plan.header.state
        if record is not None and (bound.lineage is None or record.sequence > bound.sequence):
            return True
        return (record.digest if record else None) != change.recorded

    def _refuse_if_strict(self, settled: list[Receipt]) -> None:
        """Refuse the whole plan if the state has moved under some row of it."""
        planned = {c.address for c in self.plan.changes if c.action is Action.CONFLICT}
        stale = [
            receipt
            for receipt in settled
            if receipt.outcome is Outcome.CONFLICT and receipt.address not in planned
        ]
        if self.options.strict and stale:
            first = stale[0].error
            message = f"plan {self.plan.plan_id}: --strict: {_rows(len(stale))} no longer true"
            message += f"; first: {first.message if first else stale[0].address}"
            raise PlanRefused(message, hint="plan again")

    async def _begin(self, todo: list[Change]) -> None:
        """Make the run and all that it will write durable, before its first tag."""
        claims = [
            Claim(address=change.address, after=change.after, before=change.before)
            for change in todo
            if change.action.writes and change.after is not None
        ]
        await self.writer.begin(self.name, self.plan.plan_id, claims)
        for change in todo:
            if change.action is Action.FORGET:
                await self._finish(change, Receipt(change.address, Outcome.APPLIED))

    def _resolve(self, stores: Stores, todo: list[Change]) -> None:
        """Open every store and resolve its settings: a missing variable stops us now."""
        for change in todo:
            ends = [change.address.repository]
            if change.source is not None and change.action.writes:
                ends.append(change.source.reference.repository)
            for repository in ends:
                stores.of(repository)
                if not repository.is_layout:
                    self.config.registry(repository.store, repository.path)

    def _engine(self, stores: Stores) -> Engine:
        state, parallelism = self.writer.state, self.options.parallelism
        return Engine(stores, self.cache, state, parallelism=parallelism, sink=self.sink)

    async def _record_all(self, engine: Engine, todo: list[Change]) -> None:
        by_address = {c.address: c for c in todo if c.action is not Action.FORGET}
        async with engine.run(list(by_address.values())) as receipts:
            async for receipt in receipts:
                await self._finish(by_address[receipt.address], receipt)
        self.stopped = engine.stopped

    async def _finish(self, change: Change, receipt: Receipt) -> None:
        """Record a receipt, then count it: what is counted is in the state."""
        try:
            if receipt.outcome.is_done:
                await self.writer.record(self._record(change))
            elif receipt.outcome is Outcome.CONFLICT:
                await self.writer.conflict(receipt.address)
        except StateError as error:
            raise self._unsaved(change, receipt, error) from error
        self.wrote = self.wrote or (change.action.writes and receipt.outcome.is_done)
        self._count(receipt)

    def _unsaved(self, change: Change, receipt: Receipt, error: StateError) -> StateError:
        """Say that the state can no longer be written, and where the record went instead."""
        self.wrote = self.wrote or change.action.writes
        if not self.wrote:
            return error
        place = save_elsewhere([self._record(change)], self.name, self.config.base)
        message = f"{error.message}; {receipt.address} was written but is not recorded"
        return StateUnsaved(
            message,
            hint=f"its record is in {place}; free the state, then apply the same plan again: "
            "it finds the image and records it without moving a byte",
        )

    def _count(self, receipt: Receipt) -> None:
        self.counts[receipt.outcome] += 1
        self.moved += receipt.moved
        if not receipt.outcome.is_done:
            self.unfinished.append(receipt)
        self.sink.emit(ImageFinished(receipt))

    def _record(self, change: Change) -> ImageRecord:
        record = self.writer.state.record(change.address)
        at = _stamp(datetime.now(UTC))
        if change.action is Action.FORGET and record is not None:
            plan_id = self.plan.plan_id
            return replace(record, status=Status.FORGOTTEN, at=at, plan_id=plan_id)
        if change.source is None or change.after is None:
            message = f"{change.address}: the plan does not say what was to be written"
            raise ImgmigrateError(message, hint="plan again")
        return ImageRecord(
            address=change.address,
            source=change.source,
            filter=change.filter,
            digest=change.after,
            previous=change.before if change.before != change.after else None,
            media_type=change.media_type or "",
            size=change.size,
            at=at,
            sequence=0,
            run=self.name,
            plan_id=self.plan.plan_id,
        )


_CONFLICTS = {
    "foreign": "holds an image that imgmigrate did not write",
    "changed_here": "somebody overwrote what imgmigrate had written",
    "equivalent": "holds an index of the same images in other bytes",
}


def _shows(record: ImageRecord, change: Change) -> bool:
    """Tell whether a record shows what the row asks for."""
    if change.action is Action.FORGET:
        return not record.is_live
    return record.is_live and record.digest == change.after


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count} rows are"


def _stale(change: Change, record: ImageRecord | None) -> Receipt:
    planned = change.recorded.short if change.recorded else "no record"
    if record is None:
        found = "its record is gone"
    else:
        found = f"run {record.run} recorded {record.digest.short} at {record.at}"
    message = f"{change.address}: the state moved since the plan ({planned}): {found}"
    error = ImgmigrateError(message, hint="plan again for this image")
    return Receipt(change.address, Outcome.CONFLICT, error=error)


def _total(sizes: Iterable[int | None]) -> int | None:
    known = list(sizes)
    return None if None in known else sum(size for size in known if size is not None)


def _run_name(now: datetime) -> str:
    """Name a run so that names sort by time and never meet."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def _stamp(now: datetime) -> str:
    return now.isoformat(timespec="seconds").replace("+00:00", "Z")
