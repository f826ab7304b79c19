"""Decide which tags of a listing a rule wants, and say why the others are not wanted.

Pure: no I/O and no clock. The planner lists and dates, this selects.
"""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.rules.selection import By, TagFilter
from imgmigrate.versions import parse_loose, parse_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import ImageRecord

__all__ = ["Choice", "Dropped", "Stage", "choose", "dates_needed", "would_select"]

_OLDEST = datetime.min.replace(tzinfo=UTC)


class Dropped(Struct, frozen=True):
    """A tag that a stage did not let through; `detail` is the tag's own, such as its date."""

    tag: str
    reason: str
    detail: str = ""


class Stage(Struct, frozen=True):
    """One condition of a filter: what it left, sorted, and what it dropped."""

    name: str
    condition: str
    left: tuple[str, ...]
    dropped: tuple[Dropped, ...]


class Choice(Struct, frozen=True):
    """What a rule wants of one listing. `tags` is sorted; `shortages` say which min is missed.

    `dangling` are tags that could not be dated, because they are listed and not to be had: they
    are wanted, so that somebody says so, and take nobody's place.
    """

    rule: Rule
    listing: frozenset[str]
    tags: tuple[str, ...]
    filters: tuple[tuple[Stage, ...], ...] = ()
    shortages: tuple[str, ...] = ()
    now: datetime = _OLDEST
    dates: Mapping[str, datetime | None] | None = None
    dangling: tuple[str, ...] = ()


def choose(
    rule: Rule,
    listing: Iterable[str],
    dates: Mapping[str, datetime | None] | None = None,
    now: datetime = _OLDEST,
) -> Choice:
    """Select tags: those that the rule names exactly always, others if they are listed."""
    listed = frozenset(tag for tag in listing if rule.takes_as_tag(tag))
    found: set[str] = set(rule.explicit_tags)
    filters, shortages = [], []
    for each in _filters(rule):
        stages = tuple(_stages(each, sorted(listed), dates or {}, now))
        left = stages[-1].left if stages else tuple(sorted(listed))
        found.update(left)
        filters.append(stages)
        if each.min is not None and len(left) < each.min:
            shortages.append(_shortage(len(left), each.min))
    least = rule.selection.min if rule.selection else None
    if least is not None and len(found & listed) < least:
        shortages.append(_shortage(len(found & listed), least))
    return Choice(rule, listed, tuple(sorted(found)), tuple(filters), tuple(shortages), now, dates)


def dates_needed(rule: Rule, listing: Iterable[str]) -> list[str]:
    """List the tags whose creation dates decide; what a name or a number settles needs none."""
    listing = [tag for tag in listing if rule.takes_as_tag(tag)]
    needed: set[str] = set()
    for each in _filters(rule):
        if not each.needs_dates:
            continue
        candidates = [tag for tag in listing if each.selects(tag)]
        if each.created_after is not None or len(candidates) > (each.newest or 0):
            needed.update(candidates)
    return sorted(needed)


def would_select(
    rule: Rule,
    record: ImageRecord,
    choice: Choice | None = None,
    created: datetime | None = None,
) -> bool:
    """Tell whether the rule still asks for what the record says, were the source still there.

    Without a `choice`, which is what the source lists now, the tag's name decides alone. A tag
    that others have displaced from the newest is not asked for. `created` is the image's date.
    """
    source = record.source.reference
    if rule.source != source.repository:
        return False
    if rule.digest is not None:
        return record.address in rule.digest_addresses()
    tag = source.tag
    if tag is None or not rule.selects(tag) or record.address not in rule.addresses(tag):
        return False
    if rule.selection is None or choice is None or tag in choice.tags:
        return True
    if tag in choice.listing:
        return False
    needs_date = any(each.needs_dates and each.selects(tag) for each in rule.selection.filters)
    if needs_date and created is None:
        return True  # nobody can tell any more: what is kept can still be forgotten
    dates = {**(choice.dates or {}), tag: created}
    return tag in choose(rule, [*choice.listing, tag], dates, choice.now).tags


def _filters(rule: Rule) -> tuple[TagFilter, ...]:
    """The rule's filters; a list of tags is a filter too."""
    if rule.selection is not None:
        return rule.selection.filters
    return (TagFilter(include=rule.tags or ()),)


def _shortage(found: int, least: int) -> str:
    return f"{found} selected, and min is {least}"


def _stages(
    each: TagFilter,
    tags: list[str],
    dates: Mapping[str, datetime | None],
    now: datetime,
) -> Iterable[Stage]:
    """Let tags through one condition after the other."""
    left = tags
    for name, condition, refusal in _conditions(each, dates, now):
        dropped = []
        kept = []
        for tag in left:
            refused = refusal(tag)
            if refused is None:
                kept.append(tag)
            else:
                dropped.append(refused)
        left = kept
        yield Stage(name, condition, tuple(left), tuple(dropped))
    if each.newest is not None:
        yield _newest(each.newest, each, left, dates)


def _conditions(
    each: TagFilter, dates: Mapping[str, datetime | None], now: datetime
) -> Iterable[tuple[str, str, Callable[[str], Dropped | None]]]:
    """Give the conditions that look at one tag alone, in order."""
    if each.include:

        def include(tag: str) -> Dropped | None:
            is_in = any(pattern.matches_tag(tag) for pattern in each.include)
            return None if is_in else Dropped(tag, "matches none of these")

        yield "include", ", ".join(map(str, each.include)), include
    if each.exclude:

        def exclude(tag: str) -> Dropped | None:
            hit = next((pattern for pattern in each.exclude if pattern.matches_tag(tag)), None)
            return None if hit is None else Dropped(tag, f"matches {hit}")

        yield "exclude", ", ".join(map(str, each.exclude)), exclude
    wanted = each.semver
    if wanted is not None:

        def semver(tag: str) -> Dropped | None:
            reason = wanted.refusal(tag)
            return None if reason is None else Dropped(tag, reason)

        yield "semver", str(wanted), semver
    cutoff = each.cutoff(now)
    if cutoff is not None:

        def created(tag: str) -> Dropped | None:
            date = dates.get(tag)
            if date is None:
                return Dropped(tag, "no creation date")
            return Dropped(tag, "older", _day(date)) if date < cutoff else None

        yield "created_after", f"{cutoff:%Y-%m-%d %H:%M} UTC", created


def _newest(
    most: int, each: TagFilter, tags: list[str], dates: Mapping[str, datetime | None]
) -> Stage:
    """Keep the newest; equals stand in the order of their names, so that the result is one."""
    dropped = []
    by, is_loose = each.by, each.semver is not None and each.semver.any_suffix
    ranks: dict[str, Any] = {}
    for tag in tags:
        if by is By.NAME:
            ranks[tag] = tag
        elif by is By.CREATED:
            ranks[tag] = (dates.get(tag) or _OLDEST, tag)
        elif is_loose:
            ranks[tag] = (parse_loose(tag), tag)
        elif (version := parse_version(tag)) is not None:
            ranks[tag] = (version.order, len(version.parts), tag)
        else:
            dropped.append(Dropped(tag, "not a version"))
    kept = set(heapq.nlargest(most, ranks, key=ranks.__getitem__))
    for tag in ranks.keys() - kept:
        date = dates.get(tag)
        detail = ""
        if by is By.CREATED:
            detail = _day(date) if date else "no creation date"
        dropped.append(Dropped(tag, f"not among the newest {most}", detail))
    dropped.sort(key=lambda each: each.tag)
    return Stage("newest", f"{most} by {by.value}", tuple(sorted(kept)), tuple(dropped))


def _day(date: datetime) -> str:
    return f"{date:%Y-%m-%d}"
