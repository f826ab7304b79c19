"""Blobs of which only the bytes matter."""

from __future__ import annotations

from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest

__all__ = ["described"]


def described(data: bytes) -> Descriptor:
    """The descriptor of some bytes that are nothing in particular."""
    return Descriptor("application/octet-stream", Digest.of(data), len(data))
