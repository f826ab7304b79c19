"""Read the config of an image: one small blob, verified; its platform and when it was made.

Whoever reads one is about to decide by it, so what is no image config at all (an artifact, a
chart) is told apart from one that cannot be read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imgmigrate.oci.documents import refuse_bomb
from imgmigrate.stores.place import read_blob

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Manifest
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
    raw = await read_blob(place, blob, "the image's config")
    try:
        refuse_bomb(raw, MOST_ELEMENTS)
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
