"""A token server whose tokens a real docker-registry verifies: signed JWTs, as docker specifies.

Source: distribution's `docs/spec/auth/{token,jwt}.md`; release 2.8 looks for the signer's
certificate in the header's `x5c` and trusts what its `rootcertbundle` vouches for. Runs in a
thread of its own.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import trustme
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SERVICE, ISSUER = "registry.test", "tokens.test"
# Seconds that a token is said to be good for: the client will not renew it by itself.
LIFE = 300
# Seconds after its end at which a refused token arrives; distribution's leeway is 60.
OVERDUE = 120


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the token server and what the user may do in every repository."""

    password: str
    actions: frozenset[str] = frozenset({"pull", "push"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a token: who, for what, and whether the token was already over."""

    account: str | None
    scopes: tuple[str, ...]
    status: int
    overdue: bool = False


@dataclass(slots=True)
class TokenServer:
    """A running token server; `bundle` is what a registry must trust.

    The first `overdue_first` tokens for each set of scopes ended `OVERDUE` seconds ago by the
    registry's clock, as if this server's clock were late; the answer says nothing of it.
    """

    bundle: Path
    accounts: Mapping[str, Account]
    overdue_first: int
    algorithm: str
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list, repr=False)
    _key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(init=False, repr=False)
    _header: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.bundle)
        kind = trustme.KeyType.RSA if self.algorithm == "RS256" else trustme.KeyType.ECDSA
        certificate = authority.issue_cert("tokens.example", key_type=kind)
        key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
        assert isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
        self._key = key
        lines = certificate.cert_chain_pems[0].bytes().decode().splitlines()
        chain = ["".join(line for line in lines if not line.startswith("-----"))]
        self._header = {"typ": "JWT", "alg": self.algorithm, "x5c": chain}

    def answer(self, query: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Answer one GET as docker's specification says: status and document."""
        account = _account(authorization)
        scopes = tuple(" ".join(parse_qs(query).get("scope", [])).split())
        known = self.accounts.get(account[0]) if account else None
        if account and (known is None or known.password != account[1]):
            self.asked.append(Asked(account[0], scopes, 401))
            error = {"code": "UNAUTHORIZED", "message": "unknown user or wrong password"}
            return 401, {"errors": [error]}
        before = sum(one.scopes == scopes and one.status == 200 for one in self.asked)
        overdue = before < self.overdue_first
        self.asked.append(Asked(account[0] if account else None, scopes, 200, overdue))
        issued = int(time.time()) - (LIFE + OVERDUE if overdue else 0)
        actions = known.actions if known else frozenset()
        token = self._sign(account[0] if account else "", scopes, actions, issued)
        self.tokens.append(token)
        at = datetime.fromtimestamp(issued, UTC).isoformat().replace("+00:00", "Z")
        return 200, {"token": token, "expires_in": LIFE, "issued_at": at}

    def _sign(
        self, subject: str, scopes: tuple[str, ...], actions: frozenset[str], issued: int
    ) -> str:
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": SERVICE,
            "iat": issued,
            "nbf": issued,
            "exp": issued + LIFE,
            "jti": secrets.token_hex(8),
            "access": [_granted(scope, actions) for scope in scopes],
        }
        signed = f"{_encode(json.dumps(self._header))}.{_encode(json.dumps(claims))}"
        return f"{signed}.{_encode(self._signature(signed.encode()))}"

    def _signature(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@contextmanager
def serve(
    bundle: Path,
    accounts: Mapping[str, Account],
    *,
    overdue_first: int = 0,
    algorithm: str = "ES256",
) -> Iterator[TokenServer]:
    """Serve tokens on a free loopback port; write the authority of their signer to `bundle`."""
    server = TokenServer(bundle, accounts, overdue_first, algorithm)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = server.answer(
                urlsplit(self.path).query, self.headers.get("Authorization")
            )
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_port}/token"
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def _account(authorization: str | None) -> tuple[str, str] | None:
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    name, _, password = base64.b64decode(credentials).decode().partition(":")
    return name, password


def _granted(scope: str, actions: frozenset[str]) -> dict[str, Any]:
    """Grant what is asked for and allowed: less than asked is no error (protocol 1.2)."""
    rest, _, wanted = scope.rpartition(":")
    kind, _, name = rest.partition(":")
    return {"type": kind, "name": name, "actions": sorted(actions & set(wanted.split(",")))}


def _encode(data: str | bytes) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
