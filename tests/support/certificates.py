"""Make certificates for loopback servers, signed by an authority nobody else trusts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a server and its clients need; `tls.pem` and `tls.key` stand beside `ca_file`."""

    ca_file: Path
    server: ssl.SSLContext
    client: ssl.SSLContext


def make_certificates(folder: Path) -> Certificates:
    """Write a new authority and a certificate for 127.0.0.1 and localhost into `folder`."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / "tls.pem").write_bytes(chain)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    return Certificates(folder / "ca.pem", server, client)
