"""Sort a plan for `adopt`: what is recorded as it is, what is not ours, what is not there.

Pure. An adoption moves no byte and writes no tag, so it never takes a row that does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.plan import Action, Change, Plan, Reason, Summary
from imgmigrate.state.record import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imgmigrate.oci.reference import Reference

__all__ = ["Adoption", "sort_for_adoption"]


class Adoption(Struct, frozen=True):
    """What an adoption finds. `plan` is what it does, with the rows that could not be read.

    `same` are recorded as they are; `differing` show something else than the source, and are
    recorded too if they are `taken`; `missing` are not at their destination, or not whole.
    """

    plan: Plan
    same: tuple[Change, ...]
    differing: tuple[Change, ...]
    missing: tuple[Change, ...]
    errors: tuple[Change, ...]
    taken: bool

    @property
    def has_work(self) -> bool:
        """Tell whether there is anything to record."""
        return bool(self.same or (self.taken and self.differing))


def sort_for_adoption(
    made: Plan,
    *,
    take_ownership: bool,
    is_gated: Callable[[Reference], bool] = lambda _: False,
) -> Adoption:
    """Choose the rows to adopt; with `take_ownership` also those that differ from the source.

    But for images from a source that `is_gated`: what is there was at no source, so nobody can
    tell who signed it.
    """
    # What is not replaced needs no tag that keeps it.
    rows = [row for row in made.changes if row.reason != Reason.KEEP_PREVIOUS]
    same = tuple(row for row in rows if row.action is Action.ADOPT)
    differing = tuple(row for row in rows if _differs(row))
    errors = tuple(row for row in rows if row.action is Action.ERROR)
    if take_ownership:
        gated = {row.address for row in differing if row.source and is_gated(row.source.reference)}
        errors += tuple(_unsigned(row) for row in differing if row.address in gated)
        differing = tuple(row for row in differing if row.address not in gated)
    taken = tuple(_taken(row) for row in differing) if take_ownership else ()
    return Adoption(
        plan=_reduced(made, (*same, *taken, *errors)),
        same=same,
        differing=differing,
        missing=tuple(row for row in rows if _is_missing(row)),
        errors=errors,
        taken=take_ownership,
    )


def _is_missing(row: Change) -> bool:
    is_incomplete = row.action is Action.UPDATE and row.reason == Reason.INCOMPLETE
    return row.action is Action.COPY or is_incomplete


def _differs(row: Change) -> bool:
    return row.reason.traits.is_foreign and row.source is not None and row.before is not None


def _unsigned(row: Change) -> Change:
    detail = "verify asks for its signature, and what is there was not at its source; "
    return Change(
        address=row.address,
        action=Action.ERROR,
        reason=Reason.NOT_VERIFIED,
        before=row.before,
        recorded=row.recorded,
        detail=detail + "let a plan overwrite it (`allow_overwrite`), or delete it there",
    )


def _taken(row: Change) -> Change:
    """Record what is there as something that the source once showed: the next plan updates it.

    Its platforms and its media type are not known.
    """
    if row.source is None or row.before is None:
        return row
    return Change(
        address=row.address,
        action=Action.ADOPT,
        reason=Reason.TAKE_OWNERSHIP,
        source=Source(reference=row.source.reference, digest=row.before),
        before=row.before,
        after=row.before,
        recorded=row.recorded,
    )


def _reduced(made: Plan, rows: Iterable[Change]) -> Plan:
    rows = tuple(rows)
    update = {"summary": Summary.of(rows, 0), "complete": False}
    return Plan.of(made.header.model_copy(update=update), rows)
