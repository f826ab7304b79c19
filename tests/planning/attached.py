"""Signatures and the like at the old registry of a small world, and rules that take them along."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.manifest import OCI_MANIFEST, Manifest
from imgmigrate.oci.reference import Digest
from tests.support.world import NEW, OLD

if TYPE_CHECKING:
    from imgmigrate.plan import Plan
    from tests.support.world import World

SBOM, SIGNATURE = "application/spdx+json", "application/vnd.cncf.notary.signature"
SCAN = "application/vnd.example.scan"


def refer(world: World, subject: Digest, artifact_type: str, seed: str = "x") -> Digest:
    """Attach something to a manifest of the old registry."""
    config = Digest.of(b"{}")
    world.old.blobs["team/api", config] = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
        "annotations": {"seed": seed},
    }
    manifest = Manifest.parse(json.dumps(document).encode())
    world.old.manifests["team/api", manifest.digest] = manifest
    return manifest.digest


def sign(world: World, subject: Digest, end: str = "sig") -> str:
    """Sign as cosign does, under a tag."""
    tag = f"{fallback_tag(subject)}.{end}"
    world.seed(tag, tag.encode())
    return tag


def say(world: World, referrers: str, more: str = "") -> None:
    """Let the rule say which referrers go along."""
    rule = f"source: {OLD}/team/api, destination: {NEW}/team/api, referrers: {referrers}"
    world.rules = f"- {{{rule}{more}}}"


def kinds(plan: Plan) -> dict[str, list[str]]:
    """What goes along with each row."""
    return {
        str(change.address.tag): sorted(each.kind for each in change.referrers or ())
        for change in plan.changes
    }
