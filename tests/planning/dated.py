"""Images in memory that say when they were made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.fakes.memory import image

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest
    from tests.support.world import World

__all__ = ["dated", "seed"]


def dated(created: str | None, layer: bytes = b"layer") -> tuple[Manifest, dict[Digest, bytes]]:
    """Build an image whose config says `created`; None says nothing."""
    config = {"os": "linux", **({} if created is None else {"created": created})}
    return image(layer, config=json.dumps(config).encode())


def seed(world: World, **tags: str | None) -> None:
    """Put an image for each tag into the old registry's team/api; `_` in names is a dot."""
    for name, created in tags.items():
        tag = name.replace("_", ".")
        top, blobs = dated(created, tag.encode())
        world.old.seed("team/api", tag, top, blobs)
