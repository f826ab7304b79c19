"""Map every way a request can fail to one error class: what the reader does next.

Pure but for knowing aiohttp's exceptions. Texts of servers go into messages only through
`StoreError`, which redacts them.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    NotFound,
    ProtocolError,
    RateLimited,
    Rejected,
    StoreError,
    TransientError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Diagnosis", "connection_failure", "diagnose", "failure", "retry_after"]

# Heal by themselves, often: the list of crane and regclient, and Cloudflare's 52x.
TRANSIENT = frozenset({408, 425, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524})
# Quay and Harbor say 409 and 412, ECR says it in words (protocol 3.6).
_IMMUTABLE = ("immutable", "TAG_ALREADY_EXISTS")
_HINTS: Mapping[str, str] = {
    "NAME_UNKNOWN": "create the repository there, or check its name",
    "NAME_INVALID": "the registry does not allow this repository name",
    "DIGEST_INVALID": "the bytes changed on their way or the source is damaged",
    "MANIFEST_BLOB_UNKNOWN": "run apply again: the registry lost a blob of this image",
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The first error that a body reports: `{"errors": [{"code", "message"}]}` or plainer forms."""

    code: str | None = None
    message: str | None = None


def diagnose(body: bytes) -> Diagnosis:
    """Read an error body of any format; HTML and other surprises say nothing."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return Diagnosis()
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else document
    if not isinstance(first, dict):
        return Diagnosis()
    message = (
        _text(first, "message") or _text(first, "details") or _text(first, "error_description")
    )
    return Diagnosis(_text(first, "code") or _text(first, "error"), message)


def failure(
    subject: str, status: int, body: bytes = b"", *, after: float | None = None
) -> StoreError:
    """Make the error of an answer: the status decides, the code in its body refines.

    401 and 403 come out as if the credentials were at fault; `auth.py` knows better.
    """
    found = diagnose(body)
    text = ": ".join(part for part in (found.code, found.message) if part)
    cause = f"{_summary(status)} ({status})" + (f": {text}" if text else "")
    kind = _kind(status, found)
    hint = _HINTS.get(found.code or "")
    if any(word in text for word in _IMMUTABLE) or (status in (409, 412) and kind is Rejected):
        hint = "the tag cannot be overwritten there; choose another tag or lift its protection"
    if kind is RateLimited and "increase-rate-limit" in text:
        hint = "log in to Docker Hub or wait until its pull limit renews"
    if status == 413:
        hint = "the registry or a proxy before it limits how much may be sent at once"
    return kind(subject, cause, hint=hint, status=status, code=found.code, retry_after=after)


def retry_after(text: str | None, longest: float) -> float | None:
    """Seconds that a `Retry-After` header asks for, between 0 and `longest`; None if none."""
    if not text:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text), longest)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), longest)


def connection_failure(subject: str, url: str, error: Exception) -> StoreError:
    """Make the error of a request that got no answer, or only a part of one."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    cause, reason = f"{host} cannot be reached", _reason(error)
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        hint = f'set registries."{host}".tls.ca_file to the authority that signed it'
        text = f"the certificate of {host} is not trusted: {inner.verify_message}"
        return Rejected(subject, text, hint=hint)
    if isinstance(inner, ssl.SSLError) or isinstance(error, aiohttp.ClientConnectorSSLError):
        if any(
            word in str(inner) for word in ("WRONG_VERSION_NUMBER", "RECORD_LAYER", "HTTP_REQUEST")
        ):
            hint = f'if it speaks plain HTTP, set registries."{host}".plain_http: true'
            return Rejected(subject, f"{host} does not speak TLS", hint=hint)
        return TransientError(subject, f"TLS with {host} failed: {reason}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return failure(f"{subject} through the proxy", error.status)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return TransientError(subject, f"the proxy cannot be reached: {reason}")
    if isinstance(error, aiohttp.ClientConnectorError):
        hint = "check the name, the network and HTTPS_PROXY"
        return TransientError(subject, f"{cause}: {reason}", hint=hint)
    if isinstance(error, TimeoutError):
        return TransientError(subject, f"{host} did not answer in time")
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.ClientResponseError)):
        return ProtocolError(subject, f"{host} answered what is not HTTP: {reason}")
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return TransientError(subject, f"the connection to {host} broke: {reason}")
    return ProtocolError(subject, f"{host} cannot be asked: {reason}")


def _kind(status: int, found: Diagnosis) -> type[StoreError]:
    if status == 429 or found.code in ("TOOMANYREQUESTS", "TOO_MANY_REQUEST"):
        return RateLimited
    if status in TRANSIENT:
        return TransientError
    if status == 401:
        return AuthenticationError
    if status == 403:
        return AccessDenied
    if status in (404, 410):
        return NotFound
    return Rejected if status >= 400 else ProtocolError


def _summary(status: int) -> str:
    return {
        401: "not authenticated",
        403: "denied",
        404: "not found",
        405: "not allowed",
        413: "too large",
        415: "media type refused",
        429: "too many requests",
    }.get(
        status, "failed" if status >= 500 else "refused" if status >= 400 else "unexpected answer"
    )


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, socket.gaierror):
        return "its name does not resolve"
    text = getattr(inner, "strerror", None) or getattr(inner, "message", None) or str(inner)
    return str(text) or type(inner).__name__


def _text(entry: dict[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) and value else None
