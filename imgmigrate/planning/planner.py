"""Join selection, observation and the diff into a plan; `make_plan` is the one way in."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgmigrate.config.templates import check_names
from imgmigrate.errors import ConfigError, NotFound, StoreError
from imgmigrate.events import NoSink, Warned
from imgmigrate.oci.manifest import INDEXES, SCHEMA1, Descriptor
from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.plan import Action, Change, Filters, Plan
from imgmigrate.planning.choosing import Chooser
from imgmigrate.planning.deleting import Deleting
from imgmigrate.planning.diff import Exceptions, Wish, decide, decide_unwanted, failed
from imgmigrate.planning.drift import find_drift
from imgmigrate.planning.expand import Expansion, expand_rules
from imgmigrate.planning.explain import explain
from imgmigrate.planning.filtering import Filtering, chosen, filter_of
from imgmigrate.planning.globs import Globs
from imgmigrate.planning.heading import heading
from imgmigrate.planning.keeping import Keeping
from imgmigrate.planning.moving import Moving
from imgmigrate.planning.narrowing import narrow
from imgmigrate.planning.observe import Observer
from imgmigrate.planning.problems import Problems, merged
from imgmigrate.planning.sizes import Sizes, measure
from imgmigrate.state.backends.local import LocalState
from imgmigrate.stores.cache import ManifestCache
from imgmigrate.stores.place import read_manifest
from imgmigrate.stores.pool import open_stores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from imgmigrate.config.model import Config, Rule
    from imgmigrate.config.shares import Share
    from imgmigrate.events import Sink
    from imgmigrate.planning.select import Choice
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.stores.registry.metering import OnRateLimit

__all__ = ["PlanOptions", "Resolved", "make_plan", "resolve"]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the command line adds to the config: globs over addresses, sizes, concurrency.

    With `refresh=False` an address that the state records is taken to be as recorded; with
    `refresh_only` the plan tells who moved since the record, and nothing else.
    With `allow_delete` what is no longer wanted is deleted instead of let go, unless that is
    more than `max_delete`, or than the config's. `on_rate_limit` is for where nothing is left of
    a metered registry's pulls: wait until there is, or make error rows of what would need one.
    """

    target: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    allow_overwrite: tuple[str, ...] = ()
    allow_delete: bool = False
    max_delete: Share | None = None
    sizes: Sizes = "auto"
    refresh: bool = True
    refresh_only: bool = False
    parallelism: int = 32
    on_rate_limit: OnRateLimit = "wait"


async def make_plan(
    config: Config, options: PlanOptions | None = None, *, sink: Sink | None = None
) -> Plan:
    """Compare what the config asks for with both sides and the state; change nothing.

    What cannot be read becomes an error row. Raises StateError for a damaged state and
    UsageError or ConfigError where the rules or options contradict what is there.
    """
    options, sink = options or PlanOptions(), sink or NoSink()
    if options.refresh_only:
        state, changes, unchanged = await _refresh(config, options, sink)
    else:
        async with _open_planner(config, options, sink) as planner:
            changes, unchanged = await planner.plan()
        state = planner.state
    filters = Filters(target=options.target, exclude=options.exclude)
    header = await heading(
        config, state, changes, unchanged, filters=filters, refresh_only=options.refresh_only
    )
    return Plan.of(header, changes)


async def _refresh(
    config: Config, options: PlanOptions, sink: Sink
) -> tuple[State, list[Change], int]:
    """Compare the records with both sides, whatever the rules ask for."""
    state = await asyncio.to_thread(LocalState(config.state).read)
    opened = open_stores(config, sink=sink, on_rate_limit=options.on_rate_limit)
    async with opened as stores:
        observer = Observer(stores, state, sink, options.parallelism)
        return state, *await find_drift(observer, state, options.target, options.exclude)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the rules ask for now: of each address its source and the digest that it shows."""

    images: dict[Reference, tuple[Reference, Digest]]
    problems: tuple[Change, ...]


async def resolve(
    config: Config, options: PlanOptions | None = None, *, sink: Sink | None = None
) -> Resolved:
    """Ask the sources alone what the rules ask for; what cannot be read is an error row.

    With `target` globs only the sources of addresses that they match are asked.
    """
    options, sink = options or PlanOptions(), sink or NoSink()
    narrowed = narrow(config, Globs("target", options.target))
    async with _open_planner(narrowed, options, sink) as planner:
        return await planner.resolve()


@asynccontextmanager
async def _open_planner(
    config: Config, options: PlanOptions, sink: Sink
) -> AsyncIterator[_Planner]:
    """Open all that planning reads, and expand the rules."""
    state = await asyncio.to_thread(LocalState(config.state).read)
    cache = ManifestCache(config.state / "cache")
    opened = open_stores(config, sink=sink, on_rate_limit=options.on_rate_limit)
    async with opened as stores:
        observer = Observer(stores, state, sink, options.parallelism)
        expansion = await expand_rules(config, observer, state)
        expanded = replace(config, rules=expansion.rules, globs=())
        planner = _Planner(expanded, options, state, cache, observer, sink, expansion=expansion)
        planner.unlisted |= {(rule.number, rule.source) for rule in expansion.lost}
        yield planner


@dataclass(frozen=True, slots=True)
class _Asked:
    """One address that a rule asks for, before anybody looked at the source."""

    source: Reference
    rule: Rule
    explicit: bool

    @property
    def named(self) -> Reference:
        """The source as rows and records name it: by its tag also where a digest is pinned."""
        tag = self.source.tag
        return self.source.repository.at(tag) if tag else self.source


@dataclass(slots=True)
class _Planner:
    config: Config
    options: PlanOptions
    state: State
    cache: ManifestCache
    observer: Observer
    sink: Sink
    target: Globs = field(init=False)
    exclude: Globs = field(init=False)
    replace: Globs = field(init=False)
    allow_overwrite: Globs = field(init=False)
    chooser: Chooser = field(init=False)
    filtering: Filtering = field(init=False)
    expansion: Expansion = field(default_factory=Expansion)
    # Rules whose source could not be listed: their records are neither kept nor forgotten.
    unlisted: set[tuple[int, Repository]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.target = Globs("target", self.options.target)
        self.exclude = Globs("exclude", self.options.exclude)
        self.replace = Globs("replace", self.options.replace)
        self.allow_overwrite = Globs("allow-overwrite", self.options.allow_overwrite)
        folder = self.config.state / "cache"
        self.filtering = Filtering(self.observer, self.cache, self.state, folder / "platforms")
        self.chooser = Chooser.over(self.observer, self.cache, folder, datetime.now(UTC))

    async def plan(self) -> tuple[list[Change], int]:
        """Return the changes and how many addresses need none."""
        asked, changes = await self._ask()
        doubtful = {a: each for a, each in asked.items() if not self._is_as_recorded(a, each)}
        wishes, problems = await self._observe(doubtful)
        wishes, unfit = await self.filtering.settle(wishes)
        changes = merged([*changes, *problems, *unfit])
        unchanged = len(asked) - len(doubtful)
        for change in await self._decide(wishes):
            if change is None:
                unchanged += 1
            else:
                changes.append(change)
        changes = await self._guarded([*changes, *self._unwanted(asked)], asked)
        for globs in (self.target, self.exclude, self.replace, self.allow_overwrite):
            globs.check()
        return await self._measure(changes), unchanged

    async def resolve(self) -> Resolved:
        """Look at the sources alone."""
        self.config = narrow(self.config, self.target)
        asked, rows = await self._ask()
        heads = await self.observer.head_sources({each.source for each in asked.values()})
        images: dict[Reference, tuple[Reference, Digest]] = {}
        problems = Problems(self.state)
        for address, each in asked.items():
            head = heads[each.source]
            if isinstance(head, StoreError):
                problems.add(address, head)
            elif head is not None:
                images[address] = (each.source, head.digest)
            elif each.explicit:
                detail = f"source {each.source}: not found; correct the config, or remove it there"
                rows.append(failed(address, "source_missing", detail))
        return Resolved(images, tuple(merged([*rows, *problems.changes()])))

    async def _ask(self) -> tuple[dict[Reference, _Asked], list[Change]]:
        """Turn rules into addresses; a source that cannot be listed becomes error rows."""
        listings = await self.observer.list_sources(
            rule.source for rule in self.config.rules if rule.has_patterns
        )
        asked: dict[Reference, _Asked] = {}
        problems: list[Change] = list(self.expansion.problems)
        choices = await self.chooser.choose_all(self.config.rules, listings)
        for rule, choice in zip(self.config.rules, choices, strict=True):
            if isinstance(choice, StoreError):
                self.unlisted.add((rule.number, rule.source))
                for destination in rule.destinations:
                    address = Reference(destination.repository)
                    problems.append(self._unlistable(address, rule, choice))
                    for globs in (self.target, self.exclude, self.replace, self.allow_overwrite):
                        globs.excuse(destination.repository)
                continue
            for source, addresses, explicit in _expand(rule, choice):
                check_names(rule, source, addresses)
                for address in addresses:
                    if self._is_wanted(address):
                        _add(asked, address, _Asked(source, rule, explicit))
            if rule.has_patterns and not rule.from_glob and not choice.tags:
                message = f"{rule.file}:{rule.line}: {rule.source}: the rule matches no tag"
                self.sink.emit(Warned("rule_matches_nothing", message))
        self.chooser.refuse_shortages()
        return asked, problems

    def _unlistable(self, address: Reference, rule: Rule, error: StoreError) -> Change:
        known = any(record.source.reference.repository == rule.source for record in self._live())
        missing = isinstance(error, NotFound) and not known
        return failed(address, "source_missing" if missing else "unreadable", str(error))

    def _live(self) -> Iterable[ImageRecord]:
        return self.state.live()

    def _is_wanted(self, address: Reference) -> bool:
        """Apply --target and --exclude; both are asked, so that each notes what it matched."""
        targeted = self.target.match(address) or not self.target
        return not self.exclude.match(address) and targeted

    def _is_as_recorded(self, address: Reference, asked: _Asked) -> bool:
        """Tell whether the state answers for an address, so that no registry is asked."""
        record = self.state.record(address)
        if record is None or not record.is_live or record.source.reference != asked.named:
            return False
        if record.filter != filter_of(asked.rule):
            return False
        if asked.source.digest not in (None, record.source.digest):
            return False
        if self.replace.match(address):
            return False
        return not self.options.refresh or asked.rule.is_immutable(asked.source.tag)

    async def _observe(
        self, asked: dict[Reference, _Asked]
    ) -> tuple[list[tuple[Wish, Descriptor | None]], list[Change]]:
        """Look at both sides of every address; what cannot be read becomes an error row."""
        async with asyncio.TaskGroup() as group:
            heads = group.create_task(
                self.observer.head_sources({each.source for each in asked.values()})
            )
            looks = group.create_task(self.observer.look_at_destinations(asked))
        sources, destinations = heads.result(), looks.result()
        vanished = await self._vanished(asked, sources)
        wishes, problems = [], Problems(self.state)
        for address, each in asked.items():
            found = vanished.get(each.source.repository) or sources[each.source]
            there = destinations[address]
            if isinstance(found, StoreError):
                problems.add(address, found)
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

    async def _vanished(
        self,
        asked: dict[Reference, _Asked],
        sources: dict[Reference, Descriptor | StoreError | None],
    ) -> dict[Repository, StoreError]:
        """Find source repositories that are gone as a whole although images came from them.

        A HEAD that answers 404 does not tell a tag that is gone from a repository that is.
        """
        doubtful = {
            each.source.repository
            for address, each in asked.items()
            if sources[each.source] is None
            and (record := self.state.record(address)) is not None
            and record.is_live
        }
        listings = await self.observer.list_sources(doubtful)
        return {repo: found for repo, found in listings.items() if isinstance(found, StoreError)}

    async def _decide(self, wishes: list[tuple[Wish, Descriptor | None]]) -> list[Change | None]:
        decided = await self.observer.each(wishes, self._decide_one)
        # A pattern's tag that vanished between listing and HEAD is no row, and not unchanged.
        pairs = zip(wishes, decided, strict=True)
        return [change for (wish, _), change in pairs if change or wish.found is not None]

    async def _decide_one(self, pair: tuple[Wish, Descriptor | None]) -> Change | None:
        wish, there = pair
        exceptions = Exceptions(
            replace=self.replace.match(wish.address),
            allow_overwrite=self.allow_overwrite.match(wish.address),
        )
        digest = there.digest if there else None
        change = decide(wish, digest, self.state, exceptions)
        is_conflict = change is not None and change.action is Action.CONFLICT
        if is_conflict and await self._are_equivalent(wish, there):
            return decide(wish, digest, self.state, Exceptions(equivalent=True))
        return change

    async def _are_equivalent(self, wish: Wish, there: Descriptor | None) -> bool:
        """Tell whether both sides are indexes of the same children in other bytes."""
        found = wish.found
        if found is None or there is None:
            return False
        if found.media_type not in INDEXES or there.media_type not in INDEXES:
            return False
        try:
            source = await read_manifest(
                self.observer.place(wish.source.repository), found.digest, self.cache
            )
            destination = await read_manifest(
                self.observer.place(wish.address.repository), there.digest, self.cache
            )
            source = chosen(source, wish.filter)
        except (StoreError, ValueError):  # then it stays the conflict that it is
            return False
        ours = sorted(child.digest for child in source.children)
        return ours == sorted(child.digest for child in destination.children)

    async def _guarded(self, changes: list[Change], asked: dict[Reference, _Asked]) -> list[Change]:
        """Move what only gets another address; delete what nobody wants, as far as that may be."""
        guards = self.config.guards
        if guards.moved and not self.config.is_oneshot:
            changes = await Moving(self.observer, self.state, guards.moved).settle(changes, asked)
        if self.options.allow_delete:
            most = self.options.max_delete or guards.max_delete
            changes = await Deleting(self.observer, self.state, guards, most).settle(changes)
        if guards.keep_previous is not None:
            keeping = Keeping(self.observer, self.state, guards.keep_previous, datetime.now(UTC))
            changes = await keeping.settle(changes, asked)
        return changes

    def _unwanted(self, asked: dict[Reference, _Asked]) -> list[Change]:
        """Decide the live records that no rule asks for, as the sources are listed now."""
        if self.config.is_oneshot:  # another one-shot plan asked for them
            return []
        by_source = defaultdict(list)
        for rule in (*self.config.rules, *self.expansion.lost):
            by_source[rule.source].append(rule)
        changes = []
        for record in self._live():
            if record.address in asked or not self._is_wanted(record.address):
                continue
            if record.keeps_previous:
                continue
            rules = by_source[record.source.reference.repository]
            wanting = [rule for rule in rules if self.chooser.still_selects(rule, record)]
            if any((rule.number, rule.source) in self.unlisted for rule in wanting):
                continue
            repositories = {each.repository for rule in rules for each in rule.destinations}
            changes.append(
                decide_unwanted(
                    record,
                    still_selected=bool(wanting),
                    rule_exists=record.address.repository in repositories,
                )
            )
        return changes

    async def _measure(self, changes: list[Change]) -> list[Change]:
        measured = await measure(
            changes,
            self.observer.place,
            self.cache,
            self.state,
            sizes=self.options.sizes,
            parallelism=self.options.parallelism,
        )
        if self.options.sizes == "never":
            return measured
        return await self.observer.each(measured, self._explain)

    async def _explain(self, change: Change) -> Change:
        """Add what changes inside an updated image, where both manifests are to be had free."""
        source, before = change.source, change.before
        if change.action is not Action.UPDATE or source is None or before in (None, change.after):
            return change
        new = self.cache.get(source.digest)
        place = self.observer.place(change.address.repository)
        if source.reference.repository.is_layout:
            origin = self.observer.place(source.reference.repository)
            new = await read_manifest(origin, source.digest, self.cache)
        if new is None or before is None or place.store.is_metered:
            return change
        try:
            old = await read_manifest(place, before, self.cache)
            new = chosen(new, change.filter)
        except (StoreError, ValueError):  # an explanation is not worth an error
            return change
        return change.model_copy(update={"inside": explain(old, new)})


def _expand(rule: Rule, choice: Choice) -> Iterable[tuple[Reference, tuple[Reference, ...], bool]]:
    """List (source, addresses, named explicitly) of a rule."""
    if rule.digest is not None:
        source = Reference(rule.source, rule.pinned_tag, rule.digest)
        yield source, rule.digest_addresses(), True
        return
    # A glob names a tag in no repository in particular: where it is missing, nothing is wrong.
    explicit = set() if rule.from_glob else set(rule.explicit_tags)
    for tag in choice.tags:
        yield rule.source.at(tag), rule.addresses(tag), tag in explicit


def _add(asked: dict[Reference, _Asked], address: Reference, new: _Asked) -> None:
    """Ask for an address once; two different sources for it are an error naming both lines."""
    first = asked.setdefault(address, new)
    if first.rule.from_glob != new.rule.from_glob:
        # A rule that names its repository beats one with a glob (DESIGN section 3).
        asked[address] = new if first.rule.from_glob else first
        return
    if first.source != new.source:
        message = (
            f"{address} is asked for from two sources: {first.source} "
            f"({first.rule.file}:{first.rule.line}) and {new.source}"
        )
        hint = "give one of them another destination, or select its tags more narrowly"
        raise ConfigError(message, file=new.rule.file, line=new.rule.line, hint=hint)
    if first.rule.platforms != new.rule.platforms:
        place = f"{first.rule.file}:{first.rule.line}"
        message = f"{address} is asked for with other platforms in {place}"
        hint = "name the same platforms in both, or select the tags of one more narrowly"
        raise ConfigError(message, file=new.rule.file, line=new.rule.line, hint=hint)
