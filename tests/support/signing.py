"""Sign as cosign does, by `cryptography` alone: nothing of ours takes part."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)

P256 = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def public_pem(key: Any) -> bytes:
    """The public half, as `cosign public-key` prints it."""
    return bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def hint_of(key: Any) -> str:
    """How a bundle names a key."""
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return b64(hashlib.sha256(der).digest())


def sign(message: bytes, key: Any = P256) -> bytes:
    """Sign as cosign does: by SHA-256 for whatever key."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return bytes(key.sign(message))


def simple_payload(digest: str, **critical: Any) -> bytes:
    """What cosign signs for a tag."""
    body = {
        "identity": {"docker-reference": "old.example/team/api"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
        **critical,
    }
    return json.dumps({"critical": body, "optional": None}).encode()


def statement(digest: str, **fields: Any) -> bytes:
    """What cosign signs in a bundle."""
    algorithm, _, hex_ = digest.partition(":")
    body = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {algorithm: hex_}}],
        "predicateType": SIGN,
        **fields,
    }
    return json.dumps(body).encode()


def bundle(payload: bytes, key: Any = P256, /, **envelope: Any) -> bytes:
    """A sigstore bundle of a statement."""
    kind = b"application/vnd.in-toto+json"
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    body = {
        "payload": b64(payload),
        "payloadType": kind.decode(),
        "signatures": [{"sig": b64(sign(pae, key))}],
        **envelope,
    }
    return json.dumps(_whole({"dsseEnvelope": body}, key)).encode()


def message_bundle(manifest: bytes, key: Any = P256) -> bytes:
    """A sigstore bundle of the image's manifest itself."""
    digest = {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(manifest).digest())}
    body = {"messageDigest": digest, "signature": b64(sign(manifest, key))}
    return json.dumps(_whole({"messageSignature": body}, key)).encode()


def _whole(content: dict[str, Any], key: Any) -> dict[str, Any]:
    material = {"publicKey": {"hint": hint_of(key)}}
    return {"mediaType": BUNDLE, "verificationMaterial": material, **content}
