"""How deletes, moves and what guards keep are shown."""

from __future__ import annotations

from pathlib import Path

from imgmigrate.oci.reference import Reference
from imgmigrate.render.changes.hints import plan_hints
from imgmigrate.render.changes.text import plan_text
from imgmigrate.render.summary import result_text, unplanned
from imgmigrate.render.words import has_work, headline
from tests.cli.helpers import success
from tests.render import samples

OLD = samples.digest("old")
NEW = "harbor.new/crew/api:1"
DELETE = samples.change("harbor.new/a:1", "delete", "rule_removed", before=OLD, recorded=OLD)
MOVED_AWAY = samples.change(
    "harbor.new/team/api:1", "delete", "moved", before=OLD, moved_to=Reference.parse(NEW)
)
MOVE = samples.change(NEW, "move", "moved", source="harbor.new/team/api:1", transfer_bytes=0)
PROTECTED = samples.change("harbor.new/a:2", "blocked", "protected", before=OLD)
OVER_LIMIT = samples.change("harbor.new/a:3", "blocked", "max_delete", before=OLD)


def command(*arguments: str) -> str:
    return " ".join(("imgmigrate", *arguments))


def test_deletes_stand_before_what_is_harmless() -> None:
    """A reviewer meets what goes, and what a guard keeps, before moves and copies."""
    copy = samples.change("harbor.new/z:1", "copy", "new", transfer_bytes=1)
    text = plan_text(samples.plan(copy, DELETE, MOVED_AWAY, MOVE, PROTECTED))
    titles = [line for line in text.splitlines() if line.endswith(("stays", "them", "it", "tion"))]
    assert [title.split(" (")[0] for title in titles] == [
        "- delete",
        "! blocked",
        "> move",
        "+ copy",
    ]
    assert f"moved to {NEW}" in text
    assert "  from harbor.new/team/api\n  > harbor.new/crew/api:1  0 B\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_many_deletes_are_all_listed() -> None:
    """What goes is never folded away."""
    rows = [
        samples.change(f"harbor.new/a:v{number:03}", "delete", "deselected", before=OLD)
        for number in range(200)
    ]
    text = plan_text(samples.plan(*rows))
    assert all(f"harbor.new/a:v{number:03}" in text for number in range(200))


def test_the_headline_counts_deletes_moves_and_what_is_blocked() -> None:
    """One sentence; deletes and moves are work, what is blocked is none."""
    made = samples.plan(DELETE, MOVE, PROTECTED)
    assert headline(made.summary) == "Plan: 1 to move, 1 to delete, 1 blocked. 0 B to transfer."
    assert has_work(samples.plan(DELETE).summary)
    assert has_work(samples.plan(MOVE).summary)
    assert not has_work(samples.plan(PROTECTED, OVER_LIMIT).summary)


def test_the_way_around_each_guard_is_named() -> None:
    """The limit that would do, and the command that lifts a protection."""
    hints = plan_hints(samples.plan(PROTECTED, OVER_LIMIT), command)
    commands = [hint.command for hint in hints]
    assert "imgmigrate plan --allow-delete --max-delete 1 --out plan.out" in commands
    assert "imgmigrate state unprotect harbor.new/a:2" in commands


def test_the_way_around_a_limit_writes_the_same_file() -> None:
    """A plan that was saved is planned again to where it is."""
    hints = plan_hints(samples.plan(OVER_LIMIT), command, Path("mine.out"))
    assert [hint.command for hint in hints] == [
        "imgmigrate plan --allow-delete --max-delete 1 --out mine.out"
    ]


def test_an_apply_says_what_the_limit_kept() -> None:
    """Deletes over the limit are left out and make it incomplete; what is protected does not."""
    made = samples.plan(DELETE, PROTECTED, OVER_LIMIT)
    result = success(made)
    assert unplanned(made, result) == (OVER_LIMIT,)
    text = result_text(made, result, replan="imgmigrate plan")
    assert "left out by the plan (1)" in text
    assert "Apply incomplete" in text
    done = samples.plan(DELETE, PROTECTED)
    assert "Apply complete" in result_text(done, success(done))
