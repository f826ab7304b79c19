"""Read the config of an image: one small blob, verified; its platform and when it was made.

Whoever reads one is about to decide by it, so what is no image config at all (an artifact, a
chart) is told apart from one that cannot be read.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import IntegrityError, TransientError
from imgmigrate.events import NoSink
from imgmigrate.oci.bounds import refuse_bomb
from imgmigrate.stores.retries import Policy, retrying
from imgmigrate.stores.slots import hold

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor, Manifest
    from imgmigrate.stores.place import Place

__all__ = ["read_config"]

CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
# Real ones have some KB, a history of hundreds of steps included.
LARGEST_CONFIG = 4 * 1024 * 1024
MOST_ELEMENTS = 200_000
# A blob this small that breaks midway is read anew, once and at once.
ONCE_MORE = Policy(attempts=2, first_wait=0.0, longest_wait=0.0)


async def read_config(place: Place, manifest: Manifest) -> dict[str, Any] | None:
    """Read what an image's config says; None if it has none, or none that makes sense.

    Raises StoreError if the store does not give it, IntegrityError for other bytes.
    """
    found = manifest.document.get("config")
    if manifest.is_index or not isinstance(found, dict) or found.get("mediaType") not in CONFIGS:
        return None
    blob = manifest.blobs[0]  # the config is the first of them
    if blob.size > LARGEST_CONFIG:
        return None
    raw = await retrying(partial(_read, place, blob), NoSink(), ONCE_MORE)
    try:
        refuse_bomb(raw, MOST_ELEMENTS)
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


async def _read(place: Place, blob: Descriptor) -> bytes:
    subject = f"{place.repository}@{blob.digest}"
    raw = bytearray()
    async with (
        hold(place.store.budget.read),
        aclosing(place.store.open_blob(place.repo, blob)) as pieces,
    ):
        async for piece in pieces:
            raw += piece
            if len(raw) > blob.size:
                break
    if len(raw) < blob.size:
        raise TransientError(subject, f"it ended at byte {len(raw)} of {blob.size}")
    if len(raw) != blob.size or not blob.digest.matches(bytes(raw)):
        raise IntegrityError(subject, "the bytes of the image's config do not match its digest")
    return bytes(raw)
