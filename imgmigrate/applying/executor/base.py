"""What any kind of executor promises, and what it is told about a row.

The engine decides: order, rules that hold across rows, when to stop, what is recorded. An executor
carries out one row, and what it goes by is the row itself and its `RowFacts`, both plain data: it
never sees the state, calls nobody back, and answers with a receipt. So a row can as well be
carried out by another process (`wire.py` has the plain form of all three). What is here is never
asked for by an executor: the engine says it, when the row begins.

The first kind is `worker/worker.py`, in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.plan import Filter  # noqa: TC001
from imgmigrate.plan.stock import Recorded, Stock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.events import Receipt
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change

__all__ = ["Executor", "Opener", "Recorded", "RowFacts", "Stock"]


# What a row is told where nothing is recorded.
_NOTHING = Stock()


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What carrying out one row takes besides its `Change`; it holds from its begin to its end.

    `behind` is the image that the row replaces or deletes: its `before`, or what that stands in
    for. `is_recorded`: a live record says that there is something at the address. `may_be_done`:
    an earlier run was about to write there and left no record of it. Rows of one `turn` may be
    about one tag under several names: no two of them are between their last look and their write
    at once, so one executor carries out all of them. Of rows that compete for a line, the lowest
    `rank` goes first.
    """

    plan_id: str = ""
    behind: Digest | None = None
    # Of that image: what is not there on purpose.
    behind_filter: Filter | None = None
    is_recorded: bool = False
    may_be_done: bool = False
    turn: int | None = None
    rank: tuple[int, int] = (0, 0)
    stock: Stock = _NOTHING
    # Of the tags that its referrers stand under, what is ours there.
    companions: tuple[tuple[str, Digest], ...] = ()


class Executor(Protocol):
    """Carries out rows, as many at once as it is given; each is answered by one receipt."""

    async def carry_out(self, change: Change, facts: RowFacts) -> Receipt:
        """Carry out one row; whatever goes wrong in it is in its receipt.

        A cancellation ends the row where it is, leaves its destination's tag whole, and travels on.
        """

    def expect(self, batch: Sequence[Change]) -> None:
        """Learn of rows that come now, at the same time: what they share can be read once.

        Each of them ends with `leave`, also if it is never carried out.
        """

    def leave(self, address: Reference) -> None:
        """Wait no more for the row of an address to come, or to ask for anything."""

    def waits(self, store: str) -> bool:
        """Tell whether a store is only waited for now: rows that need it can come later."""

    def rests(self, store: str) -> bool:
        """Tell whether nothing at all is done at a store now, for long."""

    def is_narrow(self, repository: Repository) -> bool:
        """Tell whether the line to a repository is known to be the limit."""

    def heard_by(self, *listeners: Callable[[], object]) -> AbstractContextManager[None]:
        """Have listeners called whenever `waits` or `rests` may answer otherwise."""


# Opens an executor for a run that needs these repositories; leaving it ends all that it does.
Opener = Callable[[Iterable[Repository]], AbstractAsyncContextManager[Executor]]
