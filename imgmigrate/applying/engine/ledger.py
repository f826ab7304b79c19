"""What the state and the run so far say about a row: the rules across rows, and its `RowFacts`.

The one place of the engine that asks the state. What earlier runs left (claims, records) is looked
at when the ledger is made, before the run writes claims of its own, and put in order once: no row
costs a walk over the state.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.applying.engine.turns import Turns
from imgmigrate.applying.executor.base import Recorded, RowFacts, Stock
from imgmigrate.errors import ImgmigrateError, NotReached
from imgmigrate.oci.reference import Reference
from imgmigrate.plan import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.plan import Change
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.stores.gate import Rank

__all__ = ["Ledger"]

# Enough to know the bases that a repository's images share; more would cost a start its speed.
MOST_IMAGES = 200
# Of so many repositories the newest image is looked at for what can be mounted: some 0.1 s.
MOST_REPOSITORIES = 1000


class Ledger:
    """Tells an executor about rows; of `doubted` repositories nothing is believed.

    The state goes on while the run does: a row's own record and claim stay as they are until its
    receipt is recorded, so what is said of it when it begins holds to its end.
    """

    def __init__(
        self, state: State, plan_id: str, base: Path, doubted: Iterable[Repository]
    ) -> None:
        """Look at what earlier runs left; `base` is what layouts are relative to."""
        self._state, self._plan_id, self._base = state, plan_id, base
        self._doubted = frozenset(doubted)
        self._records: defaultdict[Repository, list[ImageRecord]] = defaultdict(list)
        for record in state.live():
            self._records[record.address.repository].append(record)
        self._claims = frozenset(state.claims)
        self._claimed = {Reference.parse(key).repository for key in self._claims}
        self._stocks: dict[Repository, Stock] = {}
        self._elsewhere: dict[str, tuple[Recorded, ...]] = {}
        self._wanted: frozenset[Digest | None] = frozenset()
        self._rows: frozenset[Reference] = frozenset()
        self._done: set[Reference] = set()
        self.turns = Turns((), base)

    def open(self, changes: Sequence[Change]) -> None:
        """Learn which rows the run carries out."""
        self._rows = frozenset(change.address for change in changes)
        self._wanted = frozenset(change.after for change in changes)
        self.turns = Turns(changes, self._base)

    def done(self, address: Reference) -> None:
        """Note that a row is done: others may depend on it."""
        self._done.add(address)

    def facts(self, change: Change, rank: Rank) -> RowFacts:
        """Say what carrying out a row takes, now that it begins.

        ImgmigrateError if a row that it depends on is not done.
        """
        address = change.address
        # Asked only where there can be an answer: a first migration pays for none of it.
        behind = change.before
        if behind is not None and self._state.stand_ins:
            behind = self._state.behind(address, behind)
        self._check_kept(change, behind)
        self._check_moved(change)
        record = self._state.record(address) if address.repository in self._records else None
        return RowFacts(
            self._plan_id,
            behind,
            is_recorded=record is not None and record.is_live,
            may_be_done=bool(self._claims) and str(address) in self._claims,
            turn=self.turns.of(address),
            rank=rank,
            stock=self._stock(address.repository),
        )

    def _check_kept(self, change: Change, behind: Digest | None) -> None:
        """Replace only what has its own tag, where the plan says that it gets one."""
        if change.kept_as is not None and not self._is_at(change.kept_as, behind):
            raise _waits(change, f"not touched: {change.kept_as} does not keep it yet")

    def _check_moved(self, change: Change) -> None:
        """Keep what is to be deleted because it moved until it is at its new place."""
        if change.action is not Action.DELETE or change.moved_to is None:
            return
        if not self._is_at(change.moved_to, change.recorded):
            raise _waits(change, f"not deleted: it has not been moved to {change.moved_to}")

    def _is_at(self, address: Reference, digest: Digest | None) -> bool:
        """Tell whether this run did the row of an address, or an earlier one did and it has none.

        A row of this run says that the destination no longer shows what the state records.
        """
        if address in self._rows:
            return address in self._done
        record = self._state.record(address)
        return record is not None and record.is_live and record.digest == digest

    def _stock(self, repository: Repository) -> Stock:
        """Say what is recorded of a repository, as it was when the run began: made once."""
        found = self._stocks.get(repository)
        if found is None:
            found = self._stocks[repository] = Stock(
                _recorded(self._records.get(repository, [])[-MOST_IMAGES:]),
                self._of_store(repository.store),
                is_doubted=repository in self._doubted,
                is_claimed=repository in self._claimed,
            )
        return found

    def _of_store(self, store: str) -> tuple[Recorded, ...]:
        """Choose the images of a store whose blobs are the likeliest to be mounted: made once.

        The newest of each repository, which has the bases that the others share, and the very
        images that are to come.
        """
        found = self._elsewhere.get(store)
        if found is None:
            newest, same = [], []
            for repository, records in self._records.items():
                if repository.store == store and repository not in self._doubted:
                    newest.append(max(records, key=_sequence))
                    same += [each for each in records if each.digest in self._wanted]
            # The newest last: their word for a shared base stands longer than that of a tag
            # which this run may be about to move.
            chosen = sorted(same, key=_sequence, reverse=True)[:MOST_REPOSITORIES]
            chosen += sorted(newest, key=_sequence, reverse=True)[:MOST_REPOSITORIES]
            found = self._elsewhere[store] = _recorded(chosen)
        return found


def _recorded(records: Iterable[ImageRecord]) -> tuple[Recorded, ...]:
    return tuple(Recorded(record.address, record.digest) for record in records)


def _sequence(record: ImageRecord) -> int:
    return record.sequence


def _waits(change: Change, cause: str) -> ImgmigrateError:
    hint = "see that row; then apply the same plan again"
    return NotReached(cause, subject=str(change.address), hint=hint)
