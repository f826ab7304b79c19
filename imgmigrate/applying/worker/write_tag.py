"""Put an image at its address, or take over what stands there.

The destination is read just before its tag is written or recorded (DESIGN section 8 rule 7):
equal to what was planned from, go; equal to what is to be there, done already; else a conflict.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.applying.blobs.board import Trust
from imgmigrate.applying.worker.heir import check_heir
from imgmigrate.applying.worker.referring import Referring
from imgmigrate.concurrency import both
from imgmigrate.errors import (
    NotFound,
    Rejected,
    RowConflict,
    RowFailed,
    on_side,
)
from imgmigrate.events import Outcome, Receipt
from imgmigrate.oci.platforms import IndexForm
from imgmigrate.plan import Action, Reason
from imgmigrate.stores.base import TagMoved
from imgmigrate.stores.place import Place, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from imgmigrate.applying.blobs.known import Known
    from imgmigrate.applying.executor.base import RowFacts
    from imgmigrate.applying.worker.copy_graph import Transfer
    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.plan import Carried, Change
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["TagWriter"]

# Bytes that cost more than a round trip to find out that they are not needed.
EARLY_LOOK_PAYS_FROM = 1024 * 1024


class TagWriter:
    """Carries out the rows that write or adopt; `turn_of` a row is held while it is at its tag."""

    def __init__(
        self,
        transfer: Transfer,
        known: Known,
        cache: ManifestCache,
        *,
        place: Callable[[Repository], Place],
        turn_of: Callable[[RowFacts], AbstractAsyncContextManager[object]],
    ) -> None:
        self._transfer, self._known, self._cache = transfer, known, cache
        self._place, self._turn_of = place, turn_of
        self._referring = Referring(transfer)

    async def adopt(self, change: Change, after: Digest, facts: RowFacts) -> Receipt:
        """See that the address shows the image with all its parts; nothing is written."""
        destination = self._place(change.address.repository)
        found = await self._look(change, facts, destination, to_write=False)
        if found != after:
            return _conflict(change, found)
        with on_side("destination"):
            present = change.filter.present if change.filter else None
            target = change.address.target
            missing = await destination.store.missing_parts(destination.repo, target, present)
        if missing:
            cause = f"lost {missing[0].short} since the plan"
            hint = "plan again: its parts are brought then"
            raise RowFailed(cause, subject=f"destination {change.address}", hint=hint)
        return Receipt(change.address, Outcome.APPLIED, after)

    async def copy(
        self, change: Change, origin: Repository, digest: Digest, after: Digest, facts: RowFacts
    ) -> Receipt:
        """Copy a digest's graph, then write the tag if the destination is still as planned.

        What was there and is written again is read once more: it may be damaged, and kept so.
        """
        receipt = await self._copy(change, origin, digest, after, facts)
        if receipt.error is None and _trust(change) is Trust.BYTES:
            await self._transfer.prove(after, self._place(change.address.repository))
        return receipt

    async def _copy(
        self, change: Change, origin: Repository, digest: Digest, after: Digest, facts: RowFacts
    ) -> Receipt:
        """Copy, but for the last look.

        The destination is read just before the tag, and where that can spare something also
        at the start: a conflict or a copy that is already there then costs no bytes.
        """
        destination = self._place(change.address.repository)
        source = self._place(origin)
        if change.action is Action.REFER:
            return await self._refer(change, after, source, destination, facts)
        if _is_worth_a_look(change, facts):
            found, manifest = await both(
                self._look(change, facts, destination, is_early=True),
                self._transfer.read(source, digest),
            )
            early = self._judge(change, after, found)
            if early is not None:
                return early
        else:
            manifest = await self._transfer.read(source, digest)
        manifest = await self._chosen(change, after, manifest, source)
        trust = _trust(change)
        is_believed = trust is Trust.ALL and not self._known.doubts(destination.repository)
        moved = 0
        if source != destination:  # else it is a tag of a manifest that is there
            trust = await self._learn(destination, facts, trust)
            moved = await self._transfer.bring_parts(
                manifest, source, destination, trust, takes_foreign=bool(change.copies_foreign)
            )
        along: Receipt | None = None
        if change.referrers:
            # Before the tag: whoever sees it, and asks for a signature, finds that there, too.
            with _naming_the_fix(manifest):
                moved += await self._transfer.write(manifest, after, source, destination)
            along = await self._bring_referrers(change, source, destination, facts, _trust(change))
            if not along.outcome.is_recorded:
                return along
            moved += along.moved
        # A sparse index is refused for what is not to be there: bringing parts again helps nothing.
        is_last = bool(manifest.absent)
        while True:
            # Held from the last look to the write, and no longer: what has to be brought may take
            # minutes, is brought without it, and the tag is looked at again.
            async with self._turn_of(facts):
                found = await self._look(change, facts, destination)
                is_in_doubt = is_believed and self._known.doubts(destination.repository)
                if not is_in_doubt:
                    late = _late(change, after, found, moved)
                    if late is not None:
                        return _without(late, along)
                    if change.kept_as is not None:
                        kept = self._place(change.kept_as.repository)
                        choice = facts.behind_filter
                        await check_heir(change, change.kept_as, facts.behind, kept, choice)
                    try:
                        with _naming_the_fix(manifest):
                            is_written = await self._transfer.try_write(
                                manifest,
                                change.address.target,
                                destination,
                                is_last=is_last,
                                still={found},
                            )
                        if is_written:
                            break
                    except TagMoved as moved_on:
                        return _conflict(change, moved_on.found)
            if is_in_doubt:
                is_believed, again = False, Trust.BLOBS  # what was taken to be there is asked for
            else:  # once: the destination turned out to lack parts
                is_last, again = True, Trust.NOTHING
            if source != destination or again is Trust.NOTHING:
                moved += await self._transfer.bring_parts(
                    manifest, source, destination, again, takes_foreign=bool(change.copies_foreign)
                )
        was_there = found == after != change.before and not moved
        outcome = Outcome.ALREADY if was_there else Outcome.APPLIED
        return _without(Receipt(change.address, outcome, after, moved), along)

    async def _refer(
        self, change: Change, after: Digest, source: Place, destination: Place, facts: RowFacts
    ) -> Receipt:
        """Bring only what refers to an image that is there already."""
        found = await self._look(change, facts, destination)
        if found != after:
            return _conflict(change, found)
        return await self._bring_referrers(change, source, destination, facts, Trust.ALL)

    async def _bring_referrers(
        self, change: Change, source: Place, destination: Place, facts: RowFacts, trust: Trust
    ) -> Receipt:
        """Bring what refers to an image, and say what lacks; not done where the rule requires that.

        What will not be had is no reason to go without the image. What may pass, or is about more
        than these, is raised.
        """
        brought = await self._referring.bring(change, source, destination, facts, trust)
        lacking = brought.lacking
        held = [(each, error) for each, error in lacking if _is_required(change, each)]
        receipt = Receipt(
            change.address,
            Outcome.APPLIED,
            change.after,
            brought.moved,
            lacking=tuple(each.key for each, _ in lacking),
        )
        if not lacking:
            return receipt
        _, error = (held or lacking)[0]
        if not held:
            return replace(receipt, outcome=Outcome.PARTLY, error=error)
        is_conflict = isinstance(error, RowConflict)
        outcome = Outcome.CONFLICT if is_conflict else Outcome.FAILED
        return Receipt(change.address, outcome, moved=brought.moved, error=error)

    async def _learn(self, destination: Place, facts: RowFacts, trust: Trust) -> Trust:
        """Learn what is known of the destination, once a run; say how much to believe then."""
        if trust is not Trust.ALL:
            return trust
        await self._known.tell(destination, facts.stock, self._transfer.board)
        return Trust.BLOBS if self._known.doubts(destination.repository) else trust

    async def _look(
        self,
        change: Change,
        facts: RowFacts,
        destination: Place,
        *,
        to_write: bool = True,
        is_early: bool = False,
    ) -> Digest | None:
        """Read what is at the address now; whatever was listed before confirms nothing here.

        An early look only spares bytes, and another one follows: no counted read is spent on it.
        """
        store, repo, target = destination.store, destination.repo, change.address.target
        is_new = change.before is None
        with on_side("destination"):
            if is_early and is_new and store.is_metered:
                found = await store.head(repo, target, to_write=to_write)
            else:
                found = await shown(destination, target, is_new=is_new, to_write=to_write)
        digest = found.digest if found else None
        self._known.saw(change.address, digest, is_recorded=facts.is_recorded)
        return digest

    def _judge(self, change: Change, after: Digest, found: Digest | None) -> Receipt | None:
        """Apply rule 7 before anything is brought; None is "go".

        As `after` is done already, but where nothing is believed only its parts tell that.
        """
        if found == change.before:
            return None
        if found != after:
            return _conflict(change, found)
        if change.referrers or self._known.doubts(change.address.repository):
            return None
        return Receipt(change.address, Outcome.ALREADY, after)

    async def _chosen(
        self, change: Change, after: Digest, manifest: Manifest, source: Place
    ) -> Manifest:
        """Find what the row's platforms leave of an index; it must be what was planned."""
        if change.filter is None:
            return manifest
        subject, origin = str(change.address), f"the source {manifest.digest.short}"
        hint = "plan again with this version of imgmigrate"
        try:
            rebuilt = change.filter.chosen(manifest)
        except ValueError as error:
            cause = f"{origin} cannot be cut to its platforms: {error}"
            raise RowFailed(cause, subject=subject, hint=hint) from None
        if change.filter.form is IndexForm.UNWRAP and manifest.is_index:
            rebuilt = await self._transfer.read(source, rebuilt.children[0].digest)
        if rebuilt.digest != after:
            cause = f"{origin} cut to its platforms is {rebuilt.digest}, planned was {after}"
            raise RowFailed(cause, subject=subject, hint=hint)
        if rebuilt.digest != manifest.digest:
            self._cache.put(rebuilt)  # what a later run asks about its own work
        return rebuilt


def _without(receipt: Receipt, along: Receipt | None) -> Receipt:
    """Say of an image that is there that not all that refers to it is."""
    if along is None or not along.lacking or not receipt.outcome.is_done:
        return receipt
    return replace(receipt, outcome=Outcome.PARTLY, error=along.error, lacking=along.lacking)


def _is_required(change: Change, lacking: Carried) -> bool:
    """Tell whether an image does not go without a referrer; older plans named no kinds.

    A rule requires what is about the image itself. A `refer` row's image is there already.
    """
    if not change.needs_referrers or change.action is Action.REFER:
        return False
    if change.needed_kinds is None:
        return True
    return lacking.refers_to == change.after and lacking.kind in change.needed_kinds


def _is_worth_a_look(change: Change, facts: RowFacts) -> bool:
    size = change.transfer_bytes
    is_large = size is None or size > EARLY_LOOK_PAYS_FROM
    return is_large or facts.may_be_done


@contextmanager
def _naming_the_fix(manifest: Manifest) -> Iterator[None]:
    """Say what to do where an index is refused that lists what is not there."""
    try:
        yield
    except (Rejected, NotFound) as error:
        if manifest.absent:
            error.hint = "it may refuse an index without all of its images: write index: trim in "
            error.hint += "the rule, and plan again"
        raise


def _late(change: Change, after: Digest, found: Digest | None, moved: int) -> Receipt | None:
    """Apply rule 7 just before the tag is written; None is "go".

    A tag that shows `after` is written all the same where that makes its parts be looked at.
    """
    is_written_again = change.before == after or change.address.repository.is_layout
    if found == after and not is_written_again:
        return Receipt(change.address, Outcome.ALREADY, after, moved)
    return None if found in (change.before, after) else _conflict(change, found)


def _trust(change: Change) -> Trust:
    """How much a row believes: what is written again is there to be checked."""
    if change.before != change.after:
        return Trust.ALL
    return Trust.BYTES if change.reason == Reason.REPLACE else Trust.BLOBS


def _conflict(change: Change, found: Digest | None) -> Receipt:
    planned = change.before.short if change.before else "nothing"
    shows = found.short if found else "nothing"
    cause, subject = f"shows {shows}, planned from {planned}", f"destination {change.address}"
    hint = "somebody changed it since the plan; plan again"
    error = RowConflict(cause, subject=subject, hint=hint)
    return Receipt(change.address, Outcome.CONFLICT, error=error)
