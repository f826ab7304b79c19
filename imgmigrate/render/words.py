"""The words and symbols for actions, reasons and outcomes: one table each.

Pure. An action or a reason that is not in the table (a later version's plan) is shown as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgmigrate.events import Outcome
from imgmigrate.plan import Action, Change, Plan, Summary
from imgmigrate.redaction import printable
from imgmigrate.render.units import UNKNOWN, count, size

if TYPE_CHECKING:
    from imgmigrate.events import RateLearnt
    from imgmigrate.render.style import Colour

__all__ = [
    "OBVIOUS",
    "OUTCOMES",
    "SECTIONS",
    "Section",
    "has_work",
    "headline",
    "headline_of",
    "rate_text",
    "reason",
    "section_of",
    "unwanted",
]


@dataclass(frozen=True, slots=True)
class Section:
    """One group of rows. Those that are not `foldable` are always listed one by one."""

    key: str
    symbol: str
    mark: str
    title: str
    meaning: str
    colours: tuple[Colour, ...]
    foldable: bool = True


# The order of danger: what a reviewer must not miss comes first.
SECTIONS = (
    Section(
        "error",
        "!",
        "!",
        "errors",
        "could not be read; nothing is planned for them",
        ("red",),
        foldable=False,
    ),
    Section(
        "conflict",
        "!",
        "!",
        "conflicts",
        "not ours to overwrite; left alone",
        ("red",),
        foldable=False,
    ),
    Section(
        "unknown",
        "?",
        "?",
        "ownership unknown",
        "no state tells whether they are ours; a plan with one does",
        ("yellow",),
        foldable=False,
    ),
    Section(
        "later",
        "?",
        "?",
        "unknown",
        "of a later version of imgmigrate; this one leaves them out",
        ("red",),
        foldable=False,
    ),
    Section(
        "lost",
        "+",
        "!",
        "lost",
        "written by us, gone from the destination; copied again",
        ("red",),
        foldable=False,
    ),
    Section(
        "incomplete",
        "+",
        "!",
        "incomplete",
        "shown by the layout, which has lost parts of them; brought again",
        ("red",),
        foldable=False,
    ),
    Section(
        "gone",
        ".",
        "!",
        "gone",
        "written by us, gone from the destination; the record is let go",
        ("red",),
        foldable=False,
    ),
    Section(
        "drift", "*", "*", "drift", "moved since it was recorded; only shown here", ("yellow",)
    ),
    Section(
        "delete",
        "-",
        "-",
        "delete",
        "the tag goes from the destination; its manifest stays",
        ("red",),
        foldable=False,
    ),
    Section(
        "blocked",
        "!",
        "!",
        "blocked",
        "not deleted: a guard keeps them",
        ("red",),
        foldable=False,
    ),
    Section(
        "known",
        "=",
        "=",
        "known conflicts",
        "acknowledged, and left alone until their day",
        ("dim",),
    ),
    Section("move", ">", ">", "move", "to another address, from where we put it", ("cyan",)),
    Section("update", "~", "~", "update", "an existing tag gets another image", ("yellow",)),
    Section("copy", "+", "+", "copy", "new at the destination", ("green",)),
    Section("adopt", "=", "=", "adopt", "already there; only recorded", ("cyan",)),
    Section("forget", ".", ".", "forget", "no longer ours; stays at the destination", ("dim",)),
    Section("keep", "=", "=", "keep", "left as it is", ("dim",)),
)
_BY_KEY = {section.key: section for section in SECTIONS}

_REASONS = {
    "new": "new",
    "destination_lost": "we wrote it, now it is gone",
    "destination_gone": "we wrote it, now it is gone",
    "incomplete": "the layout has lost parts of it",
    "both_moved": "source and destination moved",
    "replace": "asked for with --replace",
    "already_there": "already there",
    "source_moved": "source moved",
    "platforms_changed": "other platforms are wanted now",
    "foreign": "not written by us",
    "changed_here": "written by us, then overwritten by somebody else",
    "equivalent": "an index of the same images in other bytes",
    "overwrite_equivalent": "overwrite: equivalent",
    "overwrite_always": "overwrite: always",
    "overwrite_allowed": "asked for with --allow-overwrite",
    "overwrite_never": "differs; overwrite: never",
    "take_ownership": "taken over although it differs",
    "source_gone": "its source does not show it any more",
    "not_in_delta": "not among what is new; stays",
    "source_missing": "the source has no such image",
    "moved": "moved",
    "protected": "protected",
    "max_delete": "more deletes than max_delete allows",
    "max_delete_gone": "its source does not show it; more deletes than max_delete allows",
    "is_source": "a rule takes it from there",
    "same_place": "wanted under another name",
    "may_be_same": "perhaps wanted under another name",
    "rule_removed": "no rule names it any more",
    "deselected": "its rule no longer selects the tag",
    "dangling": "listed, and its manifest is not there",
    "archived": "archived; restore it to copy it",
    "unreadable": "cannot be read",
    "unsupported": "of a type that cannot be copied",
    "no_such_platform": "has none of the wanted platforms",
    "rollback": "as it was before",
    "stays": "stays; deleted with --allow-delete",
    "written_since": "written again since",
    "previous_gone": "the former image is gone",
    "keep_previous": "keeps what is replaced",
    "not_kept": "what it shows cannot be kept",
    "no_state": "differs; whose it is, no state tells",
}

# What the headline of a plan without a state ends with.
NO_STATE = "No state: what is ours is not known."

# Reasons that the section's own title says already.
OBVIOUS = frozenset(
    {
        "new",
        "destination_lost",
        "destination_gone",
        "incomplete",
        "already_there",
        "unreadable",
        "moved",
    }
)

OUTCOMES = {
    Outcome.APPLIED: "done",
    Outcome.ALREADY: "already done",
    Outcome.CONFLICT: "conflict",
    Outcome.KNOWN: "known conflict",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "not reached",
}

_COUNTED = (
    (Action.COPY, "{} to copy", "{} to copy"),
    (Action.UPDATE, "{} to update", "{} to update"),
    (Action.MOVE, "{} to move", "{} to move"),
    (Action.DELETE, "{} to delete", "{} to delete"),
    (Action.ADOPT, "{} to adopt", "{} to adopt"),
    (Action.FORGET, "{} to forget", "{} to forget"),
    (Action.KEEP, "{} kept", "{} kept"),
    (Action.BLOCKED, "{} blocked", "{} blocked"),
    (Action.CONFLICT, "{} conflict", "{} conflicts"),
    (Action.UNKNOWN, "{} unknown", "{} unknown"),
    (Action.ERROR, "{} error", "{} errors"),
    (Action.DRIFT, "{} drifted", "{} drifted"),
)


def section_of(change: Change) -> Section:
    """Find the section of a row."""
    if not change.action.is_understood:
        return _BY_KEY["later"]
    if change.action is Action.COPY and change.is_dangerous:
        return _BY_KEY["lost"]
    if change.action is Action.UPDATE and change.is_dangerous:
        return _BY_KEY["incomplete"]
    if change.action is Action.FORGET and change.is_dangerous:
        return _BY_KEY["gone"]
    return _BY_KEY["known" if change.is_known else change.action.value]


def reason(change: Change) -> str:
    """Say a row's reason in words; one that is not in the table is anybody's text."""
    said = _REASONS.get(change.reason) or printable(change.reason.replace("_", " "))
    return said if change.action.is_understood else f"{printable(change.action.value)}: {said}"


def rate_text(learnt: RateLearnt) -> str:
    """What a registry's limit cost, and the line of its entry that would spare it."""
    refused = count(learnt.refused, "request")
    kinds = learnt.kinds or "requests"
    return (
        f"{printable(learnt.registry)} refused {refused} for their rate and let about "
        f"{learnt.rate:.3g} {kinds} a second through; {learnt.advice} in its entry of registries "
        "would spare that"
    )


def has_work(summary: Summary) -> bool:
    """Tell whether an apply would do anything, be it only to the state."""
    return any(
        summary.count(action)
        for action in Action
        if action.alters or action in (Action.ADOPT, Action.FORGET)
    )


def headline_of(plan: Plan) -> str:
    """Say a plan in one sentence, of what its rows are and not of what its header says."""
    header = plan.header
    said = headline(
        plan.counted,
        refresh_only=header.refresh_only,
        undoes=header.undoes,
        unknown=plan.unknown,
    )
    return f"{said} {NO_STATE}" if header.stateless else said


def headline(
    summary: Summary,
    *,
    refresh_only: bool = False,
    undoes: str | None = None,
    unknown: int = 0,
) -> str:
    """Say a plan in one sentence; it stands first and last.

    `unknown` is how many rows are of a later version.
    """
    parts = _parts(summary)
    if unknown:
        parts.append(f"{unknown:,} unknown to this version")
    if refresh_only:
        return _refreshed(summary, parts)
    if undoes and not parts:
        return "Nothing to undo: all is as it was before."
    if undoes:
        return f"Rollback: {', '.join(parts)}. {_transfer(summary)}"
    if not parts:
        if not summary.unchanged:
            return "Nothing to do: the rules select no images."
        if summary.unchanged == 1:
            return "Nothing to do: the one image is as the config says."
        return f"Nothing to do: all {summary.unchanged:,} images are as the config says."
    if summary.unchanged:
        parts.append(f"{summary.unchanged:,} unchanged")
    return f"Plan: {', '.join(parts)}. {_transfer(summary)}"


def unwanted(summary: Summary) -> str | None:
    """Say in one line what no rule asks for any more; None where there is nothing of it."""
    if not summary.unwanted:
        return None
    return (
        f"unwanted: {summary.unwanted:,}, still ours; "
        "--allow-delete deletes them, --forget lets them go"
    )


def _refreshed(summary: Summary, parts: list[str]) -> str:
    if parts:
        return f"Refresh: {', '.join(parts)}, {summary.unchanged:,} as recorded. Nothing is copied."
    if not summary.unchanged:
        return "Nothing to refresh: no images are recorded."
    return f"Nothing has moved: {count(summary.unchanged, 'image')} as recorded."


def _parts(summary: Summary) -> list[str]:
    parts = [
        (one if summary.count(action) == 1 else many).format(f"{summary.count(action):,}")
        for action, one, many in _COUNTED
        if summary.count(action)
    ]
    known = summary.known_conflict
    return [*parts, count(known, "known conflict")] if known else parts


def _transfer(summary: Summary) -> str:
    if not summary.writes:
        return "Nothing to transfer."
    if summary.unknown_sizes == summary.writes and not summary.transfer_bytes:
        return f"{UNKNOWN} to transfer (sizes unknown)."
    if summary.unknown_sizes:
        unknown = count(summary.unknown_sizes, "image")
        return f"{size(summary.transfer_bytes)} to transfer, and {unknown} of unknown size."
    return f"{size(summary.transfer_bytes)} to transfer."
