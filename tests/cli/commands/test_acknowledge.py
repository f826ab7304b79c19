"""`acknowledge`: conflicts that are known decide no exit code, for what was seen and no longer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import write_config
from tests.support.images import image
from tests.support.layouts import layout_tags, write_layout
from tests.support.schemas import read_lines

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

DAY = (datetime.now(UTC).date() + timedelta(days=90)).isoformat()
WHY = ("--until", DAY, "--because", "hotfix by hand")
FILE = "imgmigrate.known-conflicts.yaml"


@pytest.fixture
def contested(cli: Cli) -> Cli:
    """Three images to copy; somebody else's stand at two of the three tags."""
    for tag in ("1", "2", "3"):
        write_layout(cli.folder / "old", tag, image(tag))
    for tag in ("1", "2"):
        write_layout(cli.folder / "new", tag, image(f"theirs {tag}"))
    write_config(cli.folder, '  - {source: "oci:old", destination: "oci:new"}')
    return cli


def test_what_is_acknowledged_is_done_with(contested: Cli) -> None:
    """From 2 and 7 to 0, told apart in plan, apply and status, and never overwritten."""
    theirs = layout_tags(contested.folder / "new")
    assert contested("plan", "--detailed-exitcode") == 2
    assert contested("acknowledge", "oci:new:*", *WHY) == 0
    assert "Noted 2 conflicts" in contested.out
    assert contested("apply", "--auto-approve") == 0
    assert "= known conflicts (2)" in contested.out
    assert "Apply complete: 1 copied, 2 known conflicts" in contested.out
    assert layout_tags(contested.folder / "new") | theirs == layout_tags(contested.folder / "new")
    assert contested("plan", "--detailed-exitcode") == 0
    assert contested.out.startswith("Plan: 2 known conflicts, 1 unchanged.")
    assert f"known until {DAY}: hotfix by hand" in contested.out
    assert contested("status") == 0
    assert "2 known conflicts" in contested.out


def test_one_of_two_leaves_the_other(contested: Cli) -> None:
    """Exit 7 is for what nobody has decided about."""
    assert contested("acknowledge", "oci:new:1", *WHY) == 0
    assert contested("apply", "--auto-approve") == 7
    assert "Apply incomplete: 1 copied, 1 conflict, 1 known conflict" in contested.out


def test_a_saved_plan_is_acknowledged_for_what_it_saw(contested: Cli) -> None:
    """Another image that came meanwhile is not known; the same plan then ends with 0."""
    assert contested("plan", "--out", "plan.out") == 0
    write_layout(contested.folder / "new", "2", image("theirs, newer"))
    assert contested("acknowledge", "oci:new:*", "--plan", "plan.out", *WHY) == 0
    assert contested("apply", "plan.out") == 0
    assert contested("plan") == 0
    assert "1 conflict, 1 known conflict" in contested.out
    assert "another image is known there" in contested.out


def test_a_glob_that_cannot_be_read_is_no_glob_without_conflicts(contested: Cli) -> None:
    """What is wrong with it is said, whatever the plan shows."""
    assert contested("plan", "--out", "plan.out") == 0
    assert contested("acknowledge", "/(/", "--plan", "plan.out", *WHY) == 64
    assert "/(/: the regex /(/ does not compile" in contested.err
    assert "conflict" not in contested.err


def test_the_config_is_never_touched(contested: Cli) -> None:
    """Its comments and its layout are its owner's."""
    config = contested.folder / "imgmigrate.yaml"
    config.write_text("# ours\n" + config.read_text())
    text = config.read_text()
    assert contested("acknowledge", "oci:new:1", *WHY) == 0
    assert contested("acknowledge", "oci:new:1", *WHY) == 0
    assert "noted already" in contested.out
    assert config.read_text() == text
    assert (contested.folder / FILE).read_text().count("oci:new:1") == 1


def test_a_dry_run_writes_nothing(contested: Cli) -> None:
    """It shows what would be noted."""
    assert contested("acknowledge", "oci:new:1", "--dry-run", *WHY) == 0
    assert "Would note 1 conflict" in contested.out
    assert not (contested.folder / FILE).exists()


def test_programs_are_told_each(contested: Cli) -> None:
    """By the schema, in full; a plan's stream counts them apart."""
    assert contested("acknowledge", "oci:new:1", "--json", *WHY) == 0
    lines = [each for each in read_lines("stream", contested.out) if each["type"] == "acknowledged"]
    assert [(each["address"], each["until"], each["wrote"]) for each in lines] == [
        ("oci:new:1", DAY, True)
    ]
    assert contested("apply", "--auto-approve", "--json") == 7
    lines = read_lines("stream", contested.out)
    (summary,) = (each for each in lines if each["type"] == "change_summary")
    assert (summary["changes"]["conflict"], summary["changes"]["known_conflict"]) == (1, 1)
    (end,) = (each for each in lines if each["type"] == "run_summary")
    assert end["counts"] == {"known_conflict": 1, "conflict": 1, "applied": 1}
    assert contested("plan", "--out", "plan.out") == 0
    assert contested("show", "plan.out", "--json") == 0
    rows = [json.loads(line) for line in contested.out.splitlines()]
    assert [row["known"]["because"] for row in rows if row.get("known")] == ["hotfix by hand"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("oci:new:3", *WHY), "matches no conflict"),
        (("oci:nowhere", *WHY), "matches no address"),
        (("oci:new:1", "--until", "2020-01-01", "--because", "x"), "is past"),
        (("oci:new:1", "--until", "spring", "--because", "x"), "is not a day"),
        (("oci:new:1", "--until", DAY, "--because", " "), "say why"),
        (("oci:new:1", "--until", DAY), "--because"),
        (WHY, "GLOB"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    contested: Cli, arguments: tuple[str, ...], said: str
) -> None:
    """Exit 64, and nothing is noted."""
    assert contested("acknowledge", *arguments) == 64
    assert said in contested.err
    assert not (contested.folder / FILE).exists()


def test_what_could_not_be_read_is_told(contested: Cli) -> None:
    """Exit 3: whether it is a conflict is not known. What was seen is noted all the same."""
    (contested.folder / "broken").mkdir()
    (contested.folder / "broken/file").write_text("no layout")
    rules = '  - {source: "oci:old", destination: ["oci:new", "oci:broken"]}'
    write_config(contested.folder, rules)
    assert contested("acknowledge", "oci:broken", *WHY) == 3
    assert contested("acknowledge", "**", *WHY) == 3
    assert "could not be read: oci:broken" in contested.err
    assert (contested.folder / FILE).read_text().count("oci:new:") == 2
