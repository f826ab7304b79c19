"""What is advised after a plan, by the reasons of its rows."""

from __future__ import annotations

import pytest

from imgmigrate.render.changes.hints import plan_hints
from tests.render import samples

OLD, THEIRS = samples.digest("old"), samples.digest("theirs")
NAME = "harbor.new/a:1"


def command(*arguments: str) -> str:
    return " ".join(("imgmigrate", *arguments))


def test_what_somebody_overwrote_may_be_our_own_of_a_later_state() -> None:
    """Whose state was restored meets its own later work: how to take that over is said once."""
    rows = [
        samples.change(f"harbor.new/a:{n}", "conflict", "changed_here", before=THEIRS)
        for n in range(3)
    ]
    hints = [hint for hint in plan_hints(samples.plan(*rows), command) if "older" in hint.text]
    (hint,) = hints
    assert "restored from a backup" in hint.text
    assert hint.command == "imgmigrate adopt --take-ownership harbor.new/a:0"


def test_a_foreign_image_is_not_called_ours_of_a_later_state() -> None:
    """Where nothing of ours was ever recorded, no older state explains it."""
    made = samples.plan(samples.change(NAME, "conflict", "foreign", before=THEIRS))
    assert not any("older" in hint.text for hint in plan_hints(made, command))


@pytest.mark.parametrize("reason", ["rule_removed", "deselected"])
def test_what_is_forgotten_stays_and_who_can_remove_it_is_said(reason: str) -> None:
    """A tag that slides out of the newest ones is nobody's after that: no later plan deletes it."""
    made = samples.plan(samples.change(NAME, "forget", reason, recorded=OLD))
    (hint,) = plan_hints(made, command)
    assert "stay at their destinations, and no later plan deletes them" in hint.text
    assert "only who may delete there" in hint.text
    assert "plan with --allow-delete instead of --forget" in hint.text


def test_a_record_whose_image_is_gone_needs_nobody_to_remove_it() -> None:
    """There is no tag that could stay."""
    made = samples.plan(samples.change(NAME, "forget", "destination_gone", recorded=OLD))
    assert plan_hints(made, command) == ()


def test_what_was_rolled_back_says_why_it_is_written_again() -> None:
    """And how to keep what is there, in the words of the command line."""
    row = samples.change(NAME, "update", "rolled_back", before=OLD, recorded=OLD)
    (hint,) = plan_hints(samples.plan(row), command)
    assert "a plan writes it again" in hint.text
    assert hint.text.endswith("leave it out: --exclude.")


@pytest.mark.parametrize("reason", ["foreign", "changed_here", "equivalent"])
def test_a_plan_without_a_config_is_advised_what_it_can_do(reason: str) -> None:
    """No rule can be changed, nothing adopted, and no conflict noted beside a config."""
    row = samples.change(NAME, "conflict", reason, before=THEIRS)
    (hint,) = plan_hints(samples.plan(row, config_sha256=None), command)
    assert hint.text.endswith("once, name addresses or globs:")
    assert hint.command == f"imgmigrate plan --allow-overwrite {NAME}"
    first, second, *_ = plan_hints(samples.plan(row), command)
    assert first.text.endswith("; for good, set overwrite in the rule:")
    assert second.command is not None
    assert second.command.startswith(f"imgmigrate acknowledge {NAME}")
