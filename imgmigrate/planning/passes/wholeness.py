"""Find the images that a layout shows and has lost parts of: what its index names is not enough.

A look at files' sizes is free, so it is taken where a registry would be believed: with
`refresh=False`, for tags that never move, and for what is already there. Whatever can be brought
again is; where the source has it no more, the row says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.errors import IntegrityError, NotFound, StoreError
from imgmigrate.observing.problems import failed, unreadable
from imgmigrate.plan import Action, Change, Reason
from imgmigrate.planning.diff import Exceptions, decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.planning.diff import Wish
    from imgmigrate.state.record import Filter, ImageRecord, State

__all__ = ["Unmendable", "Wholeness", "lacking", "not_whole"]


class Wholeness(Struct, frozen=True):
    """Looks at the images of layouts; of registries it believes what they show."""

    observer: Observer
    state: State

    async def shows(self, record: ImageRecord) -> bool:
        """Tell whether a record's address shows its image, in a layout with all its parts."""
        address = record.address
        if not address.repository.is_layout:
            return True
        is_shown = await self.digest_at(address) == record.digest
        return is_shown and not await self.missing_of(address, record.filter)

    async def judge(
        self, change: Change | None, wish: Wish, there: Digest | None, exceptions: Exceptions
    ) -> Change | None:
        """Decide anew about an image that would be left as it is, if parts of it are gone."""
        is_left = change is None or change.action is Action.ADOPT
        if there is None or wish.found is None or not is_left:
            return change
        missing = await self.missing_of(wish.address, wish.filter)
        if isinstance(missing, StoreError):
            record = self.state.record(wish.address)
            return unreadable(wish.address, missing, record)
        if not missing:
            return change
        again = decide(wish, there, self.state, replace(exceptions, incomplete=True))
        return again and again.model_copy(update={"detail": lacking(missing)})

    async def missing_of(
        self, address: Reference, choice: Filter | None
    ) -> tuple[Digest, ...] | StoreError:
        """Say what a layout has lost of an image; nothing of one that it does not show."""
        found = await self.observer.missing_parts(address, choice)
        return () if isinstance(found, NotFound) else found

    async def digest_at(self, address: Reference) -> Digest | None:
        """Say which image an address shows; None if it shows none, or cannot be read."""
        found = (await self.observer.look_at_destinations([address]))[address]
        return None if found is None or isinstance(found, StoreError) else found.digest


class Unmendable(Struct, frozen=True):
    """Makes errors of rows that keep what is not whole, and of tags that no rule asks for.

    `kept` are the records of what `keep_previous` made.
    """

    wholeness: Wholeness
    kept: Sequence[ImageRecord]

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Look at what would stay as it is."""
        told = {change.address for change in changes}
        kept = [record.address for record in self.kept if record.address not in told]
        left = [change.address for change in changes if change.action is Action.KEEP] + kept
        errors = dict(zip(left, await self.wholeness.observer.each(left, self._error), strict=True))
        settled = [errors.get(change.address) or change for change in changes]
        return settled + [error for address in kept if (error := errors[address]) is not None]

    async def _error(self, address: Reference) -> Change | None:
        record = self.wholeness.state.record(address)
        if not address.repository.is_layout or record is None or not record.is_live:
            return None
        if await self.wholeness.digest_at(address) != record.digest:
            return None
        missing = await self.wholeness.missing_of(address, record.filter)
        if isinstance(missing, StoreError):
            return unreadable(address, missing, record)
        if not missing:
            return None
        detail = f"destination {address}: {lacking(missing)}, and nothing that a rule names has it"
        fix = "bring its source back, or let it go with imgmigrate state rm"
        return failed(address, Reason.INCOMPLETE, f"{detail}; {fix}", record)


def lacking(missing: Sequence[Digest]) -> str:
    """Say what an image has lost."""
    more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
    return f"the layout has lost {missing[0].short}{more} of its parts"


def not_whole(
    address: Reference, missing: tuple[Digest, ...] | StoreError, hint: str | None = None
) -> StoreError:
    """Say of an image that its layout has lost parts of it, or why that cannot be told."""
    if isinstance(missing, StoreError):
        return missing
    error = IntegrityError(str(address), lacking(missing), hint=hint)
    error.side = "destination"
    return error
