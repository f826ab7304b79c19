"""`plan --explain`: between layouts on disk, as a user runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.images import image
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

CONFIG = """\
version: 1
images:
  - source: "oci:images/os"
    destination: "oci:bundle/os"
    tags: {semver: ">=11", newest: 1}
"""


@pytest.fixture
def layout(cli: Cli) -> Cli:
    """A config over a layout of four tags."""
    (cli.folder / "imgmigrate.yaml").write_text(CONFIG)
    for tag in ("10", "11", "12", "latest"):
        write_layout(cli.folder / "images" / "os", tag, image(tag))
    return cli


def test_a_rule_is_explained_and_nothing_is_planned(layout: Cli) -> None:
    """Text on stdout says which tags drop out and why; there is no plan, and exit is 0."""
    assert layout("plan", "-explain", "1") == 0
    assert "  newest 1 by semver: 1 left\n    - not among the newest 1 (1): 11\n" in layout.out
    assert "  1 tag selected: 12\n" in layout.out
    assert "Plan:" not in layout.out


def test_an_address_is_explained(layout: Cli) -> None:
    """The tag that was asked for has its answer."""
    assert layout("plan", "--explain", "oci:bundle/os:10") == 0
    assert "oci:bundle/os:10: tag 10 drops out at semver: too old" in layout.out


def test_json_is_a_line_a_rule(layout: Cli) -> None:
    """The stream has a `selection` line."""
    assert layout("plan", "--explain", "1", "--json") == 0
    kinds = [json.loads(line) for line in layout.out.splitlines()]
    assert [line["type"] for line in kinds] == ["version", "listed", "selection"]
    assert kinds[-1]["selected"] == ["12"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--explain", "9"), "there is no such rule"),
        (("--explain", "new.example/a"), "no rule writes to new.example/a"),
        (("--explain", "1", "--out", "plan.out"), "--out has no meaning"),
        (("--explain", "1", "--detailed-exitcode"), "--detailed-exitcode has no meaning"),
        (("--explain", "1", "--target", "x/**"), "--target has no meaning"),
        (("--explain", "1", "--no-refresh"), "--no-refresh has no meaning"),
        (("--explain", "1", "--sizes", "auto"), "--sizes has no meaning"),
    ],
)
def test_wrong_usage_is_refused(layout: Cli, arguments: tuple[str, ...], said: str) -> None:
    """What is not there, and options of a plan, are usage errors."""
    assert layout("plan", *arguments) == 64
    assert said in layout.err
    assert layout.out == ""


def test_a_source_that_cannot_be_read_is_an_error(layout: Cli) -> None:
    """It is not "nothing drops out"."""
    (layout.folder / "images" / "os" / "index.json").write_text("no JSON")
    assert layout("plan", "--explain", "1") == 1
    assert "could not be read" in layout.out
    assert "Error: source oci:" in layout.err


def test_too_few_tags_end_a_plan_with_6(layout: Cli) -> None:
    """The guard names rule, numbers and the command that explains them, which still works."""
    (layout.folder / "imgmigrate.yaml").write_text(CONFIG.replace("newest: 1", "min: 3"))
    assert layout("plan", "--out", "plan.out") == 6
    assert "2 selected, and min is 3" in layout.err
    assert "imgmigrate plan --explain 1" in layout.err
    assert not (layout.folder / "plan.out").exists()
    assert layout("plan", "--explain", "1") == 0
    assert "too few: 2 selected, and min is 3" in layout.out


def test_names_that_are_no_tags_are_said(layout: Cli) -> None:
    """A plan warns and notes them, an explanation counts them, and neither ends for them."""
    write_layout(layout.folder / "images" / "os", "1.0+b1", image("odd"))
    said = "oci:images/os: 1 listed name is no valid tag, and left out: 1.0+b1"
    assert layout("plan", "--out", "plan.out") == 0
    assert said in " ".join(layout.err.split())
    assert f"note: {said}" in " ".join(layout.out.split())
    assert layout("plan", "--explain", "1") == 0
    assert "  4 tags listed\n  1 listed name is no valid tag, and left out: 1.0+b1\n" in layout.out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [((), (300.0, False)), (("--wait-for-registries", "15m"), (900.0, True))],
)
def test_a_registry_that_is_down_is_waited_for(
    layout: Cli, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...], expected: object
) -> None:
    """As long as a plan would wait."""
    told: list[tuple[object, object]] = []

    async def explain_selection(*_: object, **options: object) -> list[object]:
        told.append((options["outage"], options["awaits_strangers"]))
        return []

    monkeypatch.setattr("imgmigrate.planning.desired.explain.explain_selection", explain_selection)
    monkeypatch.setattr("imgmigrate.cli.given.limits.USUAL_OUTAGE", 300.0)
    assert layout("plan", "--explain", "1", *typed) == 0
    assert told == [expected]
