"""Explain a selection: which tags a rule drops, at which stage and why; nothing is planned.

Only the sources are read, and only those of the rules in question.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import ConfigError, RowFailed, StoreError, UsageError
from imgmigrate.observing.observe import Observer
from imgmigrate.observing.skipped import Skips
from imgmigrate.oci.reference import Reference, layout_address, parse_endpoint
from imgmigrate.planning.desired.expand import expand_rules
from imgmigrate.planning.desired.tags import Chooser
from imgmigrate.planning.owner import looking
from imgmigrate.planning.reach import open_stores
from imgmigrate.rules.templates import concrete_rule
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.events import NamesSkipped, Sink
    from imgmigrate.planning.desired.expand import Expansion
    from imgmigrate.planning.desired.select import Choice
    from imgmigrate.rules.rule import Rule
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.workspace import Workspace

__all__ = ["Explained", "Fate", "Loss", "explain_selection", "fates"]


class Loss(Struct, frozen=True):
    """Where a tag dropped out: the stage of a filter, and the reason."""

    filter: int
    stage: str
    reason: str
    detail: str


class Fate(Struct, frozen=True):
    """What became of a source tag that goes to the address in question."""

    tag: str
    is_selected: bool
    is_listed: bool
    losses: tuple[Loss, ...]


class Explained(Struct, frozen=True):
    """One rule, what it chose or why it could not, and the fate of an address if one was named."""

    rule: Rule
    choice: Choice | StoreError
    address: Reference | None = None
    fates: tuple[Fate, ...] = ()
    skipped: NamesSkipped | None = None


async def explain_selection(
    config: Config | Workspace,
    what: str,
    *,
    sink: Sink,
    parallelism: int,
    on_rate_limit: OnRateLimit = "wait",
    outage: float = 0,
    awaits_strangers: bool = False,
) -> list[Explained]:
    """Explain a rule, by its number, or an address, through every rule that writes there.

    A rule of many repositories is explained for each of them. A registry that is down is waited for
    as when planning (`PlanOptions`). Raises UsageError if there is no
    such rule, or none that writes there.
    """
    workspace, skips = open_workspace(config, sink=sink, on_rate_limit=on_rate_limit), Skips(sink)
    config = workspace.config
    address = None if what.isdecimal() else _address(what, config)
    if address is None:
        config = _numbered(config, int(what))
    telling = workspace.telling(skips)
    async with (
        looking(workspace) as state,
        open_stores(telling, state, outage=outage, awaits_strangers=awaits_strangers) as stores,
    ):
        observer = Observer(stores, state, skips, parallelism, workspace.cache)
        expansion = await expand_rules(config, observer, state)
        rules = _concerned(expansion, what, address, str(config.base))
        listings = await observer.list_sources(rule.source for rule in rules if rule.has_patterns)
        chooser = Chooser.over(observer, workspace.cache, workspace.kept, datetime.now(UTC))
        choices = await chooser.choose_all(rules, listings)
    focus = address if address is not None and address.tag is not None else None
    return [
        Explained(rule, choice, focus, _fates(rule, choice, focus), skips.of(rule.source))
        for rule, choice in zip(rules, choices, strict=True)
    ]


def _address(what: str, config: Config) -> Reference:
    try:
        found = parse_endpoint(what)
    except ValueError as error:
        message = f"`explain` {what}: {error}"
        hint = "name a rule by its number, or an address such as registry.new/team/api:1.2"
        raise UsageError(message, hint=hint) from None
    repository = found.repository
    if repository.is_layout:
        repository = layout_address(repository, str(config.base))
    # Another name of a layout is as good as the config's.
    sources = (rule.source for rule in config.rules)
    spelling = config.spelling(sources)
    return spelling.destination(Reference(repository, found.tag, found.digest))


def _numbered(config: Config, number: int) -> Config:
    """Leave out the globs of other rules, so that no registry is listed for them."""
    globs = tuple(each for each in config.globs if each.rule.number == number)
    numbers = [rule.number for rule in (*config.rules, *(each.rule for each in config.globs))]
    if number not in numbers:
        message = f"`explain` {number}: there is no such rule; they count from 1 to {max(numbers)}"
        raise UsageError(message, hint="a rule is an entry of images")
    return replace(config, globs=globs)


def _concerned(expansion: Expansion, what: str, address: Reference | None, base: str) -> list[Rule]:
    """The rules in question; those of globs for each repository that they match."""
    if address is None:
        found = [rule for rule in expansion.rules if rule.number == int(what)]
    else:
        found = [
            rule
            for rule in expansion.rules
            if any(each.repository == address.repository for each in rule.destinations)
        ]
    if found:
        return found
    if address is not None:
        _refuse_excluded(expansion, what, address, base)
    if expansion.problems:
        message = "\n".join(dict.fromkeys(each.detail or "" for each in expansion.problems))
        raise RowFailed(message)
    repository = address.repository if address else ""
    message = f"`explain` {what}: no rule writes to {repository}"
    raise UsageError(message, hint="an address is a destination, such as registry.new/team/api")


def _refuse_excluded(expansion: Expansion, what: str, address: Reference, base: str) -> None:
    """Say which rule would write to an address, did it not leave its source out."""
    for rule, source in expansion.excluded:
        try:
            made = concrete_rule(rule, source, base)
        except ConfigError:  # a name that no registry takes may be why it is left out
            continue
        if any(each.repository == address.repository for each in made.destinations):
            hits = (str(each) for each in rule.exclude if each.matches_reference(Reference(source)))
            message = (
                f"`explain` {what}: {made.file}:{made.line}: rule {made.number} leaves out "
                f"{source}, by exclude_repositories: {next(hits)}"
            )
            hint = "to take it, narrow that pattern, or name the repository in a rule of its own"
            raise UsageError(message, hint=hint)


def _fates(rule: Rule, choice: Choice | StoreError, address: Reference | None) -> tuple[Fate, ...]:
    if address is None or isinstance(choice, StoreError) or rule.digest is not None:
        return ()
    return fates(choice, address)


def fates(choice: Choice, address: Reference) -> tuple[Fate, ...]:
    """Tell the fate of every source tag that goes to an address; none if no tag does."""
    found = []
    for tag in sorted(choice.listing.union(choice.tags)):
        if address not in choice.rule.addresses(tag):
            continue
        losses = tuple(
            Loss(number, stage.name, drop.reason, drop.detail)
            for number, stages in enumerate(choice.filters)
            for stage in stages
            for drop in stage.dropped
            if drop.tag == tag
        )
        selected = tag in choice.tags
        found.append(Fate(tag, selected, tag in choice.listing, () if selected else losses))
    return tuple(found)
