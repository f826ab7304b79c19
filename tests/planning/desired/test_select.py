"""Selection: which tags a rule wants, why not the others, and the laws it obeys."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from imgmigrate.matching import Pattern, parse_tag_pattern
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.planning.desired.select import choose, dates_needed, would_select
from imgmigrate.rules.rule import Destination, Rule
from imgmigrate.rules.selection import By, Selection, TagFilter
from imgmigrate.versions import parse_range
from tests.support.records import make_record

if TYPE_CHECKING:
    from random import Random

    from imgmigrate.state.record import ImageRecord

SOURCE, TARGET = Repository("old.example", "team/api"), Repository("new.example", "team/api")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
LISTING = ["1.0", "1.1", "1.2-rc1", "1.2", "1.2-alpine", "1.10", "2.0", "latest", "main"]


def patterns(*texts: str) -> tuple[Pattern, ...]:
    return tuple(parse_tag_pattern(text) for text in texts)


def rule(*filters: TagFilter, least: int | None = None, tags: str | None = None) -> Rule:
    return Rule(
        number=1,
        file="imgmigrate.yaml",
        line=3,
        source=SOURCE,
        digest=None,
        tags=patterns(*tags.split()) if tags else None,
        destinations=(Destination(TARGET),),
        selection=Selection(filters, least) if filters else None,
    )


def record(tag: str) -> ImageRecord:
    return make_record(TARGET.at(tag), SOURCE.at(tag), Digest.of(tag.encode()))


def day(number: int) -> datetime:
    return datetime(2026, 5, number, tzinfo=UTC)


DATES = {tag: day(number + 1) for number, tag in enumerate(reversed(LISTING))}


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (TagFilter(include=patterns("1.*")), "1.0 1.1 1.10 1.2 1.2-alpine 1.2-rc1"),
        (TagFilter(include=patterns("1.1", "/^m/")), "1.1 main"),
        (TagFilter(exclude=patterns("1.*", "latest")), "2.0 main"),
        (TagFilter(include=patterns("1.*"), exclude=patterns("*-*")), "1.0 1.1 1.10 1.2"),
        (TagFilter(semver=parse_range(">=1.2")), "1.10 1.2 2.0"),
        (TagFilter(semver=parse_range("^1.2-rc1")), "1.10 1.2 1.2-rc1"),
        (TagFilter(semver=parse_range("*"), newest=2), "1.10 2.0"),
        (TagFilter(newest=2), "1.10 2.0"),
        (TagFilter(newest=3, include=patterns("1.2*")), "1.2 1.2-alpine 1.2-rc1"),
        (TagFilter(newest=2, by=By.NAME), "latest main"),
        (TagFilter(newest=2, by=By.CREATED), "1.0 1.1"),
        (TagFilter(newest=99), "1.0 1.1 1.10 1.2 1.2-alpine 1.2-rc1 2.0"),
        (TagFilter(created_after=day(8)), "1.0 1.1"),
        (TagFilter(created_after=timedelta(days=24)), "1.0 1.1"),
        (TagFilter(created_after=day(6), newest=1), "1.2"),
        (TagFilter(created_after=day(6), semver=parse_range("*"), newest=9), "1.0 1.1 1.2"),
    ],
)
def test_a_filter_lets_through_exactly(each: TagFilter, expected: str) -> None:
    """Each condition alone and combined; `newest` counts what the others left."""
    assert choose(rule(each), LISTING, DATES, NOW).tags == tuple(expected.split())


def test_filters_are_united() -> None:
    """What one of several filters lets through is wanted."""
    both = rule(TagFilter(include=patterns("latest")), TagFilter(newest=1))
    assert choose(both, LISTING).tags == ("2.0", "latest")


@pytest.mark.parametrize("tags", ["3.0", "1.0 3.0"])
def test_named_tags_are_wanted_whatever_is_listed(tags: str) -> None:
    """A list's exact tags, and a mapping's that only names, need not be listed."""
    wanted = tuple(tags.split())
    assert choose(rule(tags=tags), LISTING).tags == wanted
    assert choose(rule(TagFilter(include=patterns(*wanted))), LISTING).tags == wanted


def test_every_dropped_tag_has_its_stage_and_reason() -> None:
    """Stage by stage: what is left, what dropped out, and why."""
    each = TagFilter(
        include=patterns("1.*", "2.*", "main"),
        exclude=patterns("*-alpine"),
        semver=parse_range(">=1.1"),
        created_after=day(5),
        newest=1,
    )
    dates = {**DATES, "1.10": None, "2.0": day(9)}
    (stages,) = choose(rule(each), LISTING, dates, NOW).filters
    assert [(stage.name, stage.condition, len(stage.left)) for stage in stages] == [
        ("include", "1.*, 2.*, main", 8),
        ("exclude", "*-alpine", 7),
        ("semver", ">=1.1", 4),
        ("created_after", "2026-05-05 00:00 UTC", 3),
        ("newest", "1 by semver", 1),
    ]
    told = {(drop.tag, stage.name): drop for stage in stages for drop in stage.dropped}
    assert {key: (drop.reason, drop.detail) for key, drop in told.items()} == {
        ("latest", "include"): ("matches none of these", ""),
        ("1.2-alpine", "exclude"): ("matches *-alpine", ""),
        ("1.0", "semver"): ("too old", ""),
        ("main", "semver"): ("not a version", ""),
        ("1.2-rc1", "semver"): ("a pre-release, which is not asked for", ""),
        ("1.10", "created_after"): ("no creation date", ""),
        ("1.1", "newest"): ("not among the newest 1", ""),
        ("1.2", "newest"): ("not among the newest 1", ""),
    }


def test_an_image_without_a_date_is_the_oldest() -> None:
    """It is never newer than another, and its tag says why it dropped out."""
    dates = {"a": None, "b": day(1), "c": day(2)}
    choice = choose(rule(TagFilter(newest=2, by=By.CREATED)), "abc", dates, NOW)
    assert choice.tags == ("b", "c")
    (drop,) = choice.filters[0][0].dropped
    assert (drop.tag, drop.detail) == ("a", "no creation date")


@pytest.mark.parametrize(
    ("filters", "least", "shortages"),
    [
        ((TagFilter(newest=3, min=3),), None, ()),
        ((TagFilter(newest=2, min=3),), None, ("2 selected, and min is 3",)),
        ((TagFilter(include=patterns("9.*"), min=1),), None, ("0 selected, and min is 1",)),
        ((TagFilter(include=patterns("9.9"), min=1),), None, ("0 selected, and min is 1",)),
        ((TagFilter(newest=2), TagFilter(newest=1)), 2, ()),
        ((TagFilter(newest=2), TagFilter(newest=1)), 3, ("2 selected, and min is 3",)),
    ],
)
def test_min_counts_what_is_listed(
    filters: tuple[TagFilter, ...], least: int | None, shortages: tuple[str, ...]
) -> None:
    """Too few tags, none of them for example, is a shortage; a tag only named does not count."""
    assert choose(rule(*filters, least=least), LISTING).shortages == shortages


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (TagFilter(newest=2), ""),
        (TagFilter(newest=2, by=By.NAME), ""),
        (TagFilter(include=patterns("1.1*"), newest=2, by=By.CREATED), ""),
        (TagFilter(include=patterns("1.1*"), newest=1, by=By.CREATED), "1.1 1.10"),
        (TagFilter(include=patterns("1.1*"), created_after=day(1)), "1.1 1.10"),
    ],
)
def test_dates_are_asked_for_only_where_they_decide(each: TagFilter, expected: str) -> None:
    """Names settle most; of no more tags than `newest` wants nobody needs to know the age."""
    assert dates_needed(rule(each), LISTING) == expected.split()


@pytest.mark.parametrize(
    ("tag", "listed", "expected"),
    [
        ("1.0", True, False),  # displaced by newer ones
        ("2.0", False, True),  # gone, and it would be the newest
        ("1.0", False, False),  # gone, and it would not be
        ("main", False, False),  # never a version
    ],
)
def test_a_displaced_tag_is_deselected_and_a_gone_one_is_not(
    tag: str, listed: bool, expected: bool
) -> None:
    """Records outlive their source if it would still be selected; `newest` alone can drop them."""
    each = rule(TagFilter(newest=2))
    listing = [other for other in LISTING if other != tag or listed]
    choice = choose(each, listing)
    assert would_select(each, record(tag), choice) is expected


@pytest.mark.parametrize(("created", "expected"), [(day(8), True), (day(1), False), (None, True)])
def test_a_gone_image_is_judged_by_its_known_date(created: datetime | None, expected: bool) -> None:
    """Where nobody knows the date any more, the record is kept."""
    each = rule(TagFilter(created_after=day(5)))
    choice = choose(each, LISTING, DATES, NOW)
    assert would_select(each, record("1.3"), choice, created) is expected


def test_without_a_listing_the_name_decides() -> None:
    """A source that cannot be listed deselects nothing that the names still allow."""
    each = rule(TagFilter(include=patterns("1.*"), newest=1))
    assert would_select(each, record("1.0"))
    assert not would_select(each, record("2.0"))
    elsewhere = replace(each, source=Repository("old.example", "other"))
    assert not would_select(elsewhere, record("1.0"))


TAGS = st.sampled_from(
    [
        f"{v}{number}{s}"
        for v in ("", "v")
        for number in ("1.0", "1.1", "2", "10")
        for s in ("", "-rc1", "-alpine")
    ]
    + ["latest", "main", "sha-1", "nightly"]
)
LISTINGS = st.lists(TAGS, unique=True)
SOME = st.lists(st.sampled_from(["*", "v*", "*-rc1", "/^1/", "main", "1.?"]), max_size=3)
FILTERS = st.builds(
    TagFilter,
    include=SOME.map(lambda texts: patterns(*texts)),
    exclude=SOME.filter(lambda texts: "*" not in texts).map(lambda texts: patterns(*texts)),
    semver=st.sampled_from([None, *map(parse_range, ("*", ">=1.1", "^1-0", "1 || 2-alpine"))]),
    created_after=st.sampled_from([None, day(9), timedelta(days=20)]),
    newest=st.none() | st.integers(1, 5),
    by=st.sampled_from(By),
)
DATED = st.dictionaries(TAGS, st.none() | st.integers(1, 28).map(day))


@given(FILTERS, LISTINGS, DATED)
def test_selection_obeys_its_laws(
    each: TagFilter, listing: list[str], dates: dict[str, datetime | None]
) -> None:
    """Nothing is invented, order does not matter, and selecting again changes nothing."""
    wanted = rule(each)
    found = choose(wanted, listing, dates, NOW)
    assert set(found.tags) <= set(listing).union(wanted.explicit_tags)
    assert choose(wanted, sorted(listing, reverse=True), dates, NOW) == found
    again = choose(wanted, found.tags, dates, NOW)
    assert again.tags == found.tags
    if each.newest is not None:
        assert len(found.tags) <= each.newest
    assert all(wanted.selects(tag) for tag in found.tags)
    (stages,) = found.filters
    dropped = [drop.tag for stage in stages for drop in stage.dropped]
    assert len(dropped) == len(set(dropped))
    assert set(dropped) == set(listing) - (set(stages[-1].left) if stages else set(listing))


@given(FILTERS, FILTERS, LISTINGS, DATED)
def test_any_is_a_union(
    one: TagFilter, other: TagFilter, listing: list[str], dates: dict[str, datetime | None]
) -> None:
    """Two filters want what each of them wants alone."""
    both = choose(rule(one, other), listing, dates, NOW).tags
    alone = [choose(rule(each), listing, dates, NOW).tags for each in (one, other)]
    assert set(both) == set(alone[0]).union(alone[1])


@given(SOME, SOME, SOME, LISTINGS)
def test_include_adds_and_exclude_removes(
    first: list[str], second: list[str], excluded: list[str], listing: list[str]
) -> None:
    """More to include never selects less; what is excluded is never selected."""
    few = choose(rule(TagFilter(include=patterns("main", *first))), listing).tags
    many = choose(rule(TagFilter(include=patterns("main", *first, *second))), listing).tags
    assert set(few) <= set(many)
    without = TagFilter(include=patterns("main", *first), exclude=patterns(*excluded))
    left = choose(rule(without), listing).tags
    assert set(left) <= set(few)
    hit = {tag for tag in few if any(each.matches_tag(tag) for each in patterns(*excluded))}
    assert set(left) == set(few) - hit


@given(FILTERS, LISTINGS, DATED)
def test_dates_that_are_not_needed_change_nothing(
    each: TagFilter, listing: list[str], dates: dict[str, datetime | None]
) -> None:
    """The tags that `dates_needed` names are all whose dates decide."""
    wanted = rule(each)
    needed = {tag: dates.get(tag) for tag in dates_needed(wanted, listing)}
    assert choose(wanted, listing, needed, NOW).tags == choose(wanted, listing, dates, NOW).tags


@given(FILTERS, LISTINGS, DATED, st.integers(1, 6))
def test_min_is_missed_exactly_when_fewer_are_selected(
    each: TagFilter, listing: list[str], dates: dict[str, datetime | None], least: int
) -> None:
    """Neither another order of the listing nor a tag that is only named changes that."""
    wanted = rule(dataclasses.replace(each, min=least))
    found = choose(wanted, listing, dates, NOW)
    selected = set(choose(rule(each), listing, dates, NOW).tags) & set(listing)
    assert bool(found.shortages) is (len(selected) < least)
    assert found.shortages == choose(wanted, listing[::-1], dates, NOW).shortages


@given(FILTERS, LISTINGS, DATED, st.integers(1, 5))
def test_more_of_the_newest_are_the_same_and_more(
    each: TagFilter, listing: list[str], dates: dict[str, datetime | None], most: int
) -> None:
    """The newest N are among the newest N + 1, and as many as there are, up to N."""
    every = dataclasses.replace(each, newest=len(listing) + 1)
    few, more, ranked = (
        choose(rule(dataclasses.replace(each, newest=number)), listing, dates, NOW).tags
        for number in (most, most + 1, every.newest or 0)
    )
    assert set(few) <= set(more) <= set(ranked)
    assert len(few) == min(most, len(ranked))


@given(LISTINGS, st.randoms(use_true_random=False), st.sampled_from(By), st.integers(1, 5))
def test_the_order_of_a_listing_decides_nothing(
    listing: list[str], random: Random, by: By, most: int
) -> None:
    """Registries sort by bytes, by date or not at all; the newest are the same."""
    wanted = rule(TagFilter(newest=most, by=by))
    shuffled = random.sample(listing, len(listing))
    assert choose(wanted, shuffled).tags == choose(wanted, listing).tags
