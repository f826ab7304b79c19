"""Records as a run of ours leaves them, where only some fields matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.oci.manifest import OCI_MANIFEST
from imgmigrate.state.record import ImageRecord, Source

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Digest, Reference

__all__ = ["make_record"]


def make_record(address: Reference, source: Reference, digest: Digest, **more: Any) -> ImageRecord:
    """A live record of an image that came from `source` as it is there; `more` is what differs."""
    fields: dict[str, Any] = {
        "source": Source(reference=source, digest=digest),
        "media_type": OCI_MANIFEST,
        "at": "2026-01-01T00:00:00Z",
        "sequence": 7,
        "run": "r",
        "plan_id": "p",
        **more,
    }
    return ImageRecord(address=address, digest=digest, **fields)
