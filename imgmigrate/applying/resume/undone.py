"""What the state tells of an address whose former image was put back. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imgmigrate.errors import ImgmigrateError
from imgmigrate.state.record import Former, ImageRecord, Source

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Digest, Reference

__all__ = ["before_it", "former_of"]


def before_it(record: ImageRecord | None, address: Reference, digest: Digest) -> ImageRecord:
    """Say where the image that is put back came from: from where the address always did.

    Which digest it had there, and which platforms of it were kept, is known where the record
    tells of this very image, or of what it replaced. Elsewhere its own digest stands for it, so
    that the next plan sees that the source shows something else.
    """
    if record is None:
        cause = "its record is gone, so it is not known where the image came from"
        raise ImgmigrateError(cause, subject=str(address), hint="plan the rollback again")
    if record.digest == digest:
        return record
    if record.previous == digest and record.former is not None:
        return replace(record, source=record.former.source, filter=record.former.filter)
    source = Source(reference=record.source.reference, digest=digest)
    return replace(record, source=source, filter=None)


def former_of(
    record: ImageRecord | None, previous: Digest | None, source: Reference
) -> Former | None:
    """Say where the image that is replaced came from, unless its digest and `source` tell it."""
    if record is None or previous is None or record.digest != previous:
        return None
    told = Source(reference=source, digest=previous)
    if record.filter is None and record.source == told:
        return None
    return Former(source=record.source, filter=record.filter)
