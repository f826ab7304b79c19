"""What to do next, after a plan: sentences, each with the exact command if there is one.

Pure. Commands are made by the caller, who knows how the user called us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from imgmigrate.plan import Action, Reason
from imgmigrate.redaction import printable
from imgmigrate.render.options import OPTIONS, spoken
from imgmigrate.render.units import count
from imgmigrate.render.words import has_work
from imgmigrate.vocabulary.actions import LATER_ACTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from imgmigrate.plan import Change, Plan

__all__ = ["Commander", "Hint", "allowing", "apply_hints", "plan_hints", "shown_command"]

# A command repeats what was typed, and that may be many globs: nothing of it is cut.
LONGEST_COMMAND = 1_000_000
# Commands that help with rows for a reason, before the address of the first.
_REMEDIES = {
    Reason.PROTECTED: ("state", "unprotect"),
    Reason.CHANGED_HERE: ("adopt", "--take-ownership"),
}


class Commander(Protocol):
    """Makes a command line, ready to paste, of a subcommand and its arguments."""

    def __call__(self, *arguments: str) -> str:
        """Quote and join."""


class Hint(Struct, frozen=True):
    """A piece of advice. The command stands on a line of its own and is never broken."""

    text: str
    command: str | None = None


def shown_command(command: str) -> str:
    """Print a command as it can be pasted; words of it may come from a plan that anybody wrote."""
    return printable(command, LONGEST_COMMAND)


def plan_hints(plan: Plan, command: Commander, saved: Path | None = None) -> tuple[Hint, ...]:
    """Advise on what the plan leaves out: conflicts and errors. `saved` is its file."""
    return tuple(_problems(plan, command, saved))


def apply_hints(
    plan: Plan,
    command: Commander,
    saved: Path | None,
    sha256: str | None = None,
    place: str | None = None,
) -> tuple[Hint, ...]:
    """Name the command that applies the plan; saved nowhere, it is only a preview.

    `sha256` is of the whole file, as sha256sum prints it; `place` that of the state where the plan
    is kept under it.
    """
    hints = []
    if saved is not None and sha256 is not None:
        hints.append(Hint(f"Saved to {saved}, sha256 {sha256}"))
    if place is not None:
        hints.append(Hint(f"Kept in the state {place} as sha256:{sha256}"))
    if plan.header.stateless:
        text = (
            "No state was read, so this is for readers, and apply refuses it. Where the state is, "
            "export it for --state-file:"
        )
        hints.append(Hint(text, command("state", "export", "--out", "state.jsonl")))
    elif has_work(plan.counted):
        if place is not None:
            line = command("apply", "--plan", f"sha256:{sha256}")
            hints.append(Hint("To apply exactly this:", line))
        elif saved is not None:
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
    parameters = dict.fromkeys(change.reason.traits.allowed_by for change in over)
    allowed = (OPTIONS[each] for each in sorted(filter(None, parameters)))
    return (*allowed, "--max-delete", str(len(over)))


def _problems(plan: Plan, command: Commander, saved: Path | None) -> Iterator[Hint]:
    rows = [change for change in plan.changes if not change.is_known]
    # Without one there is no rule to change, nothing to adopt for, and nowhere to note a conflict.
    has_config = plan.header.config_sha256 is not None
    conflicts = [change for change in rows if change.action is Action.CONFLICT]
    if conflicts and plan.header.undoes:
        yield Hint(
            "Conflicts are left as they are: somebody has changed them since. What another "
            "run has written is undone by the rollback of that run."
        )
        rows = [change for change in rows if change.action is not Action.CONFLICT]
    elif conflicts:
        first = str(conflicts[0].address)
        how = "; for good, set overwrite in the rule:" if has_config else ":"
        said = f"{Action.CONFLICT.traits.hint}{how}"
        yield Hint(said, command("plan", "--allow-overwrite", first))
        if has_config:
            yield Hint(
                "To leave one as it is until a day, without effect on exit codes:",
                command("acknowledge", first, "--until", "DAY", "--because", "REASON"),
            )
    yield from _over_limit(plan, command, saved)
    yield from _reasons(rows, command, has_config=has_config)
    if any(each.action is Action.FORGET and each.reason.traits.is_unwanted for each in rows):
        yield Hint(spoken(Action.FORGET.traits.hint or ""))
    if any(not change.is_understood for change in rows):
        yield Hint(LATER_ACTION.hint or "")
    if plan.counted.error:
        yield Hint(Action.ERROR.traits.hint or "")


def _reasons(rows: Iterable[Change], command: Commander, *, has_config: bool) -> Iterator[Hint]:
    """Say once of each reason what can be done about it."""
    first: dict[Reason, Change] = {}
    for change in rows:
        first.setdefault(change.reason, change)
    for reason in Reason:
        traits = reason.traits
        if reason not in first or (traits.hint_is_for_configs and not has_config):
            continue
        if (text := traits.hint) is not None:
            does = _REMEDIES.get(reason)
            said = command(*does, str(first[reason].address)) if does else None
            yield Hint(spoken(text), said)


def _over_limit(plan: Plan, command: Commander, saved: Path | None) -> Iterator[Hint]:
    first: tuple[str, ...] = ("plan",)
    out = "plan.out"
    if plan.header.undoes:  # whose own plan may be plan.out
        first, out = ("rollback", plan.header.undoes), "back.out"
    out = out if saved is None else str(saved)
    if allowed := allowing(plan):
        over = sum(change.is_over_limit for change in plan.changes)
        yield Hint(
            f"{count(over, 'delete')} would be more than max_delete allows, so none is done "
            "(exit code 6). When they are all meant, allow as many:",
            command(*first, *allowed, "--out", out),
        )
