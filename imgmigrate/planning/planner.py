"""Join selection, observation and the diff into a plan; `make_plan` is the one way in."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError
from imgmigrate.observing.globs import Globs
from imgmigrate.observing.keyrings import Verifier, read_keys
from imgmigrate.observing.observe import Observer
from imgmigrate.observing.problems import Problems, failed, merged
from imgmigrate.observing.referrers import Listings
from imgmigrate.observing.scope import Scope
from imgmigrate.observing.sightings import Shown, record_plan, tell_unrecorded
from imgmigrate.observing.skipped import Skips
from imgmigrate.plan import Action, Change, Filters, Plan, Reason
from imgmigrate.planning.desired.delta import Deltas
from imgmigrate.planning.desired.desired import Asking
from imgmigrate.planning.desired.expand import expand_rules, narrow
from imgmigrate.planning.desired.tags import Chooser
from imgmigrate.planning.diff import Exceptions, Wish, decide
from imgmigrate.planning.heading import heading
from imgmigrate.planning.owner import looking, tell_owner
from imgmigrate.planning.passes.base import run_passes
from imgmigrate.planning.passes.deletes import CutOff, DeleteLimit, Deleting, Release, told_limit
from imgmigrate.planning.passes.gone import Gone
from imgmigrate.planning.passes.inside import Comparing, Explain
from imgmigrate.planning.passes.keep_previous import Keeping, KeptNames, Outlived
from imgmigrate.planning.passes.known_conflicts import KnownConflicts
from imgmigrate.planning.passes.moves import Moving
from imgmigrate.planning.passes.namesakes import Namesakes
from imgmigrate.planning.passes.new_repositories import NewRepositories
from imgmigrate.planning.passes.platforms import Filtering
from imgmigrate.planning.passes.sizes import Measure, Sizes
from imgmigrate.planning.passes.wholeness import Unmendable, Wholeness
from imgmigrate.planning.reach import open_stores
from imgmigrate.planning.referring import Referring
from imgmigrate.planning.sides import Sides
from imgmigrate.planning.signatures import SignatureCheck
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from imgmigrate.config.model import Config
    from imgmigrate.config.values.shares import Share
    from imgmigrate.events import Sink
    from imgmigrate.observing.keyrings import Keyring
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.planning.desired.expand import Expansion
    from imgmigrate.planning.passes.base import Pass
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.stores.base import Stores
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.workspace import Workspace

__all__ = ["PlanOptions", "Resolved", "make_plan", "resolve"]


class PlanOptions(Struct, frozen=True):
    """What the command line adds to the config: globs over addresses, sizes, concurrency.

    With `refresh=False` an address that the state records is taken to be as recorded; with
    `refresh_only` the plan tells who moved since the record, and nothing else.
    With `refresh_referrers` what refers to images is asked for of all of them, not only of those
    that are new or have moved.
    With `allow_delete` what no rule asks for any more is deleted, with `allow_delete_gone` what
    its source has lost, unless both are more than `max_delete`, or than the config's; with
    `forget` what no rule asks for is let go and stays. `on_rate_limit` is for where nothing is
    left of a metered registry's pulls: wait until there is, or make error rows of what would need
    one. A registry that is down is waited for `outage` seconds; one that the state does not know,
    and that cannot be reached at all, only with `awaits_strangers`. What the sources show is
    recorded beside the state with `record`; with False the plan says where it matters that it is
    not, and with None that is for whoever applies it.
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
    refresh_referrers: bool = False
    parallelism: int = 32
    on_rate_limit: OnRateLimit = "wait"
    outage: float = 0
    awaits_strangers: bool = False
    record: bool | None = None


async def make_plan(
    config: Config | Workspace, options: PlanOptions | None = None, *, sink: Sink | None = None
) -> Plan:
    """Compare what the config asks for with both sides and the state; change neither.

    What cannot be read becomes an error row. Raises StateError for a damaged state and
    UsageError or ConfigError where the rules or options contradict what is there, or where the
    state belongs to another config. A workspace that is open already is worked in as it is.
    """
    options, unwanted = options or PlanOptions(), 0
    shown: Sequence[Shown] = ()
    workspace, skips = _opened(config, options, sink)
    config = workspace.config
    target = Globs("target", options.target)
    async with looking(workspace) as state:
        if options.refresh_only:
            changes, unchanged = await _refresh(workspace, options, state)
        else:
            async with _open_planner(workspace, options, target, state) as planner:
                tell_owner(state, config, skips)
                changes, unchanged, unwanted = await planner.plan()
                for learnt in planner.observer.stores.rates():
                    skips.emit(learnt)
            shown = planner.shown
        header = await heading(
            config,
            state,
            changes,
            unchanged,
            unwanted=unwanted,
            filters=Filters(target=options.target, exclude=options.exclude),
            refresh_only=options.refresh_only,
            notes=(*skips.notes, *told_limit(changes, options.max_delete, config.guards, state)),
            max_delete=options.max_delete,
        )
    if options.record is not None:
        await (record_plan if options.record else tell_unrecorded)(workspace, shown)
    return Plan.of(header, changes)


def _opened(
    config: Config | Workspace, options: PlanOptions, sink: Sink | None
) -> tuple[Workspace, Skips]:
    """Open a workspace that notes in its sink which names were left out."""
    workspace = open_workspace(config, sink=sink, on_rate_limit=options.on_rate_limit)
    skips = Skips(workspace.sink)
    return workspace.telling(skips), skips


async def _refresh(
    workspace: Workspace, options: PlanOptions, state: State
) -> tuple[list[Change], int]:
    """Compare the records with both sides, whatever the rules ask for."""
    from imgmigrate.planning.drift import OnlyTold, find_drift

    config = workspace.config
    keyrings = read_keys(config.signatures)
    tell_owner(state, config, workspace.sink)
    async with _open_stores(workspace, options, state) as stores:
        observer = Observer(stores, state, workspace.sink, options.parallelism)
        deltas = Deltas(config.rules, config.globs, config.base, config.guards)
        changes, unchanged = await find_drift(
            observer, state, options.target, options.exclude, deltas=deltas
        )
        passes: tuple[Pass, ...] = (OnlyTold(is_owned=not config.is_oneshot),)
        if keyrings:  # what moved on both sides is recorded, so it has to be signed as well
            verifier = Verifier(observer, workspace.cache, keyrings, Listings())
            check = SignatureCheck(verifier, state, config.base, of_records=True)
            passes = (*passes, check)
        return await run_passes(passes, changes, {}), unchanged


class Resolved(Struct, frozen=True):
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
    target = Globs("target", options.target)
    async with (
        looking(workspace) as state,
        _open_planner(workspace, options, target, state) as planner,
    ):
        return await planner.resolve()


@asynccontextmanager
async def _open_planner(
    workspace: Workspace, options: PlanOptions, target: Globs, state: State
) -> AsyncIterator[_Planner]:
    """Open all that planning reads, and expand the rules that may ask for a target."""
    config, sink = workspace.config, workspace.sink
    narrowed = narrow(config, target)
    async with _open_stores(workspace, options, state) as stores:
        observer = Observer(stores, state, sink, options.parallelism, workspace.cache)
        expansion = await expand_rules(narrowed, observer, state, target)
        expanded = replace(narrowed, rules=expansion.rules, globs=())
        yield _Planner(workspace, expanded, options, state, observer, expansion)


def _open_stores(
    workspace: Workspace, options: PlanOptions, state: State
) -> AbstractAsyncContextManager[Stores]:
    return open_stores(
        workspace, state, outage=options.outage, awaits_strangers=options.awaits_strangers
    )


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
    sides: Sides = field(init=False)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    # What sources show, as far as that is to be recorded, or said not to be.
    shown: list[Shown] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scope = Scope.of(
            target=self.options.target,
            exclude=self.options.exclude,
            replace=self.options.replace,
            allow_overwrite=self.options.allow_overwrite,
        )
        folder, cache = self.workspace.kept, self.workspace.cache
        skips = self.workspace.sink if self.config.is_lenient else None
        self.filtering = Filtering(
            self.observer,
            cache,
            self.state,
            folder,
            sink=self.workspace.sink,
            replaces=self.scope.replace.match,
            skips=skips,
        )
        self.comparing = Comparing(self.observer, cache)
        self.wholeness = Wholeness(self.observer, self.state)
        chooser = Chooser.over(self.observer, cache, folder, self.now)
        self.asking = Asking(
            self.config,
            self.state,
            self.observer,
            chooser,
            self.scope,
            self.workspace.sink,
            self.expansion,
        )
        self.sides = Sides(
            self.observer, self.state, self.scope, self.asking, self.wholeness, self.options.refresh
        )

    async def plan(self) -> tuple[list[Change], int, int]:
        """Return the changes, how many addresses need none, and how many nobody asks for."""
        rules = narrow(self.config, self.scope.target).rules
        keyrings = read_keys(self.config.signatures)
        asked, changes = await self.asking.ask(rules)
        doubtful = await self.sides.doubtful(asked)
        wishes, problems = await self.sides.look(doubtful)
        wishes, unfit = await self.filtering.choose(wishes)
        problems += unfit
        self.asking.unread.add(
            row.address.repository for row in problems if row.reason == Reason.UNREADABLE
        )
        changes = merged([*changes, *problems])
        unchanged = len(asked) - len(doubtful)
        if self.options.record is not None:
            self.shown += self._shown(wishes)
        if self.options.record:
            self.shown += self._recorded(asked.keys() - doubtful.keys())
        for change in await self._decide(wishes):
            if change is None:
                unchanged += 1
            else:
                changes.append(change)
        changes += self.asking.unwanted(asked)
        kept = self._kept()
        self.scope.check()
        release = Release(self.options.forget)
        changes = await run_passes(self._passes(release, kept, keyrings), changes, asked)
        return changes, unchanged, release.unwanted

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
                rows.append(failed(address, Reason.SOURCE_MISSING, detail))
        images = {a: each for a, each in absent.items() if a not in asked} | images
        return Resolved(images, tuple(merged([*rows, *problems.changes()])))

    def _shown(self, wishes: Iterable[tuple[Wish, Descriptor | None]]) -> Iterator[Shown]:
        """What was looked at, and whether its destination shows it."""
        for wish, there in wishes:
            if wish.found is not None:
                wanted = wish.kept or wish.found.digest
                is_there = there is not None and there.digest == wanted
                yield Shown(wish.source.repository, wish.found.digest, is_there)

    def _recorded(self, believed: Iterable[Reference]) -> Iterator[Shown]:
        """What the state answered for."""
        for address in believed:
            record = self.state.record(address)
            if record is not None:
                source = record.source
                yield Shown(source.reference.repository, source.digest, is_there=True)

    def _kept(self) -> list[ImageRecord]:
        """List the records of what `keep_previous` made."""
        if self.config.is_oneshot:
            return []
        return [record for record in self.scope.recorded(self.state) if record.keeps_previous]

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

    def _passes(
        self, release: Release, kept: Sequence[ImageRecord], keyrings: Sequence[Keyring]
    ) -> tuple[Pass, ...]:
        """Everything that changes the rows, in its order; each does nothing where it has to.

        What moves is found before anything is asked for or deleted; what is not signed, or lacks
        what is required, is refused before it lets anything else happen; what is deleted is found
        before what stays is let go, what is replaced before it is kept, and all rows before they
        are measured.
        """
        options, observer, state = self.options, self.observer, self.state
        cache, is_part = self.workspace.cache, bool(options.target or options.exclude)
        guards, unread, sizes = self.config.guards, self.asking.unread, self.options.sizes
        rules = (*self.config.rules, *self.expansion.lost)
        listings = Listings()
        whole_sink = None if is_part else self.workspace.sink
        # What no config asks for neither moves nor deletes.
        owns = not self.config.is_oneshot
        return (
            Moving(
                observer,
                state,
                guards.moved if owns else (),
                whole_sink,
            ),
            self._deltas(),
            SignatureCheck(
                Verifier(observer, cache, keyrings, listings), state, self.config.base, whole_sink
            ),
            Referring(
                observer,
                cache,
                state,
                self.workspace.sink,
                sizes,
                options.refresh_referrers,
                listings,
            ),
            Gone(observer, state),
            Outlived(
                kept if options.allow_delete else (), rules, guards.keep_previous_for, self.now
            ),
            Deleting(
                observer,
                state,
                guards,
                unread,
                rules,
                self.config.base,
                unwanted=owns and options.allow_delete,
                gone=owns and options.allow_delete_gone,
            ),
            Namesakes(self.workspace.config, state, observer, unread, is_part=is_part),
            DeleteLimit(options.max_delete or guards.max_delete, state),
            CutOff(state),
            Keeping(observer, state, KeptNames(self.config, self.expansion.lost), self.now),
            release,
            Unmendable(self.wholeness, kept),
            Measure(observer.place, cache, state, sizes, options.parallelism, is_part),
            Explain(observer, cache, sizes),
            NewRepositories(observer),
            KnownConflicts(self.workspace.config.known, self.now.date()),
        )
