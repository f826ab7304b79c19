"""A forger's hand: plans whose rows nobody planned, summed up and sealed as honest ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.oci.reference import Reference
from imgmigrate.plan import Action, Change, Plan, StateBinding, Summary
from imgmigrate.state.record import Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.oci.reference import Digest
    from imgmigrate.state.record import State

__all__ = ["forged", "row", "seen_from"]


def forged(plan: Plan, rows: Iterable[Change], **header: Any) -> Plan:
    """The same plan with these rows in the place of its own, and a summary of them."""
    rows = tuple(rows)
    update = {"summary": Summary.of(rows, plan.summary.unchanged), **header}
    return Plan.of(plan.header.model_copy(update=update), rows)


def row(address: str, action: str, reason: str, source: str | None = None, **more: Any) -> Change:
    """A row; with a `source` and a digest `after`, the source shows just that."""
    if source is not None:
        after: Digest = more.get("shows") or more["after"]
        more["source"] = Source(reference=Reference.parse(source), digest=after)
    more.pop("shows", None)
    return Change(address=Reference.parse(address), action=Action(action), reason=reason, **more)


def seen_from(state: State, plan: Plan) -> StateBinding:
    """What a plan says of the state that it was made from, if that is how it is now."""
    bound = {"lineage": state.lineage, "sequence": state.sequence, "head": state.head}
    return plan.header.state.model_copy(update=bound)
