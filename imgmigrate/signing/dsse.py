"""DSSE: one signed statement in an envelope, and the bytes that are signed.

Pure. Source: secure-systems-lab/dsse, its protocol and its envelope.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imgmigrate.oci.reference import Digest

__all__ = ["IN_TOTO", "Signer", "make_statement", "pae", "seal"]

IN_TOTO = "application/vnd.in-toto+json"


class Signer(Protocol):
    """Who has a private key. `key_id` names it to verifiers; empty where nobody knows it."""

    @property
    def key_id(self) -> str:
        """How sigstore names the public key."""

    def sign(self, message: bytes) -> bytes:
        """Sign these bytes; ValueError says why that was not possible."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """Encode what is signed (PAE): the type belongs to it, and no byte can change sides."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def make_statement(
    subjects: Iterable[tuple[str, Digest]], predicate_type: str, predicate: Mapping[str, Any]
) -> bytes:
    """Say something about subjects, by their names and digests (in-toto Statement v1)."""
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": name, "digest": {digest.algorithm: digest.hex}} for name, digest in subjects
        ],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def seal(payload: bytes, signer: Signer, payload_type: str = IN_TOTO) -> bytes:
    """Sign a payload and put both into an envelope; ValueError if it cannot be signed."""
    signature = signer.sign(pae(payload_type, payload))
    document = {
        "payload": _encoded(payload),
        "payloadType": payload_type,
        "signatures": [{"keyid": signer.key_id, "sig": _encoded(signature)}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
