"""DSSE: one signed statement in an envelope, and the bytes that are signed.

Pure. Source: secure-systems-lab/dsse, its protocol and its envelope.
"""

from __future__ import annotations

__all__ = ["IN_TOTO", "pae"]

IN_TOTO = "application/vnd.in-toto+json"


def pae(payload_type: str, payload: bytes) -> bytes:
    """Encode what is signed (PAE): the type belongs to it, and no byte can change sides."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)
