"""Make certificates for loopback servers and their clients, by an authority nobody else trusts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a server and its clients need; `tls.pem` and `tls.key` stand beside `ca_file`.

    `client_cert` and `client_key` are of the same authority; the context `client` has them too,
    for servers that ask.
    """

    ca_file: Path
    client_cert: Path
    client_key: Path
    server: ssl.SSLContext
    client: ssl.SSLContext


def make_certificates(folder: Path) -> Certificates:
    """Write a new authority and certificates for 127.0.0.1 and for a client into `folder`."""
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    _write(authority.issue_cert("127.0.0.1", "localhost"), folder, "tls")
    _write(authority.issue_cert("mover@client.example"), folder, "client")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    client = ssl.create_default_context(cafile=str(ca_file))
    cert, key = folder / "client.pem", folder / "client.key"
    client.load_cert_chain(cert, key)
    return Certificates(ca_file, cert, key, server, client)


def _write(certificate: trustme.LeafCert, folder: Path, name: str) -> None:
    certificate.private_key_pem.write_to_path(folder / f"{name}.key")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / f"{name}.pem").write_bytes(chain)
