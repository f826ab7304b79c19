"""What to do next, after a plan: sentences, each with the exact command if there is one.

Pure. Commands are made by the caller, who knows how the user called us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imgmigrate.plan import Action
from imgmigrate.redaction import printable
from imgmigrate.render.units import count
from imgmigrate.render.words import has_work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imgmigrate.plan import Plan

__all__ = ["Commander", "Hint", "allowing", "apply_hints", "plan_hints", "shown_command"]

# A command repeats what was typed, and that may be many globs: nothing of it is cut.
LONGEST_COMMAND = 1_000_000


class Commander(Protocol):
    """Makes a command line, ready to paste, of a subcommand and its arguments."""

    def __call__(self, *arguments: str) -> str:
        """Quote and join."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A piece of advice. The command stands on a line of its own and is never broken."""

    text: str
    command: str | None = None


def shown_command(command: str) -> str:
    """Print a command as it can be pasted; words of it may come from a plan that anybody wrote."""
    return printable(command, LONGEST_COMMAND)


def plan_hints(plan: Plan, command: Commander) -> tuple[Hint, ...]:
    """Advise on what the plan leaves out: conflicts and errors."""
    return tuple(_problems(plan, command))


def apply_hints(
    plan: Plan, command: Commander, saved: Path | None, sha256: str | None = None
) -> tuple[Hint, ...]:
    """Name the command that applies the plan; without a file, it is only a preview.

    `sha256` is of the whole file, as sha256sum prints it.
    """
    hints = []
    if saved is not None and sha256 is not None:
        hints.append(Hint(f"Saved to {saved}, sha256 {sha256}"))
    if plan.header.stateless:
        text = (
            "No state was read, so this is for readers, and apply refuses it. Where the state is, "
            "export it for --state-file:"
        )
        hints.append(Hint(text, command("state", "export", "--out", "state.jsonl")))
    elif has_work(plan.counted):
        if saved is not None:
            hints.append(Hint("To apply exactly this:", command("apply", str(saved))))
        elif plan.header.refresh_only:
            text = "Nothing was changed. To bring the records up to date, save this and apply it:"
            hints.append(Hint(text, command("plan", "--refresh-only", "--out", "plan.out")))
        elif plan.header.undoes:
            text = "Nothing was changed. To undo exactly this, save it and apply it:"
            hints.append(Hint(text, command("rollback", plan.header.undoes, "--out", "back.out")))
        else:
            text = (
                "This plan was not saved, so it is only a preview: an apply plans again. "
                "To apply exactly what you review, save it:"
            )
            hints.append(Hint(text, command("plan", "--out", "plan.out")))
    return tuple(hints)


def allowing(plan: Plan) -> tuple[str, ...]:
    """Give the options that allow the deletes which were too many; none where none were."""
    over = [change for change in plan.changes if change.is_over_limit]
    if not over:
        return ()
    reasons = {change.reason for change in over}
    flags = {"max_delete": "--allow-delete", "max_delete_gone": "--allow-delete-gone"}
    allowed = (flag for reason, flag in flags.items() if reason in reasons)
    return (*allowed, "--max-delete", str(len(over)))


def _problems(plan: Plan, command: Commander) -> Iterator[Hint]:
    conflicts = [
        change
        for change in plan.changes
        if change.action is Action.CONFLICT and not change.is_known
    ]
    if plan.header.undoes:
        if conflicts:
            yield Hint(
                "Conflicts are left as they are: somebody has changed them since. What another "
                "run has written is undone by the rollback of that run."
            )
        conflicts = []
    if conflicts:
        yield Hint(
            "Conflicts are never overwritten by themselves. To take the source's image once, "
            "name addresses or globs; for good, set overwrite in the rule:",
            command("plan", "--allow-overwrite", str(conflicts[0].address)),
        )
        yield Hint(
            "To leave one as it is until a day, without effect on exit codes:",
            command(
                "acknowledge", str(conflicts[0].address), "--until", "DAY", "--because", "REASON"
            ),
        )
    if any(change.reason == "equivalent" for change in conflicts):
        yield Hint(
            "An equivalent index holds the same images in other bytes; "
            "overwrite: equivalent in the rule replaces only those."
        )
    yield from _blocked(plan, command)
    if any(change.reason == "previous_gone" for change in plan.changes):
        yield Hint(
            "An image that no tag names is soon deleted by many registries. "
            "keep_previous in the config gives what is replaced a tag of its own."
        )
    if plan.unknown:
        yield Hint(
            "Rows of a later version of imgmigrate are left out. Apply the plan with the one "
            "that made it; here it ends with exit code 3."
        )
    if plan.counted.error:
        yield Hint(
            "Errors leave their images out: mend the cause and plan again. "
            "The other rows can be applied; that ends with exit code 3."
        )


def _blocked(plan: Plan, command: Commander) -> Iterator[Hint]:
    first: tuple[str, ...] = ("plan",)
    out = "plan.out"
    if plan.header.undoes:  # whose own plan may be plan.out
        first, out = ("rollback", plan.header.undoes), "back.out"
    if allowed := allowing(plan):
        over = sum(change.is_over_limit for change in plan.changes)
        yield Hint(
            f"{count(over, 'delete')} would be more than max_delete allows, so none is done "
            "(exit code 6). When they are all meant, allow as many:",
            command(*first, *allowed, "--out", out),
        )
    kept = [change for change in plan.changes if change.reason == "protected"]
    if kept:
        yield Hint(
            "What is protected stays protected without its line in the config, too. To lift that:",
            command("state", "unprotect", str(kept[0].address)),
        )
