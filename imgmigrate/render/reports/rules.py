"""Show what rules ask for, in the words of their keys: which tags, under which names, to where.

Pure: rules in, lines out. It is for whoever checks what was written, so nothing of a rule that
decides about an image is left out; only long lists are cut.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from imgmigrate.oci.reference import LAYOUTS
from imgmigrate.redaction import printable
from imgmigrate.render.style import PLAIN, Style
from imgmigrate.render.units import count, duration, listed
from imgmigrate.rules.rule import ForeignLayers, GlobRule
from imgmigrate.rules.templates import sample_rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.config.model import Config
    from imgmigrate.rules.rule import Destination, Rule
    from imgmigrate.rules.selection import TagFilter

__all__ = ["rule_lines"]

# More rules are summed up by where they go.
MOST_RULES = 20
# Enough to see the kind of a long list.
MOST_NAMES = 12
# As many as a line of the config may have that somebody reads.
_LONGEST = 2000


def rule_lines(config: Config, style: Style = PLAIN, *, verbose: bool = False) -> Iterator[str]:
    """Show each rule; if there are many, and not `verbose`, how many go from where to where."""
    rules: list[Rule | GlobRule] = [*config.rules, *config.globs]
    rules.sort(key=lambda each: _rule(each).number)
    if len(rules) > MOST_RULES and not verbose:
        yield from _ways(config, rules, style)
        return
    most = None if verbose else MOST_NAMES
    for each in rules:
        rule = _rule(each)
        title = f"{rule.number}. {rule.source} ({_tags_of(rule, most=most)})"
        yield from style.wrap(printable(title, _LONGEST), indent="  ", hanging="     ")
        for name in _destinations(each):
            yield from style.wrap(printable(name, _LONGEST), indent="     -> ", hanging=" " * 8)
        for text in _besides(each, most=most):
            yield from style.wrap(printable(text, _LONGEST), indent=" " * 5, hanging=" " * 7)


def _tags_of(rule: Rule, *, most: int | None) -> str:
    """Say which tags a rule selects."""
    if rule.digest is not None:
        return f"digest {rule.digest.short}"
    selection = rule.selection
    if selection is None:
        tags = rule.tags
        return "all tags" if tags is None else f"tags {listed(list(map(str, tags)), most)}"
    filters = [_filter(each, most=most) for each in selection.filters]
    said = filters[0] if len(filters) == 1 else f"any of: {' | '.join(filters)}"
    return said if selection.min is None else f"{said}; min {selection.min} in all"


def _filter(each: TagFilter, *, most: int | None) -> str:
    said = []
    if each.include:
        said.append(f"tags {listed(list(map(str, each.include)), most)}")
    if each.exclude:
        said.append(f"exclude {listed(list(map(str, each.exclude)), most)}")
    if each.semver is not None:
        said.append(f"semver {each.semver}")
    if isinstance(each.created_after, timedelta):
        said.append(f"created_after {duration(each.created_after.total_seconds())} ago")
    elif each.created_after is not None:
        said.append(f"created_after {each.created_after:%Y-%m-%d %H:%M} UTC")
    if each.newest is not None:
        said.append(f"newest {each.newest} by {each.by.value}")
    if each.min is not None:
        said.append(f"min {each.min}")
    return "; ".join(said) or "all tags"


def _destinations(each: Rule | GlobRule) -> Iterator[str]:
    if isinstance(each, GlobRule):
        yield from (template.text for template in each.destinations)
        return
    yield from (_destination(destination) for destination in each.destinations)


def _destination(destination: Destination) -> str:
    if destination.tags:
        return f"{destination.repository}:{','.join(destination.tags)}"
    form = destination.form
    return f"{destination.repository}{'' if form == '{tag}' else f':{form}'}"


def _besides(each: Rule | GlobRule, *, most: int | None) -> Iterator[str]:
    """What else decides which images come, and what they are called."""
    rule = _rule(each)
    if isinstance(each, GlobRule):
        if each.exclude:
            yield f"without {listed(list(map(str, each.exclude)), most)}"
        if each.joint is not None:
            yield f"flatten: the parts of a name are joined with {each.joint!r}"
    if rule.rename is not None:
        renamed = [f"{old} -> {new}" for old, new in rule.rename.written]
        yield f"rename {listed(renamed, most)}"
    if rule.platforms:
        yield f"only the platforms {', '.join(rule.platforms)}"
    if rule.index is not None:
        yield f"index: {rule.index}"
    if rule.foreign_layers is ForeignLayers.COPY:
        yield "with layers that are not to be distributed"


def _ways(config: Config, rules: Sequence[Rule | GlobRule], style: Style) -> Iterator[str]:
    ways: Counter[tuple[str, str]] = Counter()
    for each in rules:
        rule = sample_rule(each, str(config.base)) if isinstance(each, GlobRule) else each
        stores = {destination.repository.store for destination in rule.destinations}
        ways.update((rule.source.store, store) for store in stores)
    for (source, destination), number in sorted(ways.items()):
        text = f"{_store(source)} -> {_store(destination)}: {count(number, 'rule')}"
        yield from style.wrap(printable(text), indent="  ", hanging="    ")
    yield "  --verbose lists all"


def _rule(each: Rule | GlobRule) -> Rule:
    return each.rule if isinstance(each, GlobRule) else each


def _store(store: str) -> str:
    return "OCI layouts" if store == LAYOUTS else store
