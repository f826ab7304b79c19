"""A sigstore of our own: authority, logs, and bundles that they bear out, by `cryptography` alone.

What Fulcio, the certificate log and Rekor (v1) do to a signature without a key, and the root of
trust that names them. Sources: RFC 6962, Rekor's checkpoints and entries, sigstore's bundle v0.3.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.support.signing import BUNDLE, b64

IDENTITY, ISSUER = "https://ci.example/team/api", "https://issuer.example"
IN_TOTO = "application/vnd.in-toto+json"
MADE_AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_SCTS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ORIGIN = "log.example - 1"


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


class Sigstore:
    """One authority with its two logs."""

    def __init__(self) -> None:
        self._ca, self._ct, self._rekor = (ec.generate_private_key(ec.SECP256R1()) for _ in "123")
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority.example")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self._name = name
        self._root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._ca.public_key())
            .serial_number(1)
            .not_valid_before(MADE_AT - timedelta(days=1))
            .not_valid_after(MADE_AT + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._ca.public_key()), critical=False
            )
            .sign(self._ca, hashes.SHA256())
        )

    def trusted_root(self) -> bytes:
        """What verifiers trust, as sigstore writes it."""
        start = {"start": "2026-01-01T00:00:00Z"}
        chain = [{"rawBytes": b64(self._root.public_bytes(serialization.Encoding.DER))}]
        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log(self._rekor, "https://log.example")],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "example", "commonName": "authority.example"},
                    "uri": "https://authority.example",
                    "certChain": {"certificates": chain},
                    "validFor": start,
                }
            ],
            "ctlogs": [self._log(self._ct, "https://ct.example")],
            "timestampAuthorities": [],
        }
        return json.dumps(document).encode()

    def bundle(self, payload: bytes, identity: str = IDENTITY, issuer: str = ISSUER) -> bytes:
        """Sign a statement, as cosign 3 does without a key."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._leaf(key, identity, issuer)
        pae = b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(payload), payload)
        signature = b64(_sign(key, pae))
        envelope = {
            "payload": b64(payload),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": signature}],
        }
        pem = leaf.public_bytes(serialization.Encoding.PEM)
        body = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {
                    "algorithm": "sha256",
                    "value": hashlib.sha256(json.dumps(envelope).encode()).hexdigest(),
                },
                "payloadHash": {
                    "algorithm": "sha256",
                    "value": hashlib.sha256(payload).hexdigest(),
                },
                "signatures": [{"signature": signature, "verifier": b64(pem)}],
            },
        }
        raw = leaf.public_bytes(serialization.Encoding.DER)
        material = {"certificate": {"rawBytes": b64(raw)}, "tlogEntries": [self._entry(body)]}
        document = {
            "mediaType": BUNDLE,
            "verificationMaterial": material,
            "dsseEnvelope": envelope,
        }
        return json.dumps(document).encode()

    def _log(self, key: ec.EllipticCurvePrivateKey, url: str) -> dict[str, Any]:
        return {
            "baseUrl": url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64(_der(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": "2026-01-01T00:00:00Z"},
            },
            "logId": {"keyId": b64(hashlib.sha256(_der(key)).digest())},
        }

    def _leaf(
        self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str
    ) -> x509.Certificate:
        """A certificate of ten minutes that names who signed, with the log's timestamp in it."""
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )

        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(2)
            .not_valid_before(MADE_AT - timedelta(minutes=5))
            .not_valid_after(MADE_AT + timedelta(minutes=5))
            .add_extension(usage, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca.public_key()),
                critical=False,
            )
            .add_extension(san, critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER, issuer.encode()), critical=False)
        )
        tbs = builder.sign(self._ca, hashes.SHA256()).tbs_certificate_bytes
        moment = int(MADE_AT.timestamp() * 1000)
        issued_by = hashlib.sha256(_der(self._ca)).digest()
        entry = issued_by + len(tbs).to_bytes(3, "big") + tbs
        signed = _sign(self._ct, struct.pack("!BBQH", 0, 0, moment, 1) + entry + b"\0\0")
        log_id = hashlib.sha256(_der(self._ct)).digest()
        sct = struct.pack("!B32sQH", 0, log_id, moment, 0) + b"\x04\x03"
        sct += struct.pack("!H", len(signed)) + signed
        listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        octets = b"\x04" + bytes([0x81, len(listed)] if len(listed) > 127 else [len(listed)])
        scts = x509.UnrecognizedExtension(_SCTS, octets + listed)
        return builder.add_extension(scts, critical=False).sign(self._ca, hashes.SHA256())

    def _entry(self, body: dict[str, Any]) -> dict[str, Any]:
        """The one entry of a log, with the promise and the proof that it is in there."""
        raw = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
        log_id, moment = hashlib.sha256(_der(self._rekor)).digest(), int(MADE_AT.timestamp())
        said = {
            "body": b64(raw),
            "integratedTime": moment,
            "logID": log_id.hex(),
            "logIndex": 0,
        }
        promise = json.dumps(said, separators=(",", ":"), sort_keys=True).encode()
        root = hashlib.sha256(b"\0" + raw).digest()
        note = f"{_ORIGIN}\n1\n{b64(root)}\n"
        signed = base64.b64encode(log_id[:4] + _sign(self._rekor, note.encode())).decode()
        return {
            "logIndex": "0",
            "logId": {"keyId": b64(log_id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(moment),
            "inclusionPromise": {"signedEntryTimestamp": b64(_sign(self._rekor, promise))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": b64(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.example {signed}\n"},
            },
            "canonicalizedBody": b64(raw),
        }
