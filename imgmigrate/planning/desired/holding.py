"""Tell where a pinned digest needs no look at its source: it is at the destination already.

Pure. Bytes of one digest are the same everywhere, so a source that is away, or that has
dropped what it once had, says nothing about what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.oci.manifest import Descriptor
from imgmigrate.planning.passes.platforms import filter_of

if TYPE_CHECKING:
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.state.record import ImageRecord

__all__ = ["held"]


def held(asked: Asked, there: Descriptor | None, record: ImageRecord | None) -> Descriptor | None:
    """Describe the source's image by what its destination holds; None if that does not tell.

    Of an index that was cut to some platforms only the record knows what it was cut from.
    """
    pinned, choice = asked.source.digest, filter_of(asked.rule)
    if pinned is None or there is None:
        return None
    if choice is None:
        return there if there.digest == pinned else None
    if record is None or not record.is_live or record.digest != there.digest:
        return None
    if record.source.digest != pinned or record.filter != choice:
        return None
    return Descriptor(record.media_type, pinned, there.size)
