"""A plan on a terminal."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import Action, Change
from imgmigrate.render.changes.hints import apply_hints, plan_hints
from imgmigrate.render.changes.text import View, plan_lines, plan_text
from imgmigrate.render.style import Style
from imgmigrate.render.words import headline
from tests.render import samples

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from imgmigrate.plan import Plan


def command(*arguments: str) -> str:
    return " ".join(["imgmigrate", *arguments])


def hinted(plan: Plan) -> View:
    hints = plan_hints(plan, command) + apply_hints(plan, command, Path("plan.out"), "a" * 64)
    return View(hints=hints)


def test_every_kind_of_row_is_shown(snapshot: SnapshotAssertion) -> None:
    """The whole of a plan with every action, as the README shows it."""
    plan = samples.every_action()
    assert plan_text(plan, hinted(plan)) == snapshot


def test_long_lists_are_folded_per_repository(snapshot: SnapshotAssertion) -> None:
    """Above fifty rows a list shows repositories; rows that need a decision stay in full."""
    text = plan_text(samples.many(53), View())
    assert text.count("  ! harbor.new/c:v") == 53
    assert [
        line for line in text.splitlines() if "harbor.new/c" not in line and "holds" not in line
    ] == snapshot


def test_verbose_lists_every_row() -> None:
    """`--verbose` folds nothing."""
    text = plan_text(samples.many(53), View(verbose=True))
    assert text.count("  + harbor.new/") == 53
    assert "--verbose" not in text


@pytest.mark.parametrize("plan", [samples.every_action(), samples.many(3), samples.limited()])
def test_the_headline_stands_first_and_last(plan: Plan) -> None:
    """Whoever sees only the head or the tail of a plan sees what it does."""
    wrapped = Style().wrap(headline(plan.summary), hanging="  ")
    lines = list(plan_lines(plan, hinted(plan)))
    assert lines[: len(wrapped)] == wrapped
    assert lines[-len(wrapped) :] == wrapped


def test_danger_comes_before_routine() -> None:
    """Errors, conflicts and lost images stand above updates, and these above copies."""
    titles = re.findall(r"^[!~+=.] (\w+)", plan_text(samples.every_action()), re.MULTILINE)
    assert titles == ["errors", "conflicts", "lost", "update", "copy", "adopt", "forget", "keep"]


@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_its_section(action: Action) -> None:
    """No row of any action can be left out of the text."""
    row = samples.change("harbor.new/a:1", action.value, "some_new_reason")
    text = plan_text(samples.plan(row))
    assert row.section.title in text
    assert "harbor.new/a:1" in text
    assert "some new reason" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Long references are folded, never cut, and everything fits."""
    long = f"registry.example.com:5000/{'/'.join(['quite-a-long-name'] * 9)}:{'v' * 120}"
    plan = samples.plan(
        *samples.every_action().changes,
        samples.change(long, "copy", "new", transfer_bytes=1),
        samples.change(long + "x", "update", "source_moved", before=samples.digest("before")),
    )
    lines = list(plan_lines(plan, View(style=Style(width=width))))
    assert max(len(line) for line in lines) <= width
    folded = "".join(line.strip(" +~") for line in lines)
    assert long in folded


def test_names_from_registries_cannot_move_the_cursor() -> None:
    """Control characters in what a server said never reach the terminal."""
    row = samples.change(
        "harbor.new/a:1",
        "error",
        "unreadable",
        source=None,
        detail="denied\x1b[2J\r\n fake line \u202e",
        inside=("\x1b[31mred",),
        platforms=("linux/\x07amd64", "linux/arm64"),
    )
    text = plan_text(samples.plan(row, git_commit="\x1b[1m"))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (samples.plan(unchanged=10), "Nothing to do: all 10 images are as the config says."),
        (samples.plan(unchanged=1), "Nothing to do: the one image is as the config says."),
        (samples.plan(), "Nothing to do: the rules select no images."),
        (
            samples.plan(samples.change("a.b/c:1", "adopt", "already_there")),
            "Plan: 1 to adopt. Nothing to transfer.",
        ),
        (
            samples.plan(samples.change("a.b/c:1", "copy", "new")),
            "Plan: 1 to copy. ? to transfer (sizes unknown).",
        ),
        (
            samples.plan(samples.change("a.b/c:1", "copy", "new", transfer_bytes=0)),
            "Plan: 1 to copy. 0 B to transfer.",
        ),
    ],
)
def test_the_headline_says_a_plan_in_one_sentence(plan: Plan, sentence: str) -> None:
    """Counts that are zero are left out, and what is unknown is never guessed."""
    assert headline(plan.summary) == sentence


def test_a_plan_without_rows_is_one_friendly_line() -> None:
    """Nothing to do is said once, with the plan's name below."""
    first, second = plan_text(samples.plan(unchanged=10)).splitlines()
    assert first.startswith("Nothing to do")
    assert second.startswith("  plan ")


def test_a_limited_plan_says_so() -> None:
    """`--target` and `--exclude` are shown, so that nobody takes a part for the whole."""
    text = plan_text(samples.limited())
    assert "not the whole: limited by --target harbor.new/**, --exclude **:*-rc*" in text


def test_notes_on_how_the_config_was_read_are_shown() -> None:
    """What a reviewer must know stands at the top; of very many the first do."""
    text = plan_text(samples.plan(notes=("passwords\x1b are old",)))
    assert "  note: passwords  are old" in text.splitlines()
    text = plan_text(samples.plan(notes=tuple(f"number {n}" for n in range(12))))
    assert text.count("note: number") == 10
    assert "  and 2 more notes" in text.splitlines()


def test_a_selection_of_rows_says_how_many_it_left() -> None:
    """`show --only` lists some rows under the headline of all."""
    plan = samples.every_action()
    rows = [change for change in plan.changes if change.action is Action.KEEP]
    text = plan_text(plan, View(rows=rows))
    assert "shown: 2 of 12 rows" in text
    assert "4 to copy" in text
    assert "harbor.new/team/api:2.0" not in text


def test_what_is_inside_an_update_is_capped() -> None:
    """An update lists its first differences; `--verbose` lists all."""
    inside = tuple(f"difference {number}" for number in range(20))
    row = samples.change("a.b/c:1", "update", "source_moved", inside=inside)
    assert "and 12 more differences; --verbose" in plan_text(samples.plan(row))
    assert "difference 19" in plan_text(samples.plan(row), View(verbose=True))


def test_colours_only_wrap_the_same_text() -> None:
    """With colours off and on the plan reads the same."""
    plan = samples.every_action()
    coloured = plan_text(plan, View(style=Style(colour=True)))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plan_text(plan)
    assert coloured != plan_text(plan)


def advice(plan: Plan, saved: Path | None) -> str:
    hints = plan_hints(plan, command) + apply_hints(plan, command, saved)
    return "\n".join(f"{hint.text} {hint.command}" for hint in hints)


def row(action: str, reason: str) -> Change:
    return samples.change("a.b/c:1", action, reason)


@pytest.mark.parametrize(
    ("change", "saved", "said"),
    [
        (row("copy", "new"), Path("p.out"), "imgmigrate apply p.out"),
        (row("copy", "new"), None, "imgmigrate plan --out plan.out"),
        (row("conflict", "foreign"), None, "imgmigrate plan --allow-overwrite a.b/c:1"),
        (row("conflict", "equivalent"), None, "overwrite: equivalent"),
        (row("error", "unreadable"), None, "exit code 3"),
    ],
)
def test_hints_name_the_next_command(change: Change, saved: Path | None, said: str) -> None:
    """A reader never has to look up what to type next."""
    assert said in advice(samples.plan(change), saved)


def test_where_nothing_can_be_applied_no_apply_is_advised() -> None:
    """Kept rows and conflicts alone need no apply."""
    plan = samples.plan(row("keep", "source_gone"))
    assert apply_hints(plan, partial(command), Path("p.out")) == ()


def test_a_bound_says_that_it_is_one() -> None:
    """What may turn out to be less is at most; what is spared stands beside, for each registry."""
    rows = (
        samples.change("a.new/c:1", "copy", "new", transfer_bytes=2048, unsure_bytes=1024),
        samples.change("b.new/c:1", "copy", "new", transfer_bytes=1024, spared_bytes=4096),
    )
    text = plan_text(samples.plan(*rows), View(style=Style(200)))
    said = "At most 3.00 KiB to transfer; 4.00 KiB mounted or there already."
    assert text.startswith(f"Plan: 2 to copy. {said}\n")
    assert "  to a.new: at most 2.00 KiB to transfer\n" in text
    assert "  to b.new: 1.00 KiB to transfer; 4.00 KiB mounted or there already\n" in text
