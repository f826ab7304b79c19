"""See with our own eyes what is to stand in an image's stead, just before that goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import RowFailed, on_side
from imgmigrate.stores.place import Place, shown

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.plan import Change, Filter

__all__ = ["check_heir"]


async def check_heir(
    change: Change,
    heir: Reference,
    digest: Digest | None,
    place: Place,
    choice: Filter | None = None,
) -> None:
    """Refuse to touch what a row is about unless `heir`, in `place`, holds the digest, whole.

    Whoever recorded it there, somebody may have taken it away since. What `choice` leaves out of it
    was never there.
    """
    present = choice.present if choice else None
    with on_side("destination"):
        there = await shown(place, heir.target)
        found = there.digest if there else None
        missing: tuple[Digest, ...] = ()
        if found:
            missing = await place.store.missing_parts(place.repo, heir.target, present)
    if found != digest or found is None:
        fault = f"shows {found.short if found else 'nothing'}"
        hint = "somebody changed it since; plan again"
    elif missing:
        fault = f"has lost {missing[0].short} of its parts"
        hint = "plan again: it is brought again, or an error"
    else:
        return
    cause = f"not touched: {heir}, which is to hold it, {fault}"
    raise RowFailed(cause, subject=str(change.address), hint=hint)
