"""How a selection's explanation looks: 80 columns, and as JSON lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.errors import TransientError
from imgmigrate.matching import parse_tag_pattern
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.planning.desired.explain import Explained, fates
from imgmigrate.planning.desired.select import choose
from imgmigrate.render.json import JsonStream
from imgmigrate.render.reports.selection import selection_lines, write_selection
from imgmigrate.rules.rule import Destination, Rule
from imgmigrate.rules.selection import By, Selection, TagFilter
from imgmigrate.versions import parse_range

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Reference

SOURCE, TARGET = Repository("old.example", "team/api"), Repository("new.example", "team/api")
LISTING = ["v0.9", "v1.0", "v1.1", "v1.1-rc1", "v1.1-alpine", "v1.2", "latest", "main"]
DATES = {"latest": datetime(2026, 5, 1, tzinfo=UTC), "main": datetime(2026, 5, 2, tzinfo=UTC)}
STRICT = TagFilter(
    include=(parse_tag_pattern("v*"),),
    exclude=(parse_tag_pattern("*-rc*"),),
    semver=parse_range(">=1"),
    newest=1,
    min=2,
)


def rule(*filters: TagFilter, digest: Digest | None = None) -> Rule:
    return Rule(
        number=4,
        file="imgmigrate.yaml",
        line=12,
        source=SOURCE,
        digest=digest,
        tags=() if digest else None,
        destinations=(Destination(TARGET),),
        selection=Selection(filters) if filters else None,
    )


def explained(*filters: TagFilter, address: Reference | None = None) -> Explained:
    choice = choose(rule(*filters), LISTING, DATES)
    return Explained(choice.rule, choice, address, fates(choice, address) if address else ())


def lines(*each: Explained, verbose: bool = False) -> list[str]:
    found = list(selection_lines(each, verbose=verbose))
    assert all(len(line) <= 80 for line in found)
    return found


def test_stages_are_shown_one_below_the_other() -> None:
    """What each stage leaves, and for each reason which tags it drops."""
    assert lines(explained(STRICT)) == [
        "rule 4 (imgmigrate.yaml:12): old.example/team/api",
        "  8 tags listed",
        "  include v*: 6 left",
        "    - matches none of these (2): latest, main",
        "  exclude *-rc*: 5 left",
        "    - matches *-rc* (1): v1.1-rc1",
        "  semver >=1: 3 left",
        "    - too old (1): v0.9",
        "    - suffix alpine is not asked for (1): v1.1-alpine",
        "  newest 1 by semver: 1 left",
        "    - not among the newest 1 (2): v1.0, v1.1",
        "  1 tag selected: v1.2",
        "  too few: 1 selected, and min is 2",
    ]


def test_the_fate_of_an_address_stands_above_the_stages() -> None:
    """The question that was asked is answered first."""
    found = lines(explained(STRICT, address=TARGET.at("v1.1")))
    assert found[1:3] == [
        "  new.example/team/api:v1.1: tag v1.1 drops out at newest: not among the newest",
        "    1",
    ]
    found = lines(explained(STRICT, address=TARGET.at("v1.2")))
    assert found[1] == "  new.example/team/api:v1.2: tag v1.2 is selected"
    found = lines(explained(STRICT, address=TARGET.at("v7")))
    assert "is not selected: no tag that the source lists goes there" in " ".join(
        line.strip() for line in found[1:3]
    )


def test_united_filters_are_numbered_and_dates_are_shown() -> None:
    """Each mapping of `any` has its own stages."""
    newest = TagFilter(include=(parse_tag_pattern("/^[lm]/"),), newest=1, by=By.CREATED)
    found = lines(explained(STRICT, newest))
    assert [line for line in found if "any" in line] == ["  any[0]", "  any[1]"]
    assert "      - not among the newest 1 (1): latest (2026-05-01)" in found
    assert "  2 tags selected: main, v1.2" in found


def test_named_tags_that_are_not_there_are_told() -> None:
    """What a rule names is selected, and need not be there."""
    named = TagFilter(include=tuple(map(parse_tag_pattern, ("v1.0", "v7", "main*"))))
    found = lines(explained(named))
    assert found[-2:] == ["  3 tags selected: main, v1.0, v7", "  named, and not there: v7"]


def test_listed_tags_that_are_not_to_be_had_are_told() -> None:
    """What could not be dated because it dangles is named, as text and as data."""
    choice = choose(rule(TagFilter(newest=1, by=By.CREATED)), ["a", "b"])
    each = Explained(choice.rule, replace(choice, dangling=("b",)))
    assert "  listed, and not to be had: b" in lines(each)
    written: list[str] = []
    write_selection([each], JsonStream(written.append, now=lambda: "now"))
    assert json.loads(written[1])["dangling"] == ["b"]


def test_long_lists_are_cut_unless_all_is_wanted() -> None:
    """A thousand tags are told by a dozen; `--verbose` lists them."""
    choice = choose(rule(TagFilter(newest=1)), [f"build-{number:03}" for number in range(100)])
    each = Explained(choice.rule, choice)
    short, long = "\n".join(lines(each)), "\n".join(lines(each, verbose=True))
    assert "and 88 more" in " ".join(short.split())
    assert "build-050" not in short
    assert "build-050" in long
    assert "more" not in long


def test_a_digest_and_a_failure_have_their_words() -> None:
    """Nothing to select, and nothing that could be read, are said as such."""
    digest = Digest.of(b"x")
    pinned = rule(digest=digest)
    failed = TransientError("old.example/team/api", "connection refused")
    found = lines(
        Explained(pinned, choose(pinned, []), TARGET.at(digest)), Explained(rule(), failed)
    )
    assert "  names a digest: there is nothing to select" in found
    assert "is what this rule writes" in " ".join(" ".join(found).split())
    assert found[-2:] == [
        "rule 4 (imgmigrate.yaml:12): old.example/team/api",
        "  could not be read",
    ]


def test_json_has_one_line_a_rule() -> None:
    """Everything that the text says, as data, with every tag."""
    written: list[str] = []
    stream = JsonStream(written.append, now=lambda: "now")
    failed = TransientError("old.example/team/api", "connection refused")
    write_selection(
        [explained(STRICT, address=TARGET.at("v1.0")), Explained(rule(), failed)], stream
    )
    _, first, second = map(json.loads, written)
    assert (first["type"], first["rule"], first["line"]) == ("selection", 4, 12)
    assert (first["listed"], first["selected"]) == (8, ["v1.2"])
    assert first["shortages"] == ["1 selected, and min is 2"]
    assert [stage["name"] for stage in first["filters"][0]] == [
        "include",
        "exclude",
        "semver",
        "newest",
    ]
    assert first["filters"][0][1]["dropped"] == [
        {"tag": "v1.1-rc1", "reason": "matches *-rc*", "detail": None}
    ]
    assert first["address"] == "new.example/team/api:v1.0"
    (fate,) = first["fates"]
    assert (fate["tag"], fate["selected"], fate["listed"]) == ("v1.0", False, True)
    assert fate["losses"][0]["stage"] == "newest"
    assert (second["@level"], "connection refused" in second["error"]) == ("error", True)
