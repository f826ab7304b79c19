"""`plan --refresh-only` as a user sees it, between OCI layouts."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

ADDRESS = "oci:bundle/os:12"


@pytest.fixture
def moved(cli: Cli) -> Cli:
    """A config whose one image was migrated."""
    cli.write_config()
    write_layout(cli.folder / "images/os", "12", images.image("12"))
    assert cli("apply", "--auto-approve") == 0
    return cli


def test_nothing_has_moved_after_an_apply(moved: Cli) -> None:
    """One sentence, and exit 0 also where the exit code tells of changes."""
    assert moved("plan", "--refresh-only", "--detailed-exitcode") == 0
    assert moved.out.startswith("Nothing has moved: 1 image as recorded.\n")


def test_drift_is_shown_and_left_alone(moved: Cli) -> None:
    """Who moved is told, exit 2 if asked for; applying that plan changes nothing, exit 0."""
    write_layout(moved.folder / "images/os", "12", images.image("13"))
    write_layout(moved.folder / "bundle/os", "12", images.image("theirs"))
    arguments = ("plan", "--refresh-only", "--detailed-exitcode", "--out", "plan.out")
    assert moved(*arguments) == 2
    assert moved.out.startswith("Refresh: 1 drifted, 0 as recorded. Nothing is copied.\n")
    assert "source and destination moved" in moved.out
    assert max(len(line) for line in moved.out.splitlines() if "sha256 " not in line) <= 80
    assert moved("apply", "plan.out") == 0
    assert moved("show", "plan.out", "--only", "drift", "--json") == 0
    lines = [json.loads(line) for line in moved.out.splitlines()]
    assert [line.get("action") for line in lines[1:-1]] == ["drift"]
    assert moved("plan") == 0
    assert "1 conflict" in moved.out


def test_a_lost_image_is_let_go_by_an_apply(moved: Cli) -> None:
    """It stands first, and the preview names the command that saves this very plan."""
    shutil.rmtree(moved.folder / "bundle")
    assert moved("plan", "--refresh-only") == 0
    assert "gone from the destination; the record is let go" in moved.out
    assert "  imgmigrate plan --refresh-only --out plan.out\n" in moved.out
    assert moved("plan", "--refresh-only", "--out", "plan.out") == 0
    assert moved("apply", "plan.out") == 0
    assert moved("state", "list") == 0
    assert moved.out == ""
    assert moved("plan", "--refresh-only") == 0
    assert moved.out.startswith("Nothing to refresh: no images are recorded.")


@pytest.mark.parametrize(
    "option",
    [
        ["--replace", "**"],
        ["--allow-overwrite", "**"],
        ["--no-refresh"],
        ["--allow-delete"],
        ["--max-delete", "3"],
        ["--locked"],
        ["--explain", "1"],
    ],
    ids=" ".join,
)
def test_what_asks_for_a_plan_of_the_rules_is_refused(cli: Cli, option: list[str]) -> None:
    """Two options that contradict each other are an error that names one of them."""
    cli.write_config()
    assert cli("plan", "--refresh-only", *option) == 64
    assert option[0] in cli.err
