"""Names of what hangs on a digest: kinds of referrers, and the tags that companions stand under.

Pure, and needs nothing. Source: distribution-spec "Referrers Tag Schema", cosign's signature
specification.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Digest

__all__ = [
    "COSIGN_KINDS",
    "KINDS",
    "cosign_tags",
    "fallback_tag",
    "names_companions",
    "subject_of_tag",
]

# What people call them, in the order in which they are told.
KINDS = ("signature", "sbom", "attestation", "provenance")
# What cosign puts behind the digest in its own tags.
COSIGN_KINDS = {"sig": "signature", "att": "attestation", "sbom": "sbom"}
# "Referrers Tag Schema": the algorithm is cut to 32 characters, the digits to 64.
_LONGEST_ALGORITHM, _LONGEST_HEX = 32, 64
# What a pattern has that is meant for such tags: how they begin, or how they end.
_NAMED = re.compile(r"sha(256|512)|\.(sig|att|sbom)\b")
_COMPANION = re.compile(r"(?P<stem>(sha256|sha512)-[a-f0-9]{64})(\.(sig|att|sbom))?")


def fallback_tag(digest: Digest) -> str:
    """The tag under which clients keep a list of referrers where a registry has no API."""
    return f"{digest.algorithm[:_LONGEST_ALGORITHM]}-{digest.hex[:_LONGEST_HEX]}"


def cosign_tags(digest: Digest) -> dict[str, str]:
    """The tags that cosign gives what it makes for a digest, and the kind of each."""
    return {f"{fallback_tag(digest)}.{end}": kind for end, kind in COSIGN_KINDS.items()}


def subject_of_tag(tag: str) -> str | None:
    """What all companion tags of one image begin with; None for any other tag.

    A companion tag names the digest that it belongs to: a list of referrers, or cosign's.
    """
    found = _COMPANION.fullmatch(tag)
    return found["stem"] if found else None


def names_companions(pattern: str) -> bool:
    """Tell whether a pattern of tags is about companion tags, and not about all tags there are."""
    return _NAMED.search(pattern) is not None
