"""Which requests a registry counts together: the vocabulary of the quota table in `quirks.py`.

Pure. Registries limit kinds of request apart from each other, and so differently (ECR: 10
manifests but 500 parts of layers a second) that one window for all would starve the fast ones
(protocol 3.7).
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

__all__ = ["ALL", "READS", "USUAL", "WRITES", "Kind", "Quota", "kind_of"]


class Kind(Enum):
    """What a request asks for, as far as some registry's quota makes a difference of it."""

    LISTING = "listings"
    REFERRERS = "listings of referrers"
    MANIFEST_HEAD = "looks at manifests"
    MANIFEST_READ = "manifest reads"
    BLOB_READ = "blob reads"
    OTHER = "other requests"
    UPLOAD_START = "begins of uploads"
    UPLOAD_DATA = "parts of uploads"
    MANIFEST_WRITE = "manifest writes"


WRITES = frozenset({Kind.UPLOAD_START, Kind.UPLOAD_DATA, Kind.MANIFEST_WRITE})
READS = frozenset(Kind) - WRITES
ALL = frozenset(Kind)


class Quota(Struct, frozen=True):
    """Kinds that are counted together; `rate` requests a second where the registry states it.

    `burst` requests may come at once after a pause.
    """

    kinds: frozenset[Kind]
    rate: float | None = None
    burst: int = 1


# Where nothing is known, reads and writes do not stand in each other's way.
USUAL = (Quota(READS), Quota(WRITES))


def kind_of(method: str, target: str) -> Kind:
    """The kind of a request to a path, or to a URL that the registry gave us for an upload."""
    path = target.partition("?")[0]
    if "/blobs/uploads" in path or method in ("POST", "PATCH"):
        return Kind.UPLOAD_START if method == "POST" else Kind.UPLOAD_DATA
    if "/manifests/" in path:
        reads = {"HEAD": Kind.MANIFEST_HEAD, "GET": Kind.MANIFEST_READ}
        return reads.get(method, Kind.MANIFEST_WRITE)
    if method in ("PUT", "DELETE"):
        return Kind.UPLOAD_DATA
    if "/blobs/" in path:
        return Kind.BLOB_READ
    if "/referrers/" in path:
        return Kind.REFERRERS
    return Kind.LISTING if path.endswith(("/tags/list", "/_catalog")) else Kind.OTHER
