"""What the state tells of an address whose former image was put back. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imgmigrate.errors import ImgmigrateError
from imgmigrate.state.record import ImageRecord, Source

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Digest, Reference

__all__ = ["before_it"]


def before_it(record: ImageRecord | None, address: Reference, digest: Digest) -> ImageRecord:
    """Say where the image that is put back came from: from where the address always did.

    Which digest it had there, and which platforms of it were kept, is known only where the
    record tells of this very image. Elsewhere its own digest stands for it, so that the next
    plan sees that the source shows something else.
    """
    if record is None:
        message = f"{address}: its record is gone, so it is not known where the image came from"
        raise ImgmigrateError(message, hint="plan the rollback again")
    if record.digest == digest:
        return record
    source = Source(reference=record.source.reference, digest=digest)
    return replace(record, source=source, filter=None)
