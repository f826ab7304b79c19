"""`tags:` as a mapping: what it means, and how it is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from imgmigrate.rules.selection import By

if TYPE_CHECKING:
    from imgmigrate.rules.rule import Rule
    from tests.config.conftest import Load, Refuse


def text(tags: str, source: str = "q.io/a/b") -> str:
    return f"version: 1\nimages:\n- source: {source}\n  destination: x.io/a/b\n  tags: {tags}\n"


def read(load: Load, tags: str) -> Rule:
    (rule,) = load(text(tags)).rules
    return rule


def test_every_key_of_a_mapping_is_read(load: Load) -> None:
    """Patterns, a range, dates, numbers and what newest counts by."""
    found = read(
        load,
        "{include: [v*, /^1/], exclude: '*-rc*', semver: '>=0.14', newest: 10, by: created,"
        " created_after: 2026-01-31, min: 3}",
    ).selection
    assert found is not None
    (each,) = found.filters
    assert [str(pattern) for pattern in each.include] == ["v*", "/^1/"]
    assert [str(pattern) for pattern in each.exclude] == ["*-rc*"]
    assert (str(each.semver), each.newest, each.by, each.min) == (">=0.14", 10, By.CREATED, 3)
    assert each.created_after == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("6w", timedelta(weeks=6)),
        ("30m", timedelta(minutes=30)),
        ("90s", timedelta(seconds=90)),
        ("1.5d", timedelta(hours=36)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("'20260131'", datetime(2026, 1, 31, tzinfo=UTC)),
        ("'2026-01-31T12:00:00+02:00'", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_created_after_is_a_date_or_a_duration(
    load: Load, written: str, expected: datetime | timedelta
) -> None:
    """A date begins at midnight UTC; a duration reaches back from the moment of planning."""
    found = read(load, f"{{created_after: {written}}}").selection
    assert found is not None
    assert found.filters[0].created_after == expected
    assert found.filters[0].cutoff(datetime(2026, 5, 1, tzinfo=UTC)) == (
        expected if isinstance(expected, datetime) else datetime(2026, 5, 1, tzinfo=UTC) - expected
    )


def test_any_unites_mappings_and_has_a_min_of_its_own(load: Load) -> None:
    """A tag that one of the mappings lets through is wanted; `min` beside `any` counts all."""
    rule = read(load, "{any: [{include: [latest]}, {include: ['v*'], newest: 3}], min: 2}")
    assert rule.selection is not None
    assert len(rule.selection.filters) == 2
    assert rule.selection.min == 2
    assert [tag for tag in ("latest", "v1", "x") if rule.selects(tag)] == ["latest", "v1"]


@pytest.mark.parametrize(
    ("tags", "explicit", "needs_listing"),
    [
        ("{include: [v1, v2]}", ("v1", "v2"), False),
        ("{include: [v1, v2], exclude: [v2]}", ("v1",), True),
        ("{include: [v1, 'w*']}", ("v1",), True),
        ("{include: [v1], min: 1}", ("v1",), True),
        ("{include: [v1], newest: 1}", (), True),
        ("{include: [v1], semver: '*'}", (), True),
        ("{include: [v1], created_after: 9d}", (), True),
        ("{exclude: [v1]}", (), True),
        ("{any: [{include: [b, a]}, {include: [a, c]}]}", ("b", "a", "c"), False),
    ],
)
def test_a_tag_is_named_if_nothing_else_can_drop_it(
    load: Load, tags: str, explicit: tuple[str, ...], needs_listing: bool
) -> None:
    """An exact name that only names is asked for as in a list; one that is filtered is not."""
    rule = read(load, tags)
    assert (rule.explicit_tags, rule.has_patterns) == (explicit, needs_listing)


def test_any_suffix_is_how_a_range_is_read(load: Load) -> None:
    """Whichever key stands first."""
    for tags in ("{semver: '>=12', suffixes: any}", "{suffixes: any, semver: '>=12'}"):
        rule = read(load, tags)
        assert [tag for tag in ("16-alpine", "12-alpine", "12") if rule.selects(tag)] == [
            "16-alpine",
            "12",
        ]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("{}", "images[0].tags: is an empty mapping"),
        ("{newest: 0}", "images[0].tags.newest: must be a whole number of tags, 1 or more"),
        ("{newest: -1}", "images[0].tags.newest: must be a whole number"),
        ("{newest: 1.5}", "images[0].tags.newest: must be a whole number"),
        ("{newest: many}", "images[0].tags.newest: must be a whole number"),
        ("{newest: [3]}", "images[0].tags.newest: must be a whole number"),
        ("{min: -1}", "images[0].tags.min: must be a whole number"),
        ("{by: name}", "images[0].tags: by says what newest counts by: add newest: N"),
        ("{newest: 1, by: date}", "images[0].tags.by: 'date' is none of"),
        ("{semver: newest}", "images[0].tags.semver: 'newest': 'newest' is not a version"),
        ("{semver: '>=2 <1'}", "images[0].tags.semver: '>=2 <1' wants no version"),
        ("{suffixes: any}", "images[0].tags: suffixes says what semver takes: add semver"),
        ("{semver: '1', suffixes: all}", "images[0].tags.suffixes: "),
        ("{semver: '>2 <1', suffixes: any}", "images[0].tags.semver: '>2 <1' wants no version"),
        ("{semver: ['1', '2']}", "images[0].tags.semver: must be one text; several"),
        ("{created_after: soon}", "images[0].tags.created_after: must be a date such as"),
        ("{created_after: 90}", "images[0].tags.created_after: must be a date such as"),
        ("{created_after: 999999w}", "images[0].tags.created_after: must be a date such as"),
        ("{created_after: 2026-13-01}", "images[0].tags.created_after: must be a date such as"),
        ("{include: []}", "images[0].tags.include: is an empty list"),
        ("{include: [a, '/(/']}", "images[0].tags.include[1]: the regex /(/ does not compile"),
        ("{include: ['a b']}", "images[0].tags.include[0]: 'a b' is not a tag"),
        ("{include: [[a]]}", "images[0].tags.include[0]: must be a text"),
        ("{exclude: '/[/'}", "images[0].tags.exclude: the regex /[/ does not compile"),
        ("{exclude: {a: b}}", "images[0].tags.exclude: must be a text or a list of texts"),
        ("{includes: [a]}", "images[0].tags.includes: is not a known key; did you mean include?"),
        ("{any: []}", "images[0].tags.any: is an empty list"),
        ("{any: {include: a}}", "images[0].tags.any: must be a list of mappings"),
        ("{any: [v1]}", "images[0].tags.any[0]: must be a mapping"),
        ("{any: [{}]}", "images[0].tags.any[0]: is an empty mapping"),
        ("{any: [{new: 3}]}", "images[0].tags.any[0].new: is not a known key; did you mean newest"),
        ("{any: [{newest: 3}], exclude: [x]}", "images[0].tags: exclude cannot stand beside any"),
        ("{any: [{any: [{newest: 3}]}]}", "images[0].tags: any cannot stand below any"),
    ],
)
def test_a_wrong_mapping_is_refused_where_it_is_wrong(
    refuse: Refuse, tags: str, expected: str
) -> None:
    """Regexes, ranges, numbers and keys: the line, the key, and what to write instead."""
    said = refuse(text(tags))
    assert said.startswith("prod.yaml:5: ")
    assert expected in said


def test_the_line_is_that_of_the_entry(refuse: Refuse) -> None:
    """In a mapping of several lines each error has its own, and all are told at once."""
    said = refuse(
        text("\n    include:\n    - v1\n    - '/(/'\n    newest: 0\n    semver: '^^1'")
    ).split("\n")
    assert [line.partition(" images")[0] for line in said] == [
        "prod.yaml:8:",
        "prod.yaml:9:",
        "prod.yaml:10:",
    ]


@pytest.mark.parametrize("key", ["include", "exclude", "semver", "newest", "min"])
def test_a_key_beside_tags_is_sent_below_it(refuse: Refuse, key: str) -> None:
    """What selects tags and stands at the rule itself gets a hint where it belongs."""
    said = refuse(f"version: 1\nimages:\n- source: q.io/a\n  destination: x.io/b\n  {key}: '3'\n")
    assert f"images[0].{key}: is not a known key; it selects tags: write tags: {{{key}" in said


def test_tags_cannot_be_renamed_by_position_where_they_are_selected(refuse: Refuse) -> None:
    """Positions need a list."""
    said = refuse(text("{newest: 2}").replace("x.io/a/b", "'x.io/a/b:one,two'"))
    assert "tags are renamed by position" in said


def test_a_source_with_tags_and_a_mapping_is_refused(refuse: Refuse) -> None:
    """Tags are named in one place."""
    assert "it names tags, and tags: does too" in refuse(text("{newest: 2}", "'q.io/a/b:v1'"))


def test_two_rules_with_different_selections_are_both_kept(load: Load) -> None:
    """A rule repeats another only if it selects the same."""
    rules = "".join(
        f"- {{source: q.io/a, destination: x.io/b, tags: {{newest: {number}}}}}\n"
        for number in (1, 2, 1)
    )
    assert [rule.number for rule in load(f"version: 1\nimages:\n{rules}").rules] == [1, 2]
