"""Join selection, observation and the diff into a plan; `make_plan` is the one way in."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgmigrate.errors import Archived, Dangling, StoreError
from imgmigrate.observing.globs import Globs
from imgmigrate.observing.observe import Observer
from imgmigrate.observing.problems import Problems, failed, merged
from imgmigrate.observing.scope import Scope
from imgmigrate.observing.skipped import Skips
from imgmigrate.oci.manifest import SCHEMA1
from imgmigrate.plan import Action, Change, Filters, Plan
from imgmigrate.planning.desired.delta import Deltas
from imgmigrate.planning.desired.desired import Asking
from imgmigrate.planning.desired.expand import expand_rules
from imgmigrate.planning.desired.holding import held
from imgmigrate.planning.desired.narrowing import narrow
from imgmigrate.planning.desired.tags import Chooser
from imgmigrate.planning.desired.unread import Unread
from imgmigrate.planning.diff import Exceptions, Wish, decide
from imgmigrate.planning.drift import find_drift, only_told
from imgmigrate.planning.heading import heading
from imgmigrate.planning.owner import state_of, tell_owner
from imgmigrate.planning.passes.deletes import Deleting, release, tell_cut_off
from imgmigrate.planning.passes.inside import Comparing
from imgmigrate.planning.passes.keep_previous import Keeping, KeptNames
from imgmigrate.planning.passes.known_conflicts import mark_known
from imgmigrate.planning.passes.moves import Moving
from imgmigrate.planning.passes.namesakes import Namesakes
from imgmigrate.planning.passes.platforms import Filtering, filter_of
from imgmigrate.planning.passes.sizes import Sizes, measure
from imgmigrate.planning.passes.wholeness import Wholeness
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imgmigrate.config.model import Config
    from imgmigrate.config.shares import Share
    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.planning.desired.expand import Expansion
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.workspace import Workspace

__all__ = ["PlanOptions", "Resolved", "make_plan", "resolve"]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the command line adds to the config: globs over addresses, sizes, concurrency.

    With `refresh=False` an address that the state records is taken to be as recorded; with
    `refresh_only` the plan tells who moved since the record, and nothing else.
    With `allow_delete` what no rule asks for any more is deleted, with `allow_delete_gone` what
    its source has lost, unless both are more than `max_delete`, or than the config's; with
    `forget` what no rule asks for is let go and stays. `on_rate_limit` is for where nothing is
    left of a metered registry's pulls: wait until there is, or make error rows of what would need
    one.
    """

    target: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    allow_overwrite: tuple[str, ...] = ()
    allow_delete: bool = False
    allow_delete_gone: bool = False
    forget: bool = False
    max_delete: Share | None = None
    sizes: Sizes = "auto"
    refresh: bool = True
    refresh_only: bool = False
    parallelism: int = 32
    on_rate_limit: OnRateLimit = "wait"


async def make_plan(
    config: Config | Workspace, options: PlanOptions | None = None, *, sink: Sink | None = None
) -> Plan:
    """Compare what the config asks for with both sides and the state; change nothing.

    What cannot be read becomes an error row. Raises StateError for a damaged state and
    UsageError or ConfigError where the rules or options contradict what is there, or where the
    state belongs to another config. A workspace that is open already is worked in as it is.
    """
    options, unwanted = options or PlanOptions(), 0
    workspace, skips = _opened(config, options, sink)
    config = workspace.config
    if options.refresh_only:
        state, changes, unchanged = await _refresh(workspace, options)
    else:
        async with _open_planner(workspace, options) as planner:
            tell_owner(planner.state, config, skips)
            changes, unchanged, unwanted = await planner.plan()
        state = planner.state
        changes = mark_known(changes, config.known, datetime.now(UTC).date())
    header = await heading(
        config,
        state,
        changes,
        unchanged,
        unwanted=unwanted,
        filters=Filters(target=options.target, exclude=options.exclude),
        refresh_only=options.refresh_only,
        notes=skips.notes,
        max_delete=options.max_delete,
    )
    return Plan.of(header, changes)


def _opened(
    config: Config | Workspace, options: PlanOptions, sink: Sink | None
) -> tuple[Workspace, Skips]:
    """Open a workspace that notes in its sink which names were left out."""
    workspace = open_workspace(config, sink=sink, on_rate_limit=options.on_rate_limit)
    skips = Skips(workspace.sink)
    return workspace.telling(skips), skips


async def _refresh(workspace: Workspace, options: PlanOptions) -> tuple[State, list[Change], int]:
    """Compare the records with both sides, whatever the rules ask for."""
    config, state = workspace.config, await state_of(workspace)
    tell_owner(state, config, workspace.sink)
    async with workspace.stores() as stores:
        observer = Observer(stores, state, workspace.sink, options.parallelism)
        deltas = Deltas(config.rules, config.globs, config.base, config.guards)
        changes, unchanged = await find_drift(
            observer, state, options.target, options.exclude, deltas=deltas
        )
    return state, only_told(changes) if config.is_oneshot else changes, unchanged


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the rules ask for now: of each address its source and the digest that it shows."""

    images: dict[Reference, tuple[Reference, Digest]]
    problems: tuple[Change, ...]


async def resolve(
    config: Config | Workspace, options: PlanOptions | None = None, *, sink: Sink | None = None
) -> Resolved:
    """Ask the sources alone what the rules ask for; what cannot be read is an error row.

    With `target` globs only the sources of addresses that they match are asked.
    """
    options = options or PlanOptions()
    workspace, _ = _opened(config, options, sink)
    async with _open_planner(workspace, options) as planner:
        return await planner.resolve()


@asynccontextmanager
async def _open_planner(workspace: Workspace, options: PlanOptions) -> AsyncIterator[_Planner]:
    """Open all that planning reads, and expand the rules that may ask for a target."""
    config, sink = workspace.config, workspace.sink
    narrowed = narrow(config, Globs("target", options.target))
    state = await state_of(workspace)
    async with workspace.stores() as stores:
        observer = Observer(stores, state, sink, options.parallelism, workspace.cache)
        expansion = await expand_rules(narrowed, observer, state)
        expanded = replace(narrowed, rules=expansion.rules, globs=())
        yield _Planner(workspace, expanded, options, state, observer, expansion)


@dataclass(slots=True)
class _Planner:
    workspace: Workspace
    config: Config
    options: PlanOptions
    state: State
    observer: Observer
    expansion: Expansion
    scope: Scope = field(init=False)
    asking: Asking = field(init=False)
    filtering: Filtering = field(init=False)
    comparing: Comparing = field(init=False)
    wholeness: Wholeness = field(init=False)

    def __post_init__(self) -> None:
        self.scope = Scope.of(
            target=self.options.target,
            exclude=self.options.exclude,
            replace=self.options.replace,
            allow_overwrite=self.options.allow_overwrite,
        )
        folder, cache = self.workspace.kept, self.workspace.cache
        self.filtering = Filtering(self.observer, cache, self.state, folder)
        self.comparing = Comparing(self.observer, cache)
        self.wholeness = Wholeness(self.observer, self.state)
        chooser = Chooser.over(self.observer, cache, folder, datetime.now(UTC))
        self.asking = Asking(
            self.config,
            self.state,
            self.observer,
            chooser,
            self.scope,
            self.workspace.sink,
            self.expansion,
        )

    async def plan(self) -> tuple[list[Change], int, int]:
        """Return the changes, how many addresses need none, and how many nobody asks for."""
        rules = narrow(self.config, self.scope.target).rules
        asked, changes = await self.asking.ask(rules)
        doubtful = await self._doubtful(asked)
        wishes, problems = await self._observe(doubtful)
        wishes, unfit = await self.filtering.settle(wishes)
        problems += unfit
        self.asking.unread.add(c.address.repository for c in problems if c.reason == "unreadable")
        changes = merged([*changes, *problems])
        unchanged = len(asked) - len(doubtful)
        for change in await self._decide(wishes):
            if change is None:
                unchanged += 1
            else:
                changes.append(change)
        changes = await self._guarded([*changes, *self.asking.unwanted(asked)], asked)
        changes, unwanted = release(changes, forget=self.options.forget)
        changes = await self.wholeness.settle(changes, self._kept())
        self.scope.check()
        return await self._measure(changes), unchanged, unwanted

    async def resolve(self) -> Resolved:
        """Look at the sources alone."""
        rules = narrow(self.config, self.scope.target).rules
        asked, rows = await self.asking.ask(rules)
        heads = await self.observer.head_sources({each.source for each in asked.values()})
        images: dict[Reference, tuple[Reference, Digest]] = {}
        absent = self._deltas().recorded(self.scope.recorded(self.state))
        problems = Problems(self.state)
        for address, each in asked.items():
            head = heads[each.source]
            if isinstance(head, StoreError):
                problems.add(address, head)
            elif head is not None:
                images[address] = (each.source, head.digest)
            elif address in absent:
                images[address] = absent[address]
            elif each.explicit:
                detail = f"source {each.source}: not found; correct the config, or remove it there"
                rows.append(failed(address, "source_missing", detail))
        images = {a: each for a, each in absent.items() if a not in asked} | images
        return Resolved(images, tuple(merged([*rows, *problems.changes()])))

    async def _doubtful(self, asked: dict[Reference, Asked]) -> dict[Reference, Asked]:
        """Leave out what the state answers for, and in a layout is there."""
        believed = [a for a, each in asked.items() if self._is_as_recorded(a, each)]
        records = [record for a in believed if (record := self.state.record(a)) is not None]
        there = await self.observer.each(records, self.wholeness.shows)
        whole = {
            record.address for record, is_there in zip(records, there, strict=True) if is_there
        }
        return {address: each for address, each in asked.items() if address not in whole}

    def _kept(self) -> list[ImageRecord]:
        """List the records of what `keep_previous` made."""
        if self.config.is_oneshot:
            return []
        return [record for record in self.scope.recorded(self.state) if record.keeps_previous]

    def _is_as_recorded(self, address: Reference, asked: Asked) -> bool:
        """Tell whether the state answers for an address, so that no registry is asked."""
        record = self.state.record(address)
        if record is None or not record.is_live or record.source.reference != asked.named:
            return False
        if record.filter != filter_of(asked.rule):
            return False
        if asked.source.digest not in (None, record.source.digest):
            return False
        if self.scope.replace.match(address):
            return False
        return not self.options.refresh or asked.rule.is_immutable(asked.source.tag)

    async def _observe(
        self, asked: dict[Reference, Asked]
    ) -> tuple[list[tuple[Wish, Descriptor | None]], list[Change]]:
        """Look at both sides of every address; what cannot be read becomes an error row."""
        moving = {each.source for each in asked.values() if each.source.digest is None}
        async with asyncio.TaskGroup() as group:
            heads = group.create_task(self.observer.head_sources(moving))
            looks = group.create_task(self.observer.look_at_destinations(asked))
        destinations = looks.result()
        there_already = self._held(asked, destinations)
        pinned = {each.source for a, each in asked.items() if a not in there_already} - moving
        heads_of = heads.result() | await self.observer.head_sources(pinned)
        sources = {a: there_already.get(a) or heads_of[each.source] for a, each in asked.items()}
        vanished = await self._vanished(asked, sources)
        wishes, problems = [], Problems(self.state)
        for address, each in asked.items():
            gone = None if address in there_already else vanished.get(each.source.repository)
            found = gone or sources[address]
            there = destinations[address]
            if isinstance(found, StoreError):
                problems.add(address, found)
                if isinstance(found, (Archived, Dangling)):
                    self.asking.miss(each.rule)
            elif isinstance(there, StoreError):
                problems.add(address, there)
            elif found is not None and found.media_type in SCHEMA1:
                problems.add_unsupported(address, each.source)
            else:
                overwrite = each.rule.overwrite
                choice = filter_of(each.rule)
                origin = each.named if found else each.source
                wish = Wish(address, origin, found, overwrite, each.explicit, choice)
                wishes.append((wish, there))
        return wishes, problems.changes()

    def _held(
        self,
        asked: dict[Reference, Asked],
        destinations: dict[Reference, Descriptor | StoreError | None],
    ) -> dict[Reference, Descriptor]:
        """Find the pinned images that their destinations tell all of, so that no source has to."""
        found: dict[Reference, Descriptor] = {}
        for address, each in asked.items():
            there = destinations[address]
            if isinstance(there, StoreError) or self.scope.replace.match(address):
                continue
            image = held(each, there, self.state.record(address))
            if image is not None:
                found[address] = image
        return found

    async def _vanished(
        self,
        asked: dict[Reference, Asked],
        sources: dict[Reference, Descriptor | StoreError | None],
    ) -> dict[Repository, StoreError]:
        """Find source repositories that are gone as a whole although something was there.

        A tag that is not there does not tell whether its repository is; images came from it, or
        its own list named the tag.
        """
        doubtful = {
            each.source.repository
            for address, each in asked.items()
            if sources[address] is None
            and not each.rule.is_delta
            and (
                ((record := self.state.record(address)) is not None and record.is_live)
                or not (each.explicit or each.source.digest)
            )
        }
        listings = await self.observer.relist_sources(doubtful)
        return {repo: found for repo, found in listings.items() if isinstance(found, StoreError)}

    async def _decide(self, wishes: list[tuple[Wish, Descriptor | None]]) -> list[Change | None]:
        decided = await self.observer.each(wishes, self._decide_one)
        # A pattern's tag that vanished since the listing is no row, and not unchanged.
        pairs = zip(wishes, decided, strict=True)
        return [change for (wish, _), change in pairs if change or wish.found is not None]

    async def _decide_one(self, pair: tuple[Wish, Descriptor | None]) -> Change | None:
        wish, there = pair
        exceptions = Exceptions(
            replace=self.scope.replace.match(wish.address),
            allow_overwrite=self.scope.allow_overwrite.match(wish.address),
        )
        digest = there.digest if there else None
        change = decide(wish, digest, self.state, exceptions)
        is_conflict = change is not None and change.action in (Action.CONFLICT, Action.UNKNOWN)
        if is_conflict and await self.comparing.are_equivalent(wish, there):
            return decide(wish, digest, self.state, Exceptions(equivalent=True))
        return await self.wholeness.judge(change, wish, digest, exceptions)

    def _deltas(self) -> Deltas:
        rules, globs = self.config.rules, self.workspace.config.globs
        return Deltas(rules, globs, self.config.base, self.config.guards, self.asking.chooser)

    async def _guarded(self, changes: list[Change], asked: dict[Reference, Asked]) -> list[Change]:
        """Move what only gets another address; delete what nobody wants, as far as that may be."""
        guards = self.config.guards
        if guards.moved and not self.config.is_oneshot:
            changes = await Moving(self.observer, self.state, guards.moved).settle(changes, asked)
        changes = self._deltas().settle(changes)
        if deleting := self._deleting(asked):
            changes = await deleting.settle(changes)
        changes = tell_cut_off(changes, self.state)
        if names := KeptNames(self.config, self.expansion.lost):
            keeping = Keeping(self.observer, self.state, names, datetime.now(UTC))
            changes = await keeping.settle(changes, asked)
        return changes

    def _deleting(self, asked: dict[Reference, Asked]) -> Deleting | None:
        """Prepare to delete, if that is allowed; a plan without a config never does."""
        options, guards, unread = self.options, self.config.guards, self.asking.unread
        if self.config.is_oneshot or not (options.allow_delete or options.allow_delete_gone):
            return None
        namesakes = Namesakes(
            self.workspace.config,
            self.state,
            self.observer,
            unread,
            is_part=bool(options.target or options.exclude),
        )
        namesakes.want(asked, (each.named for each in asked.values()))
        written = Unread(self.config.base, guards)
        for rule in (*self.config.rules, *self.expansion.lost):
            written.add_rule(rule)
        return Deleting(
            self.observer,
            self.state,
            guards,
            unread,
            written,
            namesakes,
            options.max_delete or guards.max_delete,
            unwanted=options.allow_delete,
            gone=options.allow_delete_gone,
        )

    async def _measure(self, changes: list[Change]) -> list[Change]:
        measured = await measure(
            changes,
            self.observer.place,
            self.workspace.cache,
            self.state,
            sizes=self.options.sizes,
            parallelism=self.options.parallelism,
        )
        if self.options.sizes == "never":
            return measured
        return await self.observer.each(measured, self.comparing.explain)
