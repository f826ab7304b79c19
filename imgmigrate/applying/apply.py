"""Carry out a plan: lock, check, journal, engine, receipts; `apply_plan` is the one way in.

The plan alone decides what is written; the config gives it registries, limits and the
state's place. Rows are bound to the state one by one (DESIGN section 7): the same plan
resumes itself, and plans about different images never disturb each other.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.applying.engine.engine import Engine
from imgmigrate.applying.engine.policy import FailurePolicy, time_limit
from imgmigrate.applying.engine.stopping import ends
from imgmigrate.applying.lookback import look_again
from imgmigrate.applying.protection import protect
from imgmigrate.applying.resume.opened_state import open_writer, save_elsewhere
from imgmigrate.applying.resume.plan_checks import (
    REPLAN,
    check_age,
    check_binding,
    check_first,
    check_unmoved,
)
from imgmigrate.applying.resume.records import Recording
from imgmigrate.applying.resume.rows import overtaken, sort_rows
from imgmigrate.applying.resume.warrant import check_deletes, check_summary, check_warrants
from imgmigrate.applying.space import check_space
from imgmigrate.applying.worker.worker import open_worker
from imgmigrate.causes import cause_of
from imgmigrate.concurrency import ungrouped
from imgmigrate.errors import StateError, StateLost, StateUnsaved, StoreError
from imgmigrate.events import (
    ImageFinished,
    Outcome,
    Receipt,
    RunFinished,
    RunStarted,
    Warned,
)
from imgmigrate.observing.sightings import record_rows
from imgmigrate.plan import Action
from imgmigrate.plan.pace import Pace
from imgmigrate.state.holder import Progress
from imgmigrate.state.owner import check_owner, owner_of, waits_for_owner
from imgmigrate.state.spelling import rename
from imgmigrate.state.writer import run_name
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Hashable, Iterable

    from imgmigrate.applying.signatures import SignatureGuard
    from imgmigrate.clock import Clock
    from imgmigrate.config.model import Config
    from imgmigrate.config.values.shares import Share
    from imgmigrate.events import Event, RateLearnt, Refusal, Sink
    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.plan import Change, Plan
    from imgmigrate.state.record import Owner, State
    from imgmigrate.state.writer import Writer
    from imgmigrate.stores.base import Stores
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.workspace import Workspace

__all__ = ["ApplyOptions", "apply_plan"]


# How often whoever looks at the state is told anew.
TELL_SECONDS = 2.0


class ApplyOptions(Struct, frozen=True):
    """What the command line adds: open images, all-or-nothing checks, seconds for the lock.

    `on_rate_limit` is for where nothing is left of a metered registry's pulls: wait until
    there is, or stop the run so that it can go on later. `fail_fast` and `max_failures` say how
    many rows may fail before no new one is begun. `max_duration` and `max_plan_age` are
    seconds; a run that reaches the one ends, a plan beyond the other begins none. `replan` is
    the command that plans again, and `file` what the plan's file is called, for messages.
    A registry that is down is waited for `outage` seconds; one that the plan has not read, and
    that cannot be reached at all, only with `awaits_strangers`.
    `takes_ownership` is for an adoption that was asked to.
    """

    parallelism: int = 32
    strict: bool = False
    lock_timeout: float = 0
    command: str = "imgmigrate apply"
    on_rate_limit: OnRateLimit = "wait"
    outage: float = 0
    awaits_strangers: bool = False
    fail_fast: bool = False
    max_failures: Share | None = None
    max_duration: float | None = None
    max_plan_age: float | None = None
    replan: str = REPLAN
    file: str = "plan.out"
    takes_ownership: bool = False


async def apply_plan(
    config: Config | Workspace,
    plan: Plan,
    options: ApplyOptions | None = None,
    *,
    sink: Sink | None = None,
    clock: Clock | None = None,
) -> RunFinished:
    """Do what the plan says, record every image as it lands, and say what became of each row.

    Raises PlanRefused, GuardError, UsageError for a state of another config, StateLocked or
    StateError before anything has changed, StateUnsaved when images moved and their records, or
    the run's end, could not be written: the sink has been told by then what became of the rows.
    The first apply binds the state to the config. Cancelling it leaves a consistent state that
    the same plan continues. The `clock` of `max_duration` is the event loop's.
    """
    options = options or ApplyOptions()
    workspace = open_workspace(config, sink=sink, clock=clock, on_rate_limit=options.on_rate_limit)
    config, store = workspace.config, workspace.state
    began = workspace.clock.time()
    patience = options.lock_timeout
    if options.max_duration is not None:
        patience = min(patience, options.max_duration)
    check_summary(plan, options.replan)
    check_first(plan, config, options.file)
    run: _Run | None = None
    try:
        async with open_writer(store, options.command, patience, workspace.sink) as writer:
            check_owner(writer.state, config)
            await check_binding(plan, writer.state, store, options.replan)
            _check_age(config, plan, writer.state, options)
            await rename(writer, config, (change.address.repository for change in plan.changes))
            run = _Run(workspace, plan, options, writer, began)
            finished = await run.carry_out()
    except StateError as error:
        # Also what only closing the state brings to light, behind the last row.
        if run is None or not run.wrote or isinstance(error, StateUnsaved | StateLost):
            raise
        raise _unended(error) from error
    await record_rows(workspace, plan)
    await asyncio.to_thread(workspace.cache.prune)
    return finished


def _unended(error: StateError) -> StateUnsaved:
    """Say that all is done and recorded but for the run's own end."""
    return StateUnsaved(
        f"{error.message}; the images that are done are recorded, the run's end is not",
        hint="mend the state, then apply the same plan again: it finds what is done and moves no"
        " byte of it",
    )


def _check_age(config: Config, plan: Plan, state: State, options: ApplyOptions) -> None:
    """Refuse a plan that is too old to begin; what is asked of this run overrules the config."""
    most, limit = options.max_plan_age, "`max_plan_age`"
    if most is None:
        most, limit = config.guards.max_plan_age, f"max_plan_age in {config.path.name}"
    check_age(plan, state, most, datetime.now(UTC), limit=limit, replan=options.replan)


@dataclass(slots=True)
class _Run:
    workspace: Workspace
    plan: Plan
    options: ApplyOptions
    writer: Writer
    began: float
    config: Config = field(init=False)
    sink: _Telling = field(init=False)
    name: str = field(default_factory=lambda: run_name(datetime.now(UTC)))
    recording: Recording = field(init=False)
    counts: Counter[Outcome] = field(default_factory=Counter)
    actions: Counter[Action] = field(default_factory=Counter)
    rows: dict[Reference, Change] = field(init=False)
    unfinished: list[Receipt] = field(default_factory=list)
    told: set[Reference] = field(default_factory=set)
    moved: int = 0
    spared: int = 0
    wrote: bool = False
    begun: bool = False
    stopped: str | None = None
    refusals: tuple[Refusal, ...] = ()
    rates: tuple[RateLearnt, ...] = ()

    def __post_init__(self) -> None:
        self.config = self.workspace.config
        self.sink = _Telling(self.workspace.sink, self.writer, self.name, self.workspace.clock)
        guards, plan_id = self.config.guards, self.plan.plan_id
        self.recording = Recording(self.writer, guards, self.name, plan_id)
        self.rows = {change.address: change for change in self.plan.changes}

    async def carry_out(self) -> RunFinished:
        """Sort the rows, run what is left, record, and sum up."""
        began = time.monotonic()
        todo, settled = sort_rows(self.plan, self.writer.state, self.config.guards)
        if self.options.strict:
            check_unmoved(self.plan, overtaken(self.plan, settled), self.options.replan)
        opened = self.workspace.stores(outage=self.options.outage, is_met=self._is_met)
        async with opened as stores:
            # All that may refuse the plan comes before this run's first line in the journal, and
            # judges the very rows that are carried out then.
            todo, settled = await look_again(self.plan, todo, settled, stores)
            self._check(todo)
            self._resolve(stores, todo)
            guard = self._guard(stores, todo)
            await check_space(todo, stores, self.workspace.cache, self.writer.state)
            size = _total(change.transfer_bytes for change in todo if change.action.writes)
            begun = RunStarted(self.name, self.plan.plan_id, len(todo), size, _loads(todo))
            self.sink.emit(begun)
            for receipt in settled:
                self._count(receipt)
            await protect(self.writer, self.config.guards)
            self._tell_binding()
            trouble = await self._trouble_of(self._work(stores, todo, guard))
            self.rates = stores.rates()
        if trouble is None:
            trouble = await self._trouble_of(self._end(todo))
        finished = RunFinished(
            self.name,
            self.plan.plan_id,
            dict(self.counts),
            self.moved,
            time.monotonic() - began,
            tuple(sorted(self.unfinished, key=lambda receipt: str(receipt.address))),
            self.stopped,
            self.refusals,
            self.rates,
            dict(self.actions),
            self.spared,
        )
        self.sink.emit(finished)
        if trouble is not None:
            raise trouble
        return finished

    async def _trouble_of(self, step: Awaitable[None]) -> StateError | None:
        """What a step found wrong with the state once the run had begun; before, it is raised."""
        try:
            await step
        except StateError as error:
            if not self.begun:
                raise
            return error
        return None

    async def _work(self, stores: Stores, todo: list[Change], guard: SignatureGuard | None) -> None:
        """Run the rows and record each; a StateError leaves the rest undone."""
        if not todo:
            return
        engine = self._engine(stores, guard)
        await self._begin(todo)
        try:
            async with self.sink.telling():
                await self._record_all(engine, todo)
        except StateError:
            self._leave(todo)
            raise

    async def _end(self, todo: list[Change]) -> None:
        """Write the run's end; where no run was needed, only whose the state is."""
        if todo:
            await self.writer.end({outcome.value: n for outcome, n in self.counts.items()})
        elif (owner := self._new_owner()) is not None and self.writer.state.lineage:
            await self.writer.bind(owner)

    def _leave(self, todo: list[Change]) -> None:
        """Count the rows that nothing became of, now that nothing can be recorded any more."""
        for change in todo:
            if change.address not in self.told:
                self._count(Receipt(change.address, Outcome.CANCELLED))
        self.stopped = "the state cannot be written; some may be at their destination by now"

    def _check(self, todo: list[Change]) -> None:
        """Refuse the whole plan for a row that neither config nor state bears out."""
        state, options = self.writer.state, self.options
        check_warrants(
            self.plan,
            todo,
            self.config,
            state,
            options.replan,
            takes_ownership=options.takes_ownership,
        )
        check_deletes(self.plan, todo, self.config, state)

    def _new_owner(self) -> Owner | None:
        """Whom the state is to be bound to; None where it is bound, or no config is there."""
        return owner_of(self.config) if self.writer.state.name is None else None

    def _tell_binding(self) -> None:
        """Say that a state that held something already gets an owner by this run."""
        if waits_for_owner(self.writer.state, self.config):
            said = f"state {self.config.place}: it belonged to no config; now it is "
            self.sink.emit(Warned("state_bound", f"{said}that of {self.config.name}"))

    async def _begin(self, todo: list[Change]) -> None:
        """Make the run and all that it will write durable, before its first tag."""
        claims = self.recording.claims(todo)
        await self.writer.begin(
            self.name, self.plan.plan_id, claims, rows=len(todo), owner=self._new_owner()
        )
        self.begun = True
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

    def _guard(self, stores: Stores, todo: list[Change]) -> SignatureGuard | None:
        """Find what has to be signed; nothing of all that is loaded where no config asks."""
        if not self.config.signatures:
            return None
        from imgmigrate.applying.signatures import guard_of

        state, parallelism = self.writer.state, self.options.parallelism
        return guard_of(self.workspace, self.plan, todo, state, stores, parallelism)

    def _engine(self, stores: Stores, guard: SignatureGuard | None) -> Engine:
        return Engine(
            partial(open_worker, stores, self.workspace.cache, self.sink, permit=self.writer.hold),
            self.writer.state,
            parallelism=self.options.parallelism,
            sink=self.sink,
            plan_id=self.plan.plan_id,
            base=self.config.base,
            policy=FailurePolicy(self.options.fail_fast, self.options.max_failures),
            login=self._login,
            doubted=self.plan.doubted,
            guard=guard.check if guard is not None else None,
        )

    def _is_met(self, host: str) -> bool:
        """Tell whether a registry answered when it was planned what to do there."""
        if self.options.awaits_strangers:
            return True
        read = (row for row in self.plan.changes if row.action.alters or row.action is Action.ADOPT)
        return any(end.store == host for row in read for end in ends(row))

    def _login(self, repository: Repository) -> Hashable:
        """Which credentials reach a repository: a path of a registry may have its own."""
        if repository.is_layout:
            return repository.store
        entry = self.config.registry(repository.store, repository.path)
        return (repository.store, entry.username, entry.password, entry.credential_command)

    async def _record_all(self, engine: Engine, todo: list[Change]) -> None:
        by_address = {c.address: c for c in todo if c.action is not Action.FORGET}
        async with (
            time_limit(engine, self._time_left(), self.workspace.clock),
            engine.run(list(by_address.values())) as receipts,
        ):
            # One at a time: the state has one writer, and its lines one order.
            async for receipt in receipts:
                await self._finish(by_address[receipt.address], receipt)
        self.stopped, self.refusals = engine.stopped, engine.refusals

    def _time_left(self) -> float | None:
        most = self.options.max_duration
        return None if most is None else most - (self.workspace.clock.time() - self.began)

    async def _finish(self, change: Change, receipt: Receipt) -> None:
        """Record a receipt, then count it: what is counted is in the state."""
        try:
            if receipt.outcome.is_recorded:
                await self.writer.record(self.recording.record(change, receipt))
            elif receipt.outcome is Outcome.CONFLICT:
                await self.writer.conflict(receipt.address)
            elif isinstance(receipt.error, StateError):
                raise receipt.error
            elif receipt.outcome is Outcome.FAILED:
                await self._note_failure(receipt)
        except StateError as error:
            unsaved = self._unsaved(change, receipt, error)
            # Not done: whatever lies there, the state does not know of it.
            self._count(replace(receipt, outcome=_unrecorded(receipt.outcome), error=unsaved))
            raise unsaved from error
        self.wrote = self.wrote or (change.action.alters and receipt.outcome.is_recorded)
        self._count(receipt)

    async def _note_failure(self, receipt: Receipt) -> None:
        """Let `status` tell of it. A state that cannot be written ends runs that have news."""
        error = receipt.error
        side = f"{error.side} " if isinstance(error, StoreError) and error.side else ""
        cause = f"{side}{error.message}" if error else ""
        with suppress(StateError):
            await self.writer.failed(receipt.address, cause, cause_of(error))

    def _unsaved(self, change: Change, receipt: Receipt, error: StateError) -> StateError:
        """Say that the state can no longer be written, and where the record went instead."""
        self.wrote = self.wrote or (change.action.alters and receipt.outcome.is_recorded)
        if not self.wrote or isinstance(error, StateLost):
            return error
        if not receipt.outcome.is_recorded:
            message = f"{error.message}; what was written before is recorded"
            return StateUnsaved(message, hint="free the state, then apply the same plan again")
        place = save_elsewhere(
            [self.recording.record(change, receipt)], self.name, self.config.base
        )
        message = f"{error.message}; {receipt.address} was written but is not recorded"
        return StateUnsaved(
            message,
            hint=f"its record is in {place}; free the state, then apply the same plan again: "
            "it finds the image and records it without moving a byte; that file may go then",
        )

    def _count(self, receipt: Receipt) -> None:
        receipt = _of_row(self.rows[receipt.address], receipt)
        self.told.add(receipt.address)
        if receipt.action is not None and receipt.outcome is Outcome.APPLIED:
            self.actions[receipt.action] += 1
        self.spared += receipt.spared
        self.counts[receipt.outcome] += 1
        self.moved += receipt.moved
        if not receipt.outcome.is_done:
            self.unfinished.append(receipt)
        self.sink.emit(ImageFinished(receipt))


class _Telling:
    """Passes events on, and lets `status` know every few seconds how far the bytes are."""

    def __init__(self, sink: Sink, writer: Writer, run: str, clock: Clock) -> None:
        self._sink, self._writer, self._run, self._clock = sink, writer, run, clock
        self._pace = Pace(clock.time)

    def emit(self, event: Event) -> None:
        """Count it, and pass it on."""
        self._pace.emit(event)
        self._sink.emit(event)
        if isinstance(event, RunStarted):
            self._tell()

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell until the block ends, whether something happens or not: a rate falls with time."""
        with ungrouped():
            async with asyncio.TaskGroup() as tasks:
                teller = tasks.create_task(self._tell_on())
                try:
                    yield
                finally:
                    teller.cancel()

    async def _tell_on(self) -> None:
        while True:
            await self._clock.sleep(TELL_SECONDS)
            self._tell()

    def _tell(self) -> None:
        run, pace = self._run, self._pace
        told = Progress(run=run, moved=pace.moved, left=pace.left, rate=pace.rate)
        self._writer.tell(told)


def _loads(todo: Iterable[Change]) -> dict[Reference, tuple[int, int]]:
    """What each row that writes has to send at most, and what is spared, where that is known."""
    return {
        change.address: (change.transfer_bytes, change.spared_bytes or 0)
        for change in todo
        if change.action.writes and change.transfer_bytes is not None
    }


def _of_row(change: Change, receipt: Receipt) -> Receipt:
    """Add what the row asked for, and what its image did not have to send."""
    spared = 0
    if receipt.outcome is Outcome.APPLIED and change.action.writes:
        known = (change.transfer_bytes or 0) + (change.spared_bytes or 0)
        spared = max(0, known - receipt.moved)
    return replace(receipt, action=change.action, spared=spared)


def _unrecorded(outcome: Outcome) -> Outcome:
    return Outcome.FAILED if outcome.is_recorded else outcome


def _total(sizes: Iterable[int | None]) -> int | None:
    known = list(sizes)
    return None if None in known else sum(size for size in known if size is not None)
