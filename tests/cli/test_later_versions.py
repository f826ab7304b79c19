"""A plan of a later minor version: what this one does not know is shown, and the rest is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.test_forgery import forge
from tests.support import images
from tests.support.layouts import layout_tags, write_layout
from tests.support.schemas import read_lines

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

ACTION, REASON = "attach", "referrers_moved"
# What each output calls a name of a later version.
WORDS = {"text": "referrers moved", "markdown": "referrers moved", "json": REASON}
THEIRS = f"sha256:{'e' * 64}"
Row = dict[str, Any]


def bare(address: str, action: str, reason: str, **more: Any) -> Row:
    """A row with what every row has."""
    unsaid = dict.fromkeys(("source", "before", "after", "recorded", "media_type"))
    return {"address": address, "action": action, "reason": reason, **unsaid, **more}


@pytest.fixture
def planned(cli: Cli) -> Cli:
    """A config, its plan in `plan.out`: one image to copy."""
    write_layout(cli.folder / "images/os", "12", images.image("os"))
    cli.write_config()
    assert cli("plan", "--out", "plan.out") == 0
    return cli


def later(cli: Cli, *rows: Row, **edits: Any) -> None:
    """Make a plan of version 1.9 with more rows; `edits` are of the row that was there."""

    def edit(header: Row, there: list[Row]) -> None:
        header["format_version"] = "1.9"
        header["summary"]["attach"] = 1
        there[0] |= edits
        there += rows

    forge(cli, edit)


def output(cli: Cli, *arguments: str, code: int = 0) -> str:
    """Run a command and return all that it printed, on one line of words."""
    assert cli(*arguments) == code, cli.out + cli.err
    assert "Traceback" not in cli.out + cli.err
    return " ".join((cli.out + cli.err).split())


@pytest.mark.parametrize("form", WORDS)
def test_what_is_not_known_is_shown_as_it_is(planned: Cli, form: str) -> None:
    """Actions and reasons, each alone and both together, whatever the row is for."""
    later(
        planned,
        bare("oci:bundle/os:1", ACTION, REASON),
        bare("oci:bundle/os:2", ACTION, "new"),
        bare("oci:bundle/os:3", "conflict", REASON, before=THEIRS),
        bare("oci:bundle/os:4", "keep", REASON),
        reason=REASON,
    )
    for more in ((), ("--target", "oci:bundle/**")):
        said = output(planned, "show", "plan.out", "--format", form, *more)
        assert said.count(WORDS[form]) == 4
        assert said.count(ACTION) >= 2
    said = output(planned, "show", "plan.out", "--verbose", "--only", "conflict")
    assert "oci:bundle/os:3" in said


def test_what_is_shown_meets_the_schemas(planned: Cli) -> None:
    """Programs read such a plan by the schemas of this version."""
    later(planned, bare("oci:bundle/os:1", ACTION, REASON), reason=REASON)
    read_lines("plan", (planned.folder / "plan.out").read_text())
    output(planned, "show", "plan.out", "--json")
    read_lines("show", planned.out)
    output(planned, "apply", "plan.out", "--json", code=3)
    read_lines("stream", planned.out)


@pytest.mark.parametrize("options", [(), ("--json",), ("--strict",)])
def test_the_rest_is_applied(planned: Cli, options: tuple[str, ...]) -> None:
    """What is known is done, exit 3 tells that something is not; the same plan says it again."""
    later(
        planned,
        bare("oci:bundle/os:1", ACTION, REASON),
        bare("oci:bundle/os:3", "conflict", REASON, before=THEIRS),
        reason=REASON,
    )
    for _ in range(2):
        said = output(planned, "apply", "plan.out", *options, code=3)
        assert f"does not know the action {ACTION}" in said
        assert f"is a conflict ({REASON})" in said
        assert set(layout_tags(planned.folder / "bundle/os")) == {"12"}


def test_a_reason_alone_keeps_no_image_from_being_copied(planned: Cli) -> None:
    """Config and state bear the row out; why it was planned only explains it."""
    later(planned, reason=REASON)
    output(planned, "apply", "plan.out")
    assert set(layout_tags(planned.folder / "bundle/os")) == {"12"}
    output(planned, "plan", "--detailed-exitcode")


def test_a_conflict_is_one_for_whatever_reason(planned: Cli) -> None:
    """It needs a person, as every other one does."""
    later(planned, bare("oci:bundle/os:3", "conflict", REASON, before=THEIRS))
    assert f"is a conflict ({REASON})" in output(planned, "apply", "plan.out", code=7)


@pytest.mark.parametrize("action", ["delete", "forget"])
def test_nothing_is_let_go_for_a_reason_that_is_not_known(planned: Cli, action: str) -> None:
    """What cannot be taken back is left, by its name; exit 3."""
    output(planned, "apply", "plan.out")
    config = planned.folder / "imgmigrate.yaml"
    config.write_text(config.read_text().replace(":12", ":13"))
    write_layout(planned.folder / "images/os", "13", images.image("os 13"))
    option = {"delete": "--allow-delete", "forget": "--forget"}[action]
    output(planned, "plan", option, "--out", "plan.out")

    def edit(header: Row, there: list[Row]) -> None:
        header["format_version"] = "1.9"
        for row in there:
            if row["action"] == action:
                row["reason"] = REASON

    forge(planned, edit)
    assert "of a later version" in output(planned, "show", "plan.out")
    said = output(planned, "apply", "plan.out", code=3)
    assert f"does not know the reason {REASON} of a {action}" in said
    assert set(layout_tags(planned.folder / "bundle/os")) == {"12", "13"}
    assert "oci:bundle/os:12" in output(planned, "state", "list")


def test_other_commands_read_such_a_plan(planned: Cli) -> None:
    """The way back leaves out what was left out, and a conflict can be acknowledged."""
    address = "oci:bundle/os:3"
    later(
        planned,
        bare("oci:bundle/os:1", ACTION, REASON),
        bare(address, "conflict", REASON, before=THEIRS),
    )
    output(planned, "apply", "plan.out", code=3)
    assert ACTION not in output(planned, "rollback", "plan.out")
    because = ("--until", "2999-01-01", "--because", "theirs")
    output(planned, "acknowledge", address, *because, "--plan", "plan.out")
