"""Turn rules of many repositories into rules of one each, before anything else is planned.

Rules that can ask for nothing that is wanted are left out first, so that nobody asks for them.
What cannot be listed is an error row, never nothing to do; and a repository that images came
from does not become nothing by being missing from a list (DESIGN section 5). The state is asked
about repositories that are missing alone, and with targets only where one may be about what a rule
makes of them: so that of a million records a part is planned in seconds.
"""

from __future__ import annotations

import dataclasses
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.errors import ConfigError, StoreError, on_side
from imgmigrate.observing.problems import failed, unreadable
from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.plan import Reason
from imgmigrate.planning.desired.delta import may_come
from imgmigrate.planning.desired.select import would_select
from imgmigrate.planning.desired.unread import Unread
from imgmigrate.rules.templates import concrete_rule, sample_rule
from imgmigrate.stores.registry.quirks import quirks_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from imgmigrate.config.model import Config
    from imgmigrate.observing.globs import Globs
    from imgmigrate.observing.observe import Observer
    from imgmigrate.plan import Change
    from imgmigrate.rules.rule import GlobRule, Rule
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["Expansion", "expand_rules", "narrow"]


class Expansion(Struct, frozen=True):
    """Rules of one repository each, those that name it first.

    `problems` are error rows of what could not be listed; `lost` are rules of repositories that
    records came from and that nobody can list now: their records are neither kept nor forgotten.
    Of the globs in `unread` nobody knows what they match.
    """

    rules: tuple[Rule, ...] = ()
    problems: tuple[Change, ...] = ()
    lost: tuple[Rule, ...] = ()
    unread: tuple[GlobRule, ...] = ()
    # What a glob matches and its rule leaves out.
    excluded: tuple[tuple[GlobRule, Repository], ...] = ()


def narrow(config: Config, globs: Globs) -> Config:
    """Keep the rules that may ask for an address that some glob matches; all without globs.

    Rules are kept by their destinations' repositories, whatever tags they name: a rule that
    names its repository still stands before one of many (DESIGN section 3).
    """
    if not globs:
        return config
    rules = tuple(rule for rule in config.rules if _may_ask(rule, globs))
    many = tuple(rule for rule in config.globs if _may_ask_some(rule, globs, str(config.base)))
    return dataclasses.replace(config, rules=rules, globs=many)


def _may_ask(rule: Rule, globs: Globs) -> bool:
    return any(globs.may_match(each.repository) for each in rule.destinations)


def _may_ask_some(rule: GlobRule, globs: Globs, base: str) -> bool:
    """Only the stores are the same for all that a rule of many repositories makes."""
    sample = sample_rule(rule, base)
    return any(globs.may_match_in(each.repository.store) for each in sample.destinations)


async def expand_rules(
    config: Config, observer: Observer, state: State, target: Globs | None = None
) -> Expansion:
    """List what the globs of a config match, each glob once, and make a rule of each match.

    Of what is lost, with a `target`, only what may be about an address that it matches is told.
    ConfigError for a registry's match whose destination is not a name that registries take; a
    layout's is an error row.
    """
    if not config.globs:
        _check_destinations(config.rules)
        return Expansion(config.rules)
    sources = sorted({each.rule.source for each in config.globs})
    answers = await observer.each(sources, _Lister(observer).ask)
    listings = dict(zip(sources, answers, strict=True))
    expander = _Expander(config, state, _Reach.of(target, config, state))
    for rule in config.globs:
        expander.add(rule, listings[rule.rule.source])
    rules = (*config.rules, *expander.rules)
    _check_destinations(rules)
    return Expansion(
        rules,
        tuple(expander.problems),
        tuple(expander.lost),
        tuple(expander.unread),
        tuple(expander.excluded),
    )


def _check_destinations(rules: Iterable[Rule]) -> None:
    """Refuse names that a registry is known to refuse, before anything is sent."""
    for rule in rules:
        for destination in rule.destinations:
            name = destination.repository
            most = None if name.is_layout else quirks_of(name.store).most_segments
            if most is not None and len(name.path.split("/")) > most:
                message = f"for {rule.source}, the destination is {name}; "
                message += f"names at {name.store} have at most {most} parts"
                hint = 'join the others with flatten: "-", or use {name}'
                raise ConfigError(message, file=rule.file, line=rule.line, hint=hint)


class _Lister(Struct, frozen=True):
    observer: Observer

    async def ask(self, glob: Repository) -> list[Repository] | StoreError:
        """List the repositories that a glob matches."""
        place = self.observer.source(glob)
        try:
            with on_side("source"):
                found = await place.store.list_repositories(glob.path)
        except StoreError as error:
            return error
        return [Repository(glob.store, path) for path in found]


class _Reach(Struct, frozen=True):
    """Which destinations targets may be about; all where there are none.

    A registry may have several names, so one counts under every host of `stores`, and a folder
    under every path: what nobody knows to be wanted there stays, whatever it is called.
    """

    targets: Globs | None = None
    stores: frozenset[str] = frozenset()

    @classmethod
    def of(cls, targets: Globs | None, config: Config, state: State) -> _Reach:
        """Note all hosts that an address may be at, recorded or asked for."""
        if not targets:
            return cls()
        samples = (sample_rule(each, str(config.base)) for each in config.globs)
        made = (each.repository for rule in (*config.rules, *samples) for each in rule.destinations)
        return cls(targets, frozenset(each.store for each in chain(state.repositories(), made)))

    def takes(self, repository: Repository) -> bool:
        """Tell whether a target may be about a repository by this very name."""
        return not self.targets or self.targets.may_match(repository)

    def holds(self, rule: Rule) -> bool:
        """Tell whether a target may be about what a rule writes, by whatever name."""
        return any(self._may_be(each.repository) for each in rule.destinations)

    def _may_be(self, repository: Repository) -> bool:
        if self.takes(repository):
            return True
        if repository.is_layout:
            return self.targets is not None and self.targets.may_match_in(repository.store)
        return any(self.takes(Repository(store, repository.path)) for store in self.stores)


class _Expander:
    def __init__(self, config: Config, state: State, reach: _Reach) -> None:
        self.rules: list[Rule] = []
        self.problems: list[Change] = []
        self.lost: list[Rule] = []
        self.unread: list[GlobRule] = []
        self.excluded: list[tuple[GlobRule, Repository]] = []
        self._base, self._state, self._guards = str(config.base), state, config.guards
        self._reach = reach
        # What rules that name their repository say is all that is said of that pair.
        self._named = {
            (rule.source, each.repository)
            for rule in config.rules
            if rule.digest is None
            for each in rule.destinations
        }

    def add(self, rule: GlobRule, listing: list[Repository] | StoreError) -> None:
        """Make the rules of one glob."""
        if isinstance(listing, StoreError):
            self.lost += self._known(rule)
            self.unread.append(rule)
            detail = f"{rule.rule.source}: {listing}"
            self._report_all(rule, Reason.UNREADABLE, detail, error=listing)
            return
        matching = [source for source in listing if not rule.excludes(Reference(source))]
        self.excluded += [(rule, source) for source in sorted({*listing} - {*matching})]
        if rule.rule.is_delta and (self._brought(rule) or self._is_known(rule)):
            # What it does not carry stays as it is.
            self.rules += [made for source in matching for made in self._concrete(rule, source)]
            return
        if not matching:
            # With nothing there, what is recorded has vanished as a whole.
            known = self._known(rule)
            self.lost += known
            self.unread.append(rule)
            cause = "every repository that it matches is excluded" if listing else "no repository"
            said = cause if listing else f"it matches {cause}"
            is_known = known or self._is_known(rule)
            reason = Reason.UNREADABLE if is_known else Reason.SOURCE_MISSING
            self._report_all(rule, reason, f"source {rule.rule.source}: {said}")
            return
        for source in matching:
            try:
                self.rules += self._concrete(rule, source)
            except ConfigError as error:
                # Any folder may turn up on a disk; a registry's names are known to who asks it.
                if not source.is_layout:
                    raise
                self._report_all(rule, Reason.UNREADABLE, f"source {source}: {error}")
        for gone in self._known(rule, there=frozenset(listing)):
            self.lost.append(gone)
            self._report(gone)

    def _concrete(self, rule: GlobRule, source: Repository) -> Iterable[Rule]:
        made = concrete_rule(rule, source, self._base)
        destinations = tuple(
            each for each in made.destinations if (source, each.repository) not in self._named
        )
        if destinations:
            yield replace(made, destinations=destinations)

    def _brought(self, rule: GlobRule) -> bool:
        """Tell whether something is recorded where a delta may write, from whatever folder."""
        base = Path(self._base)
        return any(
            may_come(rule, repository, base, self._guards)
            for repository in self._state.repositories()
        )

    def _known(self, rule: GlobRule, there: Collection[Repository] = ()) -> list[Rule]:
        """The rules of repositories that live records came from by this glob, and none of `there`.

        With targets only those that may say something of what one is about.
        """
        found = [
            (first.address, made)
            for made in self._of_sources(rule, there)
            if self._reach.holds(made) and (first := self._first(made)) is not None
        ]
        return [made for _, made in sorted(found, key=lambda pair: pair[0])]

    def _is_known(self, rule: GlobRule) -> bool:
        """Tell whether a live record came by this glob, wherever its image is."""
        return any(self._first(made) is not None for made in self._of_sources(rule))

    def _of_sources(self, rule: GlobRule, there: Collection[Repository] = ()) -> Iterator[Rule]:
        """The rules that this glob makes of repositories that are recorded as sources."""
        # All names before the first question: a state that is elsewhere reads ahead by them.
        for source in tuple(self._state.sources()):
            if source not in there and rule.takes(Reference(source)):
                yield from self._concrete(rule, source)

    def _first(self, made: Rule) -> ImageRecord | None:
        """The first live record that came by a rule."""
        for record in self._state.from_source(made.source):
            if would_select(made, record) or self._writes_there(made, record):
                return record
        return None

    def _writes_there(self, made: Rule, record: ImageRecord) -> bool:
        """Tell whether a rule writes to where a record's image is, under another name."""
        repository, tag = record.address.repository, record.source.reference.tag
        if any(each.repository == repository for each in made.destinations):
            return False
        if tag is None or not made.selects(tag):
            return False
        places = Unread(Path(self._base), self._guards)
        places.add_rule(made)
        return places.covers(repository)

    def _report(self, gone: Rule) -> None:
        detail = (
            f"source {gone.source}: images came from it, and it is not in the list of its "
            "registry's repositories any more; exclude it, or name it in a rule of its own"
        )
        self.problems += [
            failed(Reference(each.repository), Reason.UNREADABLE, detail)
            for each in gone.destinations
            if self._reach.takes(each.repository)
        ]

    def _report_all(
        self, rule: GlobRule, reason: Reason, detail: str, *, error: StoreError | None = None
    ) -> None:
        """Report what is said of all that a glob matches, where a match would go."""
        sample = sample_rule(rule, self._base)
        where = f"{rule.rule.file}:{rule.rule.line}"
        self.problems += [
            unreadable(
                Reference(each.repository), error, reason=reason, detail=f"{detail} ({where})"
            )
            for each in sample.destinations
        ]
