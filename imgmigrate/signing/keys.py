"""Public keys: read from PEM, and what they say of a signature.

`cryptography` does the mathematics. It comes with the extra `verify`, and is imported when the
first key is read: ImportError means that it is not installed.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LARGEST_KEY", "LONGEST_SIGNATURE", "PublicKey", "key_id_of", "read_public_key"]

# Of a file, in bytes; a key of 16,384 bits has some 3 KB.
LARGEST_KEY = 64 * 1024
# Shorter ones are broken by whoever pays for it; longer ones cost seconds for each signature.
RSA_BITS = range(2048, 16_384 + 1)
# The longest there is: RSA of 16,384 bits.
LONGEST_SIGNATURE = 2048


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that is trusted. `key_id` is how sigstore's bundles name it, `name` how people do."""

    name: str
    key_id: str
    _key: Any = field(repr=False, compare=False)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether whoever has the private key signed these bytes; never raises.

        By the hash that goes with the key, or by SHA-256, which cosign takes for every key.
        """
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        if len(signature) > LONGEST_SIGNATURE:
            return False
        for way in _ways(self._key):
            try:
                self._key.verify(signature, message, *way)
            except (InvalidSignature, UnsupportedAlgorithm, ValueError):
                continue
            return True
        return False


def read_public_key(data: bytes, name: str) -> PublicKey:
    """Read a PEM file; ValueError says why it is no key that signatures are checked with."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if len(data) > LARGEST_KEY:
        msg = f"it has more than {LARGEST_KEY} bytes"
        raise ValueError(msg)
    if b"PRIVATE KEY-----" in data:
        msg = "it holds a private key, and the public one belongs here"
        raise ValueError(msg)
    if data.count(b"-----BEGIN ") != 1 or b"-----BEGIN PUBLIC KEY-----" not in data:
        msg = "it is not one public key in PEM (BEGIN PUBLIC KEY)"
        raise ValueError(msg)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        msg = "its public key cannot be read"
        raise ValueError(msg) from None
    return PublicKey(name, key_id_of(key), key)


def key_id_of(key: Any) -> str:
    """Name a public key as sigstore does; ValueError for one that is not to be trusted."""
    from cryptography.hazmat.primitives import serialization

    if not _ways(key):
        msg = "its key is none of ECDSA (P-256, P-384, P-521), Ed25519, and RSA from 2,048 bits on"
        raise ValueError(msg)
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def _ways(key: Any) -> list[tuple[Any, ...]]:
    """The ways in which a key may have signed; none for a key that is not to be trusted."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    if isinstance(key, ed25519.Ed25519PublicKey):
        return [()]
    if isinstance(key, ec.EllipticCurvePublicKey):
        hashes = {
            "secp256r1": (SHA256(),),
            "secp384r1": (SHA384(), SHA256()),
            "secp521r1": (SHA512(), SHA256()),
        }.get(key.curve.name, ())
        return [(ec.ECDSA(each),) for each in hashes]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS:
        pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.AUTO)
        return [(padding.PKCS1v15(), SHA256()), (pss, SHA256())]
    return []
