"""What stands beside an image as its signature: which bytes were signed, and what they say.

Pure. All of it comes from servers: a claim is only read here; whether it holds `verdict` tells.
Sources: cosign's specifications of signatures and of bundles, sigstore's protobuf-specs (bundle
v0.1 to v0.3), DSSE's protocol and envelope, in-toto's Statement v0.1 and v1.
"""

from __future__ import annotations

import base64
import binascii
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.oci.documents import read_object
from imgmigrate.oci.reference import Digest
from imgmigrate.signing.dsse import IN_TOTO, pae

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUNDLE", "LARGEST_CLAIM", "Claim", "Form", "bundle_claim", "simple_claim"]

# In bytes. A keyless bundle with its certificate and its log entry has some 15 KB.
LARGEST_CLAIM = 1024 * 1024
MOST_ELEMENTS = 20_000
# sigstore wants one; DSSE allows several.
MOST_SIGNATURES = 10
MOST_SUBJECTS = 1000

SIMPLE_SIGNING = "cosign container image signature"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
STATEMENTS = frozenset(
    {"https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"},
)
# How the media types of all versions begin.
BUNDLE = "application/vnd.dev.sigstore.bundle"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"


class Form(Enum):
    """How the signed bytes name an image."""

    SIMPLE = "simple signing"
    STATEMENT = "in-toto statement"
    MANIFEST = "the manifest itself"


class Claim(Struct, frozen=True):
    """Signatures of the same bytes. `message` was signed, `payload` says for which image.

    Of `Form.MANIFEST` both are empty: the bytes of the image's manifest were signed. `key_id` is
    the key's, where it is named; `is_keyless` where a certificate stands in its place.
    """

    form: Form
    signatures: tuple[bytes, ...]
    message: bytes = b""
    payload: bytes = b""
    key_id: str | None = None
    is_keyless: bool = False
    # All of it, of a sigstore bundle.
    bundle: bytes = b""

    def names(self, digest: Digest) -> str | None:
        """Tell what the payload names instead of an image; None if it names this one.

        To be asked only of what a trusted key has signed. ValueError if it makes no sense.
        """
        if self.form is Form.MANIFEST:
            return None
        document = read_object(self.payload, MOST_ELEMENTS)
        is_simple = self.form is Form.SIMPLE
        named = [_simple_digest(document)] if is_simple else _subjects(document)
        if digest in named:
            return None
        return named[0] if named else "nothing"


def simple_claim(annotations: Mapping[str, Any], payload: bytes) -> Claim:
    """Read a layer as cosign writes it; ValueError if it is no signature."""
    signature = _decoded(annotations.get(_SIGNATURE), "signature")
    return Claim(
        Form.SIMPLE, (signature,), payload, payload, is_keyless=_CERTIFICATE in annotations
    )


def bundle_claim(raw: bytes) -> Claim:
    """Read a sigstore bundle; ValueError if it is none, or holds no signature."""
    document = read_object(raw, MOST_ELEMENTS)
    if not str(document.get("mediaType", "")).startswith(BUNDLE):
        msg = "it is not a sigstore bundle"
        raise ValueError(msg)
    material = _mapping(document, "verificationMaterial")
    key = material.get("publicKey")
    key_id = key.get("hint") if isinstance(key, dict) else None
    key_id = key_id if isinstance(key_id, str) else None
    is_keyless = key is None
    if "dsseEnvelope" in document:
        envelope = _mapping(document, "dsseEnvelope")
        if envelope.get("payloadType") != IN_TOTO:
            msg = "what it signs is no in-toto statement"
            raise ValueError(msg)
        payload = _decoded(envelope.get("payload"), "payload")
        signatures = _envelope_signatures(envelope)
        message = pae(IN_TOTO, payload)
        return Claim(Form.STATEMENT, signatures, message, payload, key_id, is_keyless, raw)
    signed = _mapping(document, "messageSignature")
    signature = _decoded(signed.get("signature"), "signature")
    return Claim(Form.MANIFEST, (signature,), key_id=key_id, is_keyless=is_keyless, bundle=raw)


def _envelope_signatures(envelope: dict[str, Any]) -> tuple[bytes, ...]:
    found = envelope.get("signatures")
    if not isinstance(found, list) or not 0 < len(found) <= MOST_SIGNATURES:
        msg = f"its envelope has not 1 to {MOST_SIGNATURES} signatures"
        raise ValueError(msg)
    return tuple(
        _decoded(each.get("sig") if isinstance(each, dict) else None, "signature") for each in found
    )


def _simple_digest(document: dict[str, Any]) -> str:
    critical = _mapping(document, "critical")
    if critical.get("type") != SIMPLE_SIGNING:
        msg = "what was signed is no image signature of cosign's"
        raise ValueError(msg)
    found = _mapping(critical, "image").get("docker-manifest-digest")
    return Digest.parse(found) if isinstance(found, str) else "nothing"


def _subjects(document: dict[str, Any]) -> list[str]:
    if document.get("_type") not in STATEMENTS:
        msg = "what was signed is no in-toto statement"
        raise ValueError(msg)
    if document.get("predicateType") != SIGN_PREDICATE:
        msg = "it states something about the image, and does not sign it"
        raise ValueError(msg)
    subjects = document.get("subject")
    if not isinstance(subjects, list) or len(subjects) > MOST_SUBJECTS:
        msg = f"its statement is not about at most {MOST_SUBJECTS} subjects"
        raise ValueError(msg)
    return [
        Digest.parse(f"{algorithm}:{hex_}")
        for subject in subjects
        for algorithm, hex_ in _mapping(subject, "digest").items()
        if algorithm in ("sha256", "sha512")
    ]


def _mapping(document: Any, key: str) -> dict[str, Any]:
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, dict):
        msg = f"it has no {key}"
        raise ValueError(msg)
    return found


def _decoded(text: Any, what: str) -> bytes:
    """Decode base64; nothing that another reader might read otherwise is taken."""
    try:
        raw = base64.b64decode(text, validate=True) if isinstance(text, str) and text else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw:
        msg = f"its {what} is not in base64"
        raise ValueError(msg)
    return raw
