"""How many rows of a plan ask for what, and how much has to move for them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from imgmigrate.vocabulary.actions import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imgmigrate.plan.model import Change

__all__ = ["OF_ROWS", "Summary"]


class Summary(BaseModel):
    """How many rows of each action; `unchanged` rows are counted here and not written.

    `unwanted` are images that no rule asks for any more: they stay as they are, and ours.
    """

    copy_: int = Field(0, alias="copy")
    update: int = 0
    move: int = 0
    delete: int = 0
    adopt: int = 0
    forget: int = 0
    keep: int = 0
    blocked: int = 0
    conflict: int = 0
    # Differs where no state tells what is ours.
    unknown: int = 0
    error: int = 0
    drift: int = 0
    # Counted apart from `conflict`.
    known_conflict: int = 0
    unchanged: int = 0
    unwanted: int = 0
    transfer_bytes: int = 0
    unknown_sizes: int = 0

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def of(cls, changes: Iterable[Change], unchanged: int, unwanted: int = 0) -> Summary:
        """Count `changes`."""
        changes = tuple(changes)
        counts = Counter(
            "known_conflict" if change.is_known else change.action.value
            for change in changes
            if change.action.is_understood
        )
        writes = [change.transfer_bytes for change in changes if change.action.writes]
        return cls.model_validate(
            {
                **counts,
                "unchanged": unchanged,
                "unwanted": unwanted,
                "transfer_bytes": sum(size for size in writes if size is not None),
                "unknown_sizes": writes.count(None),
            }
        )

    def count(self, action: Action) -> int:
        """How many rows have this action."""
        return int(getattr(self, "copy_" if action is Action.COPY else action.value))

    def count_of(self, concerns: Callable[[Action], bool]) -> int:
        """How many rows have an action that this is said of."""
        return sum(self.count(action) for action in Action if concerns(action))

    @property
    def writes(self) -> int:
        """How many rows put an image at a destination."""
        return self.count_of(lambda action: action.writes)

    @property
    def alters(self) -> int:
        """How many rows change a destination."""
        return self.count_of(lambda action: action.alters)


# What a summary says of the rows; the rest is of images without one, and only the header knows it.
OF_ROWS = ("copy_", *(each.value for each in Action if each is not Action.COPY))
OF_ROWS += ("known_conflict", "transfer_bytes", "unknown_sizes")
