"""Look at a certificate that was refused, so that the message can say its date or its names.

Nothing is sent to the server but a handshake, and only its authority has to be trusted.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from imgmigrate.stores.registry.http.trust import Trust

__all__ = ["OF_DATE", "OF_NAME", "describe"]

# X509_V_ERR_* of OpenSSL's x509_vfy.h: not yet valid, expired; another name, another address.
OF_DATE = frozenset({9, 10})
OF_NAME = frozenset({62, 64})
# Seconds for a handshake that is only for a better message.
PATIENCE = 5.0
MOST_NAMES = 3


async def describe(url: str, trust: Trust, code: int) -> str | None:
    """Say what the certificate of a server shows of what `code` complains about."""
    if code not in OF_DATE | OF_NAME:
        return None
    parts = urlsplit(url)
    certificate: dict[str, Any] = {}
    with suppress(OSError, ssl.SSLError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            opened = asyncio.open_connection(
                parts.hostname,
                parts.port or 443,
                ssl=trust.lenient(),
                server_hostname=parts.hostname,
            )
            _, writer = await opened
            certificate = writer.get_extra_info("peercert") or {}
            writer.transport.abort()
    return _words(certificate, code)


def _words(certificate: dict[str, Any], code: int) -> str | None:
    if code in OF_DATE:
        key, verb = ("notAfter", "it ended") if code == 10 else ("notBefore", "it begins")
        text = certificate.get(key)
        return f"{verb} {text}" if text else None
    names = [value for _, value in certificate.get("subjectAltName", ())]
    if not names:
        return None
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"it is for {', '.join(names[:MOST_NAMES])}{more}"
