"""What we sign: envelopes that others verify, by keys in files and by programs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from imgmigrate.oci.reference import Digest
from imgmigrate.signing.dsse import make_statement, seal
from imgmigrate.signing.keys import read_public_key
from imgmigrate.signing.signers import CommandSigner, read_private_key
from tests.support.signing import ED25519, P256, P384, RSA, hint_of, public_pem

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = Digest.of(b"image")
KEYS = {"p256": P256, "p384": P384, "rsa": RSA, "ed25519": ED25519}


def private_pem(key: Any, passphrase: bytes | None = None) -> bytes:
    """The private half, as `openssl genpkey` writes it."""
    protection = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(encoding, form, protection))


def opened(envelope: bytes) -> tuple[bytes, bytes, str]:
    """What an envelope says was signed, by the specification and not by us; signature and key."""
    document = json.loads(envelope)
    [entry] = document["signatures"]
    kind = document["payloadType"].encode()
    payload = base64.b64decode(document["payload"])
    message = b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload])
    return message, base64.b64decode(entry["sig"]), entry["keyid"]


def openssl_verifies(folder: Path, key: Any, message: bytes, signature: bytes) -> bool:
    """Ask `openssl`."""
    public, signed, said = folder / "key.pub", folder / "signature", folder / "message"
    public.write_bytes(public_pem(key))
    signed.write_bytes(signature)
    said.write_bytes(message)
    words: list[str | Path]
    if key is ED25519:
        words = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in", said]
        words += ["-sigfile", signed]
    else:
        words = ["dgst", "-sha256", "-verify", public, "-signature", signed, said]
    done = subprocess.run(["openssl", *words], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("name", KEYS)
def test_openssl_bears_out_what_a_key_signs(name: str, tmp_path: Path) -> None:
    """Also where the key was encrypted; a byte more, and it does not."""
    key = KEYS[name]
    payload = make_statement([("new.example/a:1", IMAGE)], "urn:example:1", {"a": "ü"})
    for given, passphrase in ((None, None), (b"secret", b"secret")):
        signer = read_private_key(private_pem(key, given), passphrase)
        message, signature, key_id = opened(seal(payload, signer))
        assert key_id == hint_of(key)
        assert message.endswith(payload)
        assert openssl_verifies(tmp_path, key, message, signature)
        assert not openssl_verifies(tmp_path, key, message + b" ", signature)
        assert read_public_key(public_pem(key), "k").verifies(signature, message)


def test_a_statement_is_one_of_in_toto() -> None:
    """Its subjects by name and digest."""
    assert json.loads(make_statement([("a", IMAGE)], "urn:example:1", {"b": 1})) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a", "digest": {"sha256": IMAGE.hex}}],
        "predicateType": "urn:example:1",
        "predicate": {"b": 1},
    }


@pytest.mark.parametrize(
    ("data", "passphrase", "why"),
    [
        (b"", None, "cannot be read"),
        (public_pem(P256), None, "cannot be read"),
        (private_pem(P256, b"secret"), None, "no passphrase"),
        (private_pem(P256, b"secret"), b"wrong", "with this passphrase"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", b"x", "cosign's own form"),
        (private_pem(rsa.generate_private_key(65537, 1024)), None, "none of"),
    ],
)
def test_a_key_that_cannot_sign_is_refused(data: bytes, passphrase: bytes | None, why: str) -> None:
    """With the reason, and before anything is signed."""
    with pytest.raises(ValueError, match=why):
        read_private_key(data, passphrase)


@pytest.mark.parametrize("is_raw", [True, False])
def test_a_program_gets_the_bytes_and_prints_the_signature(tmp_path: Path, is_raw: bool) -> None:
    """Raw as `openssl` does, or in base64 with lines as a KMS does."""
    key = tmp_path / "key.pem"
    key.write_bytes(private_pem(P256))
    command: tuple[str, ...] = ("openssl", "dgst", "-sha256", "-sign", str(key))
    if not is_raw:
        command = ("sh", "-c", f"openssl dgst -sha256 -sign {key} | base64 -w 20")
    message, signature, key_id = opened(seal(b"{}", CommandSigner(command)))
    assert key_id == ""
    assert openssl_verifies(tmp_path, P256, message, signature)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.exit('no such key')", r"failed \(exit 1\): no such key"),
        ("pass", "printed no signature"),
        ("print('QUJD' * 5000)", "printed no signature"),
    ],
)
def test_a_program_that_does_not_sign_is_told(code: str, why: str) -> None:
    """With what it said."""
    with pytest.raises(ValueError, match=why):
        CommandSigner((sys.executable, "-c", code)).sign(b"x")


def test_a_program_that_is_not_there_is_told() -> None:
    """By its name."""
    with pytest.raises(ValueError, match="/no/such cannot be run"):
        CommandSigner(("/no/such",)).sign(b"x")
