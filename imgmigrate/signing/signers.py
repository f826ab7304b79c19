"""Who signs: a private key in a PEM file, or a program that has one elsewhere (a KMS).

The program gets the bytes on its standard input and prints the signature, in base64 or raw. It is
all that this room runs. `cryptography` is imported when a key is read: ImportError means that
it is not installed.
"""

from __future__ import annotations

import base64
import binascii
import subprocess
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from imgmigrate.signing.keys import LONGEST_SIGNATURE, key_id_of

__all__ = ["CommandSigner", "KeySigner", "read_private_key"]

# In s: a KMS answers in one; a person who touches a token takes longer.
LONGEST_WAIT = 300.0
# Characters of what a program that failed said.
LONGEST_COMPLAINT = 300


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A private key that was read from a file."""

    key_id: str
    _key: Any = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """Sign with SHA-256, as cosign does for every key; RSA by PKCS #1 v1.5."""
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.hashes import SHA256

        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(message, ec.ECDSA(SHA256()))
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, padding.PKCS1v15(), SHA256())
        return bytes(self._key.sign(message))


class CommandSigner(Struct, frozen=True):
    """A program and its arguments; it runs without a shell."""

    command: tuple[str, ...]
    key_id: str = ""

    def sign(self, message: bytes) -> bytes:
        """Let the program sign; ValueError if it fails, or prints no signature."""
        try:
            done = subprocess.run(
                self.command, input=message, capture_output=True, timeout=LONGEST_WAIT, check=False
            )
        except OSError as error:
            msg = f"{self.command[0]} cannot be run: {error.strerror}"
            raise ValueError(msg) from None
        except subprocess.TimeoutExpired:
            msg = f"{self.command[0]} did not answer within {LONGEST_WAIT:.0f} s"
            raise ValueError(msg) from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-LONGEST_COMPLAINT:]
            msg = f"{self.command[0]} failed (exit {done.returncode}){': ' if said else ''}{said}"
            raise ValueError(msg)
        signature = _decoded(done.stdout)
        if not 0 < len(signature) <= LONGEST_SIGNATURE:
            msg = f"{self.command[0]} printed no signature"
            raise ValueError(msg)
        return signature


def read_private_key(data: bytes, passphrase: bytes | None) -> KeySigner:
    """Read a PEM file; ValueError says why it cannot sign. The passphrase is of encrypted ones."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if b"SIGSTORE PRIVATE KEY-----" in data or b"COSIGN PRIVATE KEY-----" in data:
        msg = "it is a key in cosign's own form: name a command instead that signs with it"
        raise ValueError(msg)
    is_encrypted = b"ENCRYPTED" in data
    if is_encrypted and not passphrase:
        msg = "its key is encrypted, and there is no passphrase"
        raise ValueError(msg)
    try:
        key = serialization.load_pem_private_key(data, passphrase if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        wrong = " with this passphrase" if is_encrypted else ""
        msg = f"its private key cannot be read{wrong}"
        raise ValueError(msg) from None
    return KeySigner(key_id_of(key.public_key()), key)


def _decoded(printed: bytes) -> bytes:
    """What a program printed, in base64 over any number of lines, or as it is."""
    try:
        return base64.b64decode(b"".join(printed.split()), validate=True)
    except binascii.Error:
        return printed
