"""What plans and rows are called in words; those of actions and reasons are in `vocabulary`.

Pure. An action or a reason that is not in there (a later version's plan) is shown as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.events import Outcome
from imgmigrate.oci.reference import LAYOUTS
from imgmigrate.plan import Action
from imgmigrate.plan.summary import traffic_of
from imgmigrate.redaction import printable
from imgmigrate.render.options import spoken
from imgmigrate.render.units import UNKNOWN, amount, count, size
from imgmigrate.vocabulary.actions import LATER_ACTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.events import RateLearnt, Receipt
    from imgmigrate.plan import Change, Plan, Reason, Summary
    from imgmigrate.plan.summary import Traffic

__all__ = [
    "OUTCOMES",
    "bytes_text",
    "counted_text",
    "detail_of",
    "has_work",
    "headline",
    "headline_of",
    "outcome_text",
    "rate_text",
    "reason",
    "traffic_lines",
    "unwanted",
    "words_of",
]


# What the headline of a plan without a state ends with.
NO_STATE = "No state: what is ours is not known."

OUTCOMES = {
    Outcome.APPLIED: "done",
    Outcome.PARTLY: "without its signatures or the like",
    Outcome.ALREADY: "already done",
    Outcome.CONFLICT: "conflict",
    Outcome.KNOWN: "known conflict",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "not reached",
}


# One row and several; by what a state has for it.
_COUNTED: dict[str, tuple[str, str]] = {
    Outcome.APPLIED: ("done", "done"),
    Outcome.PARTLY: ("without its signatures or the like", "without their signatures or the like"),
    Outcome.ALREADY: ("already done", "already done"),
    Outcome.CONFLICT: ("conflict", "conflicts"),
    Outcome.KNOWN: ("known conflict", "known conflicts"),
    Outcome.FAILED: ("failed", "failed"),
    Outcome.CANCELLED: ("not reached", "not reached"),
}


def counted_text(outcome: str, number: int) -> str:
    """Say how many rows had an outcome, by its name; one of a later version is said as it is."""
    one, many = _COUNTED.get(outcome, (outcome.replace("_", " "),) * 2)
    return f"{number:,} {printable(one if number == 1 else many)}"


def outcome_text(receipt: Receipt) -> str:
    """Say what became of a row; of one that is done, what was done."""
    done = receipt.action.traits.done if receipt.action is not None else None
    if done is None or not receipt.outcome.is_done or receipt.outcome is Outcome.KNOWN:
        return OUTCOMES[receipt.outcome]
    return done if receipt.outcome is Outcome.APPLIED else f"already {done}"


def bytes_text(receipt: Receipt) -> str:
    """Say what travelled for a row that is done, and what was spared; nothing of other rows."""
    if receipt.outcome is not Outcome.APPLIED or (receipt.action and not receipt.action.writes):
        return ""
    spared = f", {size(receipt.spared)} spared" if receipt.spared else ""
    return f", {size(receipt.moved)}{spared}"


def reason(change: Change) -> str:
    """Say a row's reason in words; one that is not in the table is anybody's text."""
    said = words_of(change.reason)
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


def words_of(reason: Reason) -> str:
    """Say a reason in words, with options as they are typed."""
    words = reason.traits.words
    if words is None:
        return printable(reason.value.replace("_", " "))
    return spoken(words)


def detail_of(change: Change) -> str:
    """Say what a row tells beside its reason, with options as they are typed."""
    return spoken(change.detail or "")


def has_work(summary: Summary) -> bool:
    """Tell whether an apply would do anything, be it only to the state."""
    return summary.count_of(lambda action: action.is_carried_out) > 0


def headline_of(plan: Plan) -> str:
    """Say a plan in one sentence, of what its rows are and not of what its header says."""
    header = plan.header
    said = headline(
        plan.counted,
        refresh_only=header.refresh_only,
        undoes=header.undoes,
        unknown=plan.unknown,
    )
    if poorer := sum(bool(each.referrers_left) for each in plan.changes):
        loses = "1 image loses" if poorer == 1 else f"{poorer:,} images lose"
        said = f"{said} {loses} signatures or the like."
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
        parts.append(LATER_ACTION.counted[0].format(f"{unknown:,}"))
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


def traffic_lines(plan: Plan) -> Iterator[str]:
    """Say what goes to each registry, where there are several."""
    traffic = traffic_of(plan.changes)
    if len(traffic) > 1:
        for store, each in traffic.items():
            yield f"to {'layouts' if store == LAYOUTS else printable(store, 500)}: {_sent(each)}"


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
        (one if number == 1 else many).format(f"{number:,}")
        for action in Action
        if (number := summary.count(action))
        for one, many in (action.traits.counted,)
    ]
    known = summary.known_conflict
    return [*parts, count(known, "known conflict")] if known else parts


def _transfer(summary: Summary) -> str:
    if not summary.writes:
        return "Nothing to transfer."
    if summary.unknown_sizes == summary.writes and not summary.transfer_bytes:
        return f"{UNKNOWN} to transfer (sizes unknown)."
    said = _sent(summary)
    return f"{said[0].upper()}{said[1:]}."


def _sent(summary: Summary | Traffic) -> str:
    said = f"{amount(summary.transfer_bytes, summary.unsure_bytes)} to transfer"
    if summary.unknown_sizes:
        said += f", and {count(summary.unknown_sizes, 'image')} of unknown size"
    if summary.spared_bytes:
        said += f"; {size(summary.spared_bytes)} mounted or there already"
    return said
