"""What could not be read, as rows of the plan: one an address, each with its cause.

Pure.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.causes import cause_of
from imgmigrate.errors import Archived, Dangling, OutOfReach
from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.plan import Action, Change, Reason

if TYPE_CHECKING:
    from imgmigrate.errors import StoreError
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["Problems", "failed", "merged", "unreadable"]


class Problems:
    """Error rows; one failure that stands at many addresses of a repository is one row."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rows: list[Change] = []
        self._shared: dict[tuple[Repository, int], list[tuple[Reference, StoreError]]] = (
            defaultdict(list)
        )

    def add(self, address: Reference, error: StoreError) -> None:
        """Note that a side of this address could not be read."""
        self._shared[address.repository, id(error)].append((address, error))

    def add_unsupported(self, address: Reference, source: Reference) -> None:
        """Note an image of a type that no registry of today takes."""
        detail = f"source {source}: docker schema 1, which registries refuse; push it anew"
        self._rows.append(failed(address, Reason.UNSUPPORTED, detail, self._state.record(address)))

    def changes(self) -> list[Change]:
        """The rows."""
        rows = list(self._rows)
        for (repository, _), group in self._shared.items():
            address, error = group[0]
            if len(group) > 1:
                rows.append(unreadable(Reference(repository), error))
            else:
                record = self._state.record(address)
                rows.append(unreadable(address, error, record, reason=_reason(error)))
        return rows


def _reason(error: StoreError) -> Reason:
    if isinstance(error, Dangling):
        return Reason.DANGLING
    return Reason.ARCHIVED if isinstance(error, Archived) else Reason.UNREADABLE


def failed(
    address: Reference, reason: Reason, detail: str, record: ImageRecord | None = None
) -> Change:
    """Say that an address, or a whole destination repository, could not be decided."""
    return Change(
        address=address,
        action=Action.ERROR,
        reason=reason,
        recorded=record.digest if record else None,
        detail=detail,
    )


def unreadable(
    address: Reference,
    error: StoreError | None,
    record: ImageRecord | None = None,
    *,
    reason: Reason = Reason.UNREADABLE,
    detail: str | None = None,
) -> Change:
    """Say that a side of an address could not be read, and which registry was down, if it was."""
    row = failed(address, reason, detail or str(error), record)
    host = error.host if isinstance(error, OutOfReach) else None
    return row.model_copy(update={"out_of_reach": host, "why": cause_of(error)})


def merged(problems: list[Change]) -> list[Change]:
    """Say several failures of one destination repository in one row."""
    rows: dict[Reference, Change] = {}
    for row in problems:
        first = rows.get(row.address)
        if first is not None and first.detail != row.detail:
            said = {"detail": f"{first.detail}; {row.detail}", "why": None, "out_of_reach": None}
            row = row.model_copy(update=said)
        rows[row.address] = row
    return list(rows.values())
