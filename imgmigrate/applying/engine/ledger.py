"""What the state and the run so far say about a row: the rules across rows, and its `RowFacts`.

The one place of the engine that asks the state. What earlier runs left (claims, records) is looked
at when the ledger is made, before the run writes claims of its own, and put in order once: no row
costs a walk over the state.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.applying.engine.turns import Turns
from imgmigrate.applying.executor.base import RowFacts
from imgmigrate.errors import ImgmigrateError, NotReached
from imgmigrate.oci.companions import subject_of_tag
from imgmigrate.plan import Action
from imgmigrate.plan.stock import Stocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.plan import Change, Filter
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.stores.gate import Rank

__all__ = ["Ledger"]


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
        self._stocks = Stocks(state, doubted)
        self._claims = frozenset(state.claims)
        self._claimed = dict(state.companions)
        self._rows: frozenset[Reference] = frozenset()
        self._done: set[Reference] = set()
        self._done_partly: set[Reference] = set()
        # As earlier runs left it, of each repository that a row's referrers ask about.
        self._carried: dict[Repository, dict[str, list[tuple[Digest, ImageRecord]]]] = {}
        self.turns = Turns((), base)

    def open(self, changes: Sequence[Change]) -> None:
        """Learn which rows the run carries out."""
        self._rows = frozenset(change.address for change in changes)
        self._stocks.expect(changes)
        self.turns = Turns(changes, self._base)

    def done(self, address: Reference) -> None:
        """Note that a row is done: others may depend on it."""
        self._done.add(address)

    def done_partly(self, address: Reference) -> None:
        """Note that an image is there, without all that refers to it: others go on waiting."""
        self._done_partly.add(address)

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
        record = self._state.record(address) if address.repository in self._stocks else None
        return RowFacts(
            self._plan_id,
            behind,
            _absent(record, behind),
            is_recorded=record is not None and record.is_live,
            may_be_done=bool(self._claims) and str(address) in self._claims,
            turn=self.turns.of(address),
            rank=rank,
            stock=self._stocks.of(address.repository),
            companions=self._companions(change),
        )

    def _companions(self, change: Change) -> tuple[tuple[str, Digest], ...]:
        """What is ours at the tags of a row's referrers: with an image, or as one of its own.

        Ours to replace is what this address had, or another one whose images come from the same
        source. What went along with somebody else's image of that digest is not.
        """
        tags = {each.tag for each in change.referrers or () if each.tag is not None}
        if not tags or change.source is None:
            return ()
        carried = self._carried_to(change.address.repository)
        origin = change.source.reference
        if change.action is Action.MOVE and (moved := self._state.record(origin)) is not None:
            origin = moved.source.reference
        ours = {
            (tag, digest)
            for tag in tags
            for digest, record in carried.get(tag, ())
            if record.address == change.address
            or record.source.reference.repository == origin.repository
        }
        # What a run was about to write that was cut off.
        claimed = self._claimed.get(str(change.address), ())
        return tuple(sorted(ours | {pair for pair in claimed if pair[0] in tags}))

    def _carried_to(self, repository: Repository) -> Mapping[str, list[tuple[Digest, ImageRecord]]]:
        """What earlier runs left under a repository's companion tags, put in order once."""
        if repository not in self._carried:
            carried: defaultdict[str, list[tuple[Digest, ImageRecord]]] = defaultdict(list)
            for record in self._state.of(repository, tombstones=True):
                for each in (*(record.left or ()), *(record.referrers or ())):
                    if each.tag is not None:
                        carried[each.tag].append((each.digest, record))
                if record.address.tag is None or not record.is_live:
                    continue
                if subject_of_tag(record.address.tag):
                    carried[record.address.tag].append((record.digest, record))
            self._carried[repository] = dict(carried)
        return self._carried[repository]

    def _check_kept(self, change: Change, behind: Digest | None) -> None:
        """Replace only what has its own tag, where the plan says that it gets one."""
        if change.kept_as is not None and not self._is_at(change.kept_as, behind):
            raise _waits(change, f"not touched: {change.kept_as} does not keep it yet")

    def _check_moved(self, change: Change) -> None:
        """Keep what is to be deleted because it moved until it is at its new place."""
        if change.action is not Action.DELETE or change.moved_to is None:
            return
        if self._is_at(change.moved_to, change.recorded):
            return
        cause = f"it has not been moved to {change.moved_to}"
        if change.moved_to in self._done_partly:
            cause = f"at {change.moved_to} not all is there that refers to it"
        raise _waits(change, f"not deleted: {cause}")

    def _is_at(self, address: Reference, digest: Digest | None) -> bool:
        """Tell whether this run did the row of an address, or an earlier one did and it has none.

        A row of this run says that the destination no longer shows what the state records.
        """
        if address in self._rows:
            return address in self._done
        record = self._state.record(address)
        return record is not None and record.is_live and record.digest == digest


def _absent(record: ImageRecord | None, behind: Digest | None) -> Filter | None:
    """Say what is not there on purpose of the image that a row replaces."""
    if record is None or record.filter is None or record.digest != behind:
        return None
    return record.filter.of_itself


def _waits(change: Change, cause: str) -> ImgmigrateError:
    hint = "see that row; then apply the same plan again"
    return NotReached(cause, subject=str(change.address), hint=hint)
