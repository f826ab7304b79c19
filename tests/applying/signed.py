"""Signed images: what is attached to them at the old registry, what a list of the new one names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.manifest import OCI_MANIFEST, Manifest
from imgmigrate.oci.reference import Digest
from tests.fakes.memory import image
from tests.support.world import NEW

if TYPE_CHECKING:
    from imgmigrate.events import RunFinished
    from tests.support.world import World

API, REPO = f"{NEW}/team/api", "team/api"
NOTATION, SPDX = "application/vnd.cncf.notary.signature", "application/spdx+json"


def sign(
    world: World, subject: Digest, seed: str = "x", kind: str = NOTATION, **fields: Any
) -> Manifest:
    """Attach a signature, or something of another kind, to an image of the old registry."""
    config = Digest.of(b"{}")
    world.old.blobs[REPO, config] = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
        "annotations": {"seed": seed},
        **fields,
    }
    manifest = Manifest.parse(json.dumps(document).encode())
    world.old.manifests[REPO, manifest.digest] = manifest
    return manifest


def cosign(world: World, subject: Digest, data: bytes = b"sig") -> tuple[str, Digest]:
    """Sign an image of the old registry as cosign does, under a tag of its own."""
    tag = f"{fallback_tag(subject)}.sig"
    manifest, blobs = image(data)
    return tag, world.old.seed(REPO, tag, manifest, blobs)


def listed(world: World, subject: Digest) -> list[str]:
    """What the new registry's list names."""
    tag = world.new.tags[REPO, fallback_tag(subject)]
    return [entry["digest"] for entry in world.new.manifests[REPO, tag].document["manifests"]]


def errors(finished: RunFinished) -> str:
    """What was wrong."""
    return " ".join(str(receipt.error) for receipt in finished.unfinished)
