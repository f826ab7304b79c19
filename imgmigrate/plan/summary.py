"""How many rows of a plan ask for what, and how much has to move for them."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from imgmigrate.schemas.models import LENIENT
from imgmigrate.vocabulary.actions import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imgmigrate.plan.model import Change

__all__ = ["OF_ROWS", "Summary", "Traffic", "traffic_of"]


class Traffic(BaseModel):
    """Bytes of blobs: sent at most, of these `unsure_bytes` may be spared besides what is."""

    transfer_bytes: int = 0
    unsure_bytes: int = 0
    spared_bytes: int = 0
    unknown_sizes: int = 0

    model_config = LENIENT

    @classmethod
    def of(cls, changes: Iterable[Change]) -> Traffic:
        """Sum up the rows that write."""
        writing = [change for change in changes if change.action.writes]
        return cls(
            transfer_bytes=sum(each.transfer_bytes or 0 for each in writing),
            unsure_bytes=sum(each.unsure_bytes or 0 for each in writing),
            spared_bytes=sum(each.spared_bytes or 0 for each in writing),
            unknown_sizes=sum(each.transfer_bytes is None for each in writing),
        )


class Summary(BaseModel):
    """How many rows of each action; `unchanged` rows are counted here and not written.

    `unwanted` are images that no rule asks for any more: they stay as they are, and ours.
    """

    copy_: int = Field(0, alias="copy")
    update: int = 0
    move: int = 0
    # Images that are there, and get signatures and the like.
    refer: int = 0
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
    # As in `Traffic`.
    transfer_bytes: int = 0
    unsure_bytes: int = 0
    spared_bytes: int = 0
    unknown_sizes: int = 0

    model_config = ConfigDict(**LENIENT, populate_by_name=True)

    @classmethod
    def of(cls, changes: Iterable[Change], unchanged: int, unwanted: int = 0) -> Summary:
        """Count `changes`."""
        changes = tuple(changes)
        counts = Counter(
            "known_conflict" if change.is_known else change.action.value
            for change in changes
            if change.action.is_understood
        )
        return cls.model_validate(
            {
                **counts,
                "unchanged": unchanged,
                "unwanted": unwanted,
                **Traffic.of(changes).model_dump(),
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


def traffic_of(changes: Iterable[Change]) -> dict[str, Traffic]:
    """Sum up what goes to each registry, and to layouts, by its name."""
    by_store: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if change.action.writes:
            by_store[change.address.repository.store].append(change)
    return {store: Traffic.of(rows) for store, rows in sorted(by_store.items())}


# What a summary says of the rows; the rest is of images without one, and only the header knows it.
OF_ROWS = ("copy_", *(each.value for each in Action if each is not Action.COPY))
OF_ROWS += ("known_conflict", "transfer_bytes", "unsure_bytes", "spared_bytes", "unknown_sizes")
