"""Turn rules into addresses, and find the records that no rule asks for any more.

Sources are listed here and nothing else is looked at; what cannot be listed becomes error rows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import NotFound, StoreError
from imgmigrate.observing.problems import failed, unreadable
from imgmigrate.oci.reference import Reference
from imgmigrate.plan import Reason
from imgmigrate.planning.desired.delta import with_absent
from imgmigrate.planning.desired.empty_rules import find_barren
from imgmigrate.planning.desired.unread import Unread
from imgmigrate.planning.diff import decide_unwanted
from imgmigrate.rules.moves import applied
from imgmigrate.rules.templates import check_names

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.observing.observe import Observer
    from imgmigrate.observing.scope import Scope
    from imgmigrate.oci.reference import Repository
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.expand import Expansion
    from imgmigrate.planning.desired.select import Choice
    from imgmigrate.planning.desired.tags import Chooser
    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["Asked", "Asking"]


class Asked(Struct, frozen=True):
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
class Asking:
    """Asks what rules want; `config` is the expanded one, `expansion` what became of its globs."""

    config: Config
    state: State
    observer: Observer
    chooser: Chooser
    scope: Scope
    sink: Sink
    expansion: Expansion
    # Destinations of rules that were not read whole: nothing is said of what nobody asks for there.
    unread: Unread = field(init=False)
    # Rules whose source could not be listed: nothing is gone from there.
    _unlisted: set[tuple[int, Repository]] = field(init=False)
    # Addresses that rules ask for in two ways, and in which: nobody knows what is wanted there.
    _contested: dict[Reference, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._unlisted = {(rule.number, rule.source) for rule in self.expansion.lost}
        self.unread = Unread(self.config.base, self.config.guards)
        for rule in self.expansion.lost:
            self.unread.add_rule(rule)
        for many in self.expansion.unread:
            self.unread.add_glob(many)

    async def ask(self, rules: tuple[Rule, ...]) -> tuple[dict[Reference, Asked], list[Change]]:
        """Turn rules into addresses; a source that cannot be listed becomes error rows."""
        listings = await self.observer.list_sources(
            rule.source for rule in rules if rule.has_patterns
        )
        listings = with_absent(rules, listings)
        asked: dict[Reference, Asked] = {}
        self._contested.clear()
        problems: list[Change] = list(self.expansion.problems)
        choices = await self.chooser.choose_all(rules, listings)
        for rule, choice in zip(rules, choices, strict=True):
            if isinstance(choice, StoreError):
                self._unlisted.add((rule.number, rule.source))
                self.unread.add_rule(rule)
                problems += self._reported(
                    self._unlistable(Reference(each.repository), rule, choice)
                    for each in rule.destinations
                )
                continue
            for source, addresses, explicit in _expand(rule, choice):
                check_names(rule, source, addresses)
                for address in addresses:
                    if self.scope.takes(address):
                        self._add(asked, address, Asked(source, rule, explicit))
        for address, detail in self._contested.items():
            del asked[address]
            record = self.state.record(address)
            problems.append(failed(address, Reason.CONTESTED, detail, record))
        self.chooser.refuse_shortages()
        listed = (each for each in choices if not isinstance(each, StoreError))
        barren = find_barren(listed, self.state, tells_none=self.config.is_lenient)
        self.unread.add(row.address.repository for row in barren.problems)
        problems += self._reported(barren.problems)
        for warning in barren.warnings:
            self.sink.emit(warning)
        return asked, problems

    def _add(self, asked: dict[Reference, Asked], address: Reference, new: Asked) -> None:
        """Ask for an address once; what two rules want there is noted, with both lines."""
        first = asked.setdefault(address, new)
        if first.rule.from_glob != new.rule.from_glob:
            # A rule that names its repository beats one with a glob (DESIGN section 3).
            if first.rule.from_glob:
                asked[address] = new
                self._contested.pop(address, None)
            return
        places = f"({_place(first.rule)}) and {{}} ({_place(new.rule)})"
        if first.source != new.source:
            detail = f"from {first.source} {places.format(new.source)}"
            hint = "give one of them another destination, or select its tags more narrowly"
        elif first.rule.platforms != new.rule.platforms:
            detail = f"with {_platforms(first.rule)} {places.format(_platforms(new.rule))}"
            hint = "name the same platforms in both, or select the tags of one more narrowly"
        elif first.rule.referrers != new.rule.referrers:
            detail = f"with referrers {first.rule.referrers} {places.format(new.rule.referrers)}"
            hint = "name the same referrers in both, or select the tags of one more narrowly"
        elif first.rule.foreign_layers != new.rule.foreign_layers:
            names = [f"foreign_layers: {each.rule.foreign_layers}" for each in (first, new)]
            detail = f"with {names[0]} {places.format(names[1])}"
            hint = "say the same in both, or select the tags of one more narrowly"
        elif first.rule.index != new.rule.index:
            detail = f"with {_form(first.rule)} {places.format(_form(new.rule))}"
            hint = "name the same index: in both, or select the tags of one more narrowly"
        else:
            return
        self._contested.setdefault(address, f"asked for {detail}; {hint}")

    def miss(self, rule: Rule) -> None:
        """Note that a selected tag is not to be had: what it displaces may still be wanted."""
        filters = rule.selection.filters if rule.selection else ()
        if any(each.newest is not None for each in filters):
            self._unlisted.add((rule.number, rule.source))
            self.unread.add_rule(rule)

    def _reported(self, rows: Iterable[Change]) -> Iterable[Change]:
        """Leave out rows of repositories that the command line leaves out."""
        for row in rows:
            if self.scope.may_take(row.address.repository):
                self.scope.excuse(row.address.repository)
                yield row

    def _unlistable(self, address: Reference, rule: Rule, error: StoreError) -> Change:
        missing = isinstance(error, NotFound) and not self.state.has_source(rule.source)
        reason = Reason.SOURCE_MISSING if missing else Reason.UNREADABLE
        return unreadable(address, error, reason=reason)

    def unwanted(self, asked: Container[Reference]) -> list[Change]:
        """Decide the live records that no rule asks for, as the sources are listed now.

        Rules are found by where they write to: a source may have got another name since.
        """
        # Another one-shot plan asked for them, or a file says nothing at all any more.
        if self.config.is_oneshot or self.config.is_idle:
            return []
        by_destination: defaultdict[Repository, list[Rule]] = defaultdict(list)
        for rule in (*self.config.rules, *self.expansion.lost):
            for repository in {each.repository for each in rule.destinations}:
                by_destination[repository].append(rule)
        changes = []
        for record in self.scope.recorded(self.state):
            is_asked = record.address in asked or record.address in self._contested
            if is_asked or record.keeps_previous:
                continue
            rules = by_destination[record.address.repository]
            tag = record.source.reference.tag
            heirs = rules or by_destination[self._moved(record.address)]
            if tag is not None and any(not rule.takes_as_tag(tag) for rule in heirs):
                continue  # it belongs to an image, and goes along with it now
            wanting = [
                (rule, each)
                for rule, each in ((rule, _as_from(rule, record)) for rule in rules)
                if self.chooser.still_selects(rule, each)
            ]
            if any((rule.number, rule.source) in self._unlisted for rule in rules):
                continue
            if not wanting and self.unread.covers(record.address.repository):
                continue
            origin = record.source.reference.repository
            changes.append(
                decide_unwanted(
                    wanting[0][1] if wanting else record,
                    still_selected=bool(wanting),
                    rule_exists=any(rule.source == origin for rule in rules),
                )
            )
        return changes

    def _moved(self, address: Reference) -> Repository:
        """Say where what is at an address goes by `moved`: the signatures there may be the last."""
        found = (applied(move, address) for move in self.config.guards.moved)
        return next((new for new in found if new is not None), address).repository


def _as_from(rule: Rule, record: ImageRecord) -> ImageRecord:
    """Tell of a record as if its image came from where a rule takes its images now."""
    origin = record.source.reference
    if origin.repository == rule.source or origin.tag is None:
        return record
    return replace(record, source=replace(record.source, reference=rule.source.at(origin.tag)))


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


def _place(rule: Rule) -> str:
    return f"{rule.file}:{rule.line}"


def _form(rule: Rule) -> str:
    return f"index: {rule.index}" if rule.index else "no index:"


def _platforms(rule: Rule) -> str:
    return ", ".join(rule.platforms) or "all platforms"
