"""Public keys: which are trusted, and which signatures they bear out."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from imgmigrate.signing.keys import read_public_key
from tests.support.signing import (
    ED25519,
    OTHER,
    P256,
    P384,
    P521,
    PSS,
    RSA,
    hint_of,
    public_pem,
    sign,
)

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = b"what was signed"
KEYS = {"p256": P256, "p384": P384, "p521": P521, "ed25519": ED25519, "rsa": RSA}


@pytest.mark.parametrize("name", KEYS)
def test_a_signature_by_the_key_holds_and_no_other(name: str) -> None:
    """A byte more, less or other, in the message or in the signature, and it does not."""
    key = read_public_key(public_pem(KEYS[name]), "cosign.pub")
    signature = sign(MESSAGE, KEYS[name])
    assert key.verifies(signature, MESSAGE)
    assert not key.verifies(signature, MESSAGE + b" ")
    assert not key.verifies(b"", MESSAGE)
    assert not key.verifies(signature + b"\0", MESSAGE)
    assert not key.verifies(signature * 100, MESSAGE)
    for number in range(len(signature)):
        changed = bytearray(signature)
        changed[number] ^= 1
        assert not key.verifies(bytes(changed), MESSAGE), number
    assert not any(
        key.verifies(sign(MESSAGE, other), MESSAGE)
        for each, other in {**KEYS, "other": OTHER}.items()
        if each != name
    )


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        (P384, P384.sign(MESSAGE, ec.ECDSA(hashes.SHA384()))),
        (P521, P521.sign(MESSAGE, ec.ECDSA(hashes.SHA512()))),
        (RSA, RSA.sign(MESSAGE, PSS, hashes.SHA256())),
    ],
)
def test_the_hash_of_the_key_and_pss_hold_too(key: Any, signature: bytes) -> None:
    """A key in a KMS signs by the hash that goes with its curve, and by PSS."""
    assert read_public_key(public_pem(key), "k").verifies(signature, MESSAGE)


def test_a_weaker_hash_does_not_hold() -> None:
    """SHA-1 and its like are nobody's proof."""
    signature = P256.sign(MESSAGE, ec.ECDSA(hashes.SHA224()))
    assert not read_public_key(public_pem(P256), "k").verifies(signature, MESSAGE)


def test_what_openssl_signs_holds(tmp_path: Path) -> None:
    """A vector that no Python made."""
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(private))
    _openssl("ec", "-in", str(private), "-pubout", "-out", str(public))
    made = _openssl("dgst", "-sha256", "-sign", str(private), stdin=MESSAGE)
    assert read_public_key(public.read_bytes(), "key.pub").verifies(made, MESSAGE)


def test_a_key_is_named_as_sigstore_names_it() -> None:
    """By the SHA-256 of its DER, in base64."""
    assert read_public_key(public_pem(P256), "k").key_id == hint_of(P256)


def _private(key: Any) -> bytes:
    return bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not one public key"),
        (b"\xff\0", "not one public key"),
        (public_pem(P256) * 2, "not one public key"),
        (public_pem(P256).replace(b"M", b"N", 1), "cannot be read"),
        (public_pem(P256)[:80] + b"\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (_private(P256), "private key"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "private key"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "none of"),
        (public_pem(ec.generate_private_key(ec.SECP256K1())), "none of"),
        (public_pem(dsa.generate_private_key(1024)), "none of"),
    ],
)
def test_what_is_no_key_to_trust_is_refused(data: bytes, why: str) -> None:
    """Weak, foreign, cut and private ones, each with its reason."""
    with pytest.raises(ValueError, match=why):
        read_public_key(data, "cosign.pub")


def _openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(
        ["openssl", *arguments], input=stdin, capture_output=True, check=True
    ).stdout
