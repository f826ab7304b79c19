"""Manifests that the registry tests write."""

from __future__ import annotations

import json

from imgmigrate.oci.manifest import Manifest
from tests.support.images import KINDS, image

__all__ = ["foreign", "manifest"]


def manifest(kind: str = "image") -> Manifest:
    """One of the kinds of image."""
    made = KINDS[kind]("a")
    return Manifest.parse(made.raw, made.media_type)


def foreign() -> Manifest:
    """An image whose layers are kept elsewhere."""
    document = json.loads(image("a").raw)
    for layer in document["layers"]:
        layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        layer["urls"] = ["https://layers.example.com/1"]
    return Manifest.parse(json.dumps(document).encode())
