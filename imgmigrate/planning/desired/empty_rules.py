"""Find rules and patterns that select nothing: a typing error, or a source that is not well.

Pure. An empty listing never means that there is nothing to do; a rule for which that is right
says `min: 0`. A rule that asks for the newest or the recent only may well find none today.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.events import Warned
from imgmigrate.observing.problems import failed
from imgmigrate.oci.reference import Reference
from imgmigrate.plan import Reason
from imgmigrate.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imgmigrate.matching import Pattern
    from imgmigrate.oci.reference import Repository
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.select import Choice
    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import State

__all__ = ["Barren", "find_barren"]

# So many of the tags that are there are named: what was meant is often among them.
MOST_SAMPLES = 3


class Barren(Struct):
    """Error rows of what cannot be meant, and warnings of what may be."""

    problems: list[Change] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)


def find_barren(choices: Iterable[Choice], state: State, *, tells_none: bool = False) -> Barren:
    """Judge the choices of rules with patterns; those of one glob's repositories together.

    With `tells_none` a rule that may find nothing is told where it does, and never an error.
    """
    found = Barren()
    groups: defaultdict[int, list[Choice]] = defaultdict(list)
    for choice in choices:
        if choice.rule.has_patterns and (tells_none or not choice.rule.allows_none):
            groups[choice.rule.number].append(choice)
    origins = _Origins(state)
    for group in groups.values():
        _judge(group, origins, found)
    return found


class _Origins(Struct, frozen=True):
    """Between which repositories live records tell of images that went; each source asked once."""

    state: State
    _known: dict[Repository, frozenset[Repository]] = field(default_factory=dict)

    def are_known(self, rule: Rule) -> bool:
        """Tell whether a live record came by a rule, as far as repositories tell."""
        if rule.source not in self._known:
            records = self.state.from_source(rule.source)
            self._known[rule.source] = frozenset(each.address.repository for each in records)
        return any(each.repository in self._known[rule.source] for each in rule.destinations)

    def have_delta(self, group: Sequence[Choice]) -> bool:
        """Tell whether a delta brought images to where its rule writes, from whatever folder."""
        if not group[0].rule.is_delta:
            return False
        return any(
            self.state.holds(each.repository) for one in group for each in one.rule.destinations
        )


def _judge(group: Sequence[Choice], origins: _Origins, found: Barren) -> None:
    if origins.have_delta(group):
        return  # nothing of it is new this time
    emptied = [each for each in group if not each.listing and origins.are_known(each.rule)]
    for choice in emptied:
        cause = "it lists no tags at all, and images came from it"
        found.problems += _rows(choice.rule, Reason.UNREADABLE, cause)
    if any(_selects(each) for each in group):
        found.warnings += _idle_patterns(group)
    elif not emptied:
        rule = group[0].rule
        is_known = any(origins.are_known(each.rule) for each in group)
        is_named = any(each.rule.selects(tag) for each in group for tag in each.listing)
        cause = _cause(group)
        if rule.allows_none:
            message = f"{_place(rule)}: {_sources(group)}: {cause}; skipped"
            found.warnings.append(Warned("rule_matches_nothing", message))
        elif is_known or is_named:
            message = f"{_place(rule)}: {_sources(group)}: {cause}; {_advice(rule)}"
            found.warnings.append(Warned("rule_matches_nothing", message))
        else:
            others = len(group) - 1
            kind = "repository" if others == 1 else "repositories"
            more = f" (and {others:,} more {kind})" if others else ""
            found.problems += _rows(rule, Reason.SOURCE_MISSING, cause, more)


def _selects(choice: Choice) -> bool:
    """Tell whether anything is wanted; a glob names a tag in no repository in particular."""
    if choice.rule.from_glob:
        return not choice.listing.isdisjoint(choice.tags)
    return bool(choice.tags)


def _rows(rule: Rule, reason: Reason, cause: str, more: str = "") -> Iterable[Change]:
    detail = f"source {rule.source}{more}: {cause} ({_place(rule)}); {_advice(rule)}"
    for destination in rule.destinations:
        yield failed(Reference(destination.repository), reason, detail)


def _advice(rule: Rule) -> str:
    return (
        "correct its tags, or, where none is fine, say so: tags: {..., min: 0}; "
        f"what drops out and why: {remedy('plan', explain=str(rule.number))}"
    )


def _cause(group: Sequence[Choice]) -> str:
    listed = sorted(set[str]().union(*(each.listing for each in group)))
    if not listed:
        return "no tags are listed at all"
    names = ", ".join(listed[:MOST_SAMPLES])
    if len(listed) > MOST_SAMPLES:
        names += ", ..."
    wanted = " or ".join(
        ", ".join(f"{stage.name} {stage.condition}" for stage in stages)
        for stages in group[0].filters
    )
    return f"no tag of {len(listed):,} ({names}) is selected by {wanted}"


def _idle_patterns(group: Sequence[Choice]) -> Iterable[Warned]:
    """Name the patterns that select nothing in a rule that else selects something."""
    rule = group[0].rule
    listed = set[str]().union(*(each.listing for each in group))
    named = set(rule.explicit_tags)  # error rows of their own, where they are missing
    for pattern in dict.fromkeys(_includes(rule)):
        if pattern.text in named or any(pattern.matches_tag(tag) for tag in listed):
            continue
        message = (
            f"{_place(rule)}: {_sources(group)}: {pattern} matches none of its "
            f"{len(listed):,} tags; correct it, or leave it out"
        )
        yield Warned("pattern_matches_nothing", message)


def _includes(rule: Rule) -> Iterable[Pattern]:
    if rule.selection is None:
        return rule.tags or ()
    return (pattern for each in rule.selection.filters for pattern in each.include)


def _sources(group: Sequence[Choice]) -> str:
    more = f" and {len(group) - 1:,} more" if len(group) > 1 else ""
    return f"{group[0].rule.source}{more}"


def _place(rule: Rule) -> str:
    return f"{rule.file}:{rule.line}"
