"""Map every way a request can fail to one error class: what the reader does next.

Pure but for knowing aiohttp's exceptions. Texts of servers go into messages only through
`StoreError`, which redacts them.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import BadHttpMessage, PayloadEncodingError
from msgspec import Struct

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    NotFound,
    ProtocolError,
    RateLimited,
    Rejected,
    StoreError,
    Symptom,
    TransientError,
)
from imgmigrate.stores.registry.quirks import EXPIRED, NO_PULLS, NO_PULLS_HINT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PARTS_MISSING",
    "Diagnosis",
    "connection_failure",
    "diagnose",
    "failure",
    "is_immutable",
    "is_markup",
    "is_throttling",
    "is_web_page",
    "proxy_refusal",
    "retry_after",
    "says_expired",
    "speaks_no_tls",
    "web_page",
]

# Heal by themselves, often: the list of crane and regclient, and Cloudflare's 52x.
TRANSIENT = frozenset({408, 425, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524})
# Quay and Harbor say 409 and 412, ECR says it in words (protocol 3.6).
_IMMUTABLE = ("immutable", "tag_already_exists", "block pushing existing tags")
_IS_IMMUTABLE = "the tag cannot be overwritten there; choose another tag or lift its protection"
# Of several errors, and of several ways to say it, what tells how to heal comes first.
PARTS_MISSING = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
# How a server says that it wants another client certificate, or one at all (RFC 8446 6.2).
_CERTIFICATE_ALERT = re.compile(
    r"ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_[A-Z]+|UNKNOWN_CA)\b"
)
_HINTS: Mapping[str, str] = {
    "NAME_UNKNOWN": "check its name",
    "NAME_INVALID": "the registry does not allow this repository name",
    "DIGEST_INVALID": "the bytes changed on their way or the source is damaged",
    "MANIFEST_BLOB_UNKNOWN": "run apply again: the registry lost a blob of this image",
}


FIRST_SERVER_ERROR = 500
_CREATE = "create the repository there, or check its name"
_POLICY = (
    "a policy of the registry keeps it from being pulled, such as a scan's findings: see there"
)
# What tells no more than its words, each of every vendor. ECR says "Images with digests '[...]'
# required for pushing image into repository ... do not exist"; others call a manifest invalid and
# say why; GitHub refuses with 403 whom it counts too many requests of.
_IN_WORDS = {
    Symptom.EXPIRED: re.compile(re.escape(EXPIRED)),
    Symptom.MEDIA_TYPE: re.compile(r"(?i)media"),
    Symptom.PARTS_MENTIONED: re.compile(
        r"(?i)required for pushing"
        r"|\b(?:blob|layer|manifest|image|config)s?\b.{0,200}"
        r"\b(?:unknown|missing|not found|(?:does|do) not exist)"
    ),
    Symptom.PARTS_REQUIRED: re.compile(r"required for pushing"),
    Symptom.RATE_LIMIT: re.compile(r"(?i)rate limit"),
    Symptom.TOO_LARGE: re.compile(r"(?i)too large|exceeds the (?:maximum|limit)"),
}
# Characters of an error's text that are looked through: more than a message shows of it.
LONGEST_SAID = 1000
_QUOTA = "free some space there, or have the quota raised"
_FULL = "the registry has no space left"
# How distribution tells what its disk said, in the details of an unknown error: ENOSPC, EDQUOT.
_DISK_SAID = re.compile(rb'"Err":\s*(?:28|122)\b|(?i:no space left on device)')
# Alibaba Cloud, to what aiohttp sends again where a connection broke: it needs a new signature.
_NONCE_USED = "SignatureNonceUsed"
# Registries, then the APIs of AWS and of Alibaba Cloud, which answer 400.
_THROTTLED = frozenset(
    {
        "TOOMANYREQUESTS",
        "TOO_MANY_REQUEST",
        "ThrottlingException",
        "TooManyRequestsException",
        "Throttling",
        "Throttling.Api",
        "Throttling.User",
    }
)


class Diagnosis(Struct, frozen=True):
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
    entries = errors if isinstance(errors, list) and errors else [document]
    # MANIFEST_INVALID is often followed by what is wrong with it (protocol 3.5).
    telling = (each for each in entries if isinstance(each, dict) and _is_telling(each))
    first = next(telling, entries[0])
    if not isinstance(first, dict):
        return Diagnosis()
    keys = ("message", "details", "error_description", "Message")
    message = next((text for key in keys if (text := _text(first, key))), None)
    # AWS names a type, perhaps in a namespace; Alibaba Cloud writes its keys in capitals.
    kind = (_text(first, "__type") or "").rpartition("#")[2]
    code = _text(first, "code") or _text(first, "error") or kind or _text(first, "Code")
    return Diagnosis(code, message)


def failure(
    subject: str,
    status: int,
    body: bytes = b"",
    *,
    after: float | None = None,
    writes: bool = True,
) -> StoreError:
    """Make the error of an answer: the status decides, what its body says refines.

    401 and 403 come out as if the credentials were at fault; `auth/authenticator.py` knows
    better. `writes` tells a request that changes something from one that only reads.
    """
    found = diagnose(body)
    text = ": ".join(part for part in (found.code, found.message) if part)
    cause = f"{_summary(status)} ({status})" + (f": {text}" if text else "")
    kind, hint, symptoms = _kind(status, found), None, _symptoms(text)
    if kind is not RateLimited and writes:
        if status < FIRST_SERVER_ERROR and "quota" in text.lower():
            kind, hint, symptoms = Rejected, _QUOTA, symptoms | {Symptom.NO_SPACE}
        elif _is_immutable(status, text):
            kind, hint, symptoms = Rejected, _IS_IMMUTABLE, symptoms | {Symptom.IMMUTABLE}
    if writes and _is_full(status, body):
        hint, symptoms = _FULL, symptoms | {Symptom.NO_SPACE}
    hint = hint or _hint(status, found, body, writes=writes)
    return kind(
        subject,
        cause,
        hint=hint,
        status=status,
        code=found.code,
        retry_after=after,
        symptoms=symptoms,
    )


def _symptoms(text: str) -> frozenset[Symptom]:
    said = text[:LONGEST_SAID]
    return frozenset(each for each, words in _IN_WORDS.items() if words.search(said))


def _hint(status: int, found: Diagnosis, body: bytes, *, writes: bool) -> str | None:
    """What to do about an answer, by its status and by what its body says."""
    if status == 400 and _wants_tls(body):
        return "it speaks TLS: remove plain_http from its entry in registries"
    if status == 431 or (status == 400 and _is_header_too_large(body)):
        return "the token is too long for the registry's front end; use credentials of fewer groups"
    if status == 404 and is_markup(body):
        return "a web page says so: check that a registry answers at this address"
    if status == 405 and found.code == "DENIED":  # Quay (protocol 3.7)
        return "the registry is in read-only mode; run apply again when it is not"
    if status == 412 and not writes:
        return _POLICY
    if status == 413:
        return "the registry or a proxy before it limits how much may be sent at once"
    if NO_PULLS in (found.message or ""):
        return NO_PULLS_HINT
    if found.code == "NAME_UNKNOWN" and writes:
        return _CREATE
    return _HINTS.get(found.code or "")


def _is_full(status: int, body: bytes) -> bool:
    """Tell a registry whose disk is full."""
    said = _DISK_SAID.search(body[: 4 * LONGEST_SAID]) if status >= FIRST_SERVER_ERROR else None
    return status == 507 or said is not None


def is_throttling(body: bytes) -> bool:
    """Tell an error's body that asks for fewer requests, whatever its status is."""
    return diagnose(body).code in _THROTTLED


def says_expired(body: bytes) -> bool:
    """Tell whether an error's body says that the credentials have ended, whatever its status."""
    return EXPIRED.encode() in body


def is_immutable(error: StoreError) -> bool:
    """Tell whether a tag was refused because it may not be written a second time."""
    return Symptom.IMMUTABLE in error.symptoms


def speaks_no_tls(error: StoreError) -> bool:
    """Tell whether a server answered a TLS handshake with something else."""
    return Symptom.NO_TLS in error.symptoms


def is_web_page(content_type: str | None) -> bool:
    """Tell a page for people, such as a login or a front end's error, from an API's answer."""
    return (content_type or "").partition(";")[0].strip().lower() == "text/html"


def is_markup(body: bytes) -> bool:
    """Tell the text of a page for people."""
    start = body[:1024].lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html"))


def web_page(subject: str, status: int) -> TransientError:
    """Make the error of a web page where a registry should have answered."""
    hint = "if it stays so: something before the registry answers for it; check the address"
    cause = f"a web page came instead of a registry's answer ({status})"
    return TransientError(subject, cause, hint=hint, status=status)


def retry_after(text: str | None, longest: float) -> float | None:
    """Seconds that a `Retry-After` header asks for, between 0 and `longest`; None if none."""
    if not text:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text), longest)
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    except (ArithmeticError, LookupError, TypeError, ValueError):  # all that the parser lets out
        return None
    return min(max(seconds, 0.0), longest)


def connection_failure(subject: str, url: str, error: Exception) -> StoreError:
    """Make the error of a request that got no answer, or only a part of one."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    cause, reason = f"{host} cannot be reached", _reason(error)
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return _untrusted(subject, host, inner)
    # TLS 1.3 tells it with the first answer: then aiohttp's error only hides ssl's.
    if (alert := _CERTIFICATE_ALERT.search(str(inner))) is not None:
        hint = f'set registries."{host}".tls.client_cert and client_key to one that it accepts'
        text = f"{host} wants a client certificate that it knows"
        return Rejected(subject, f"{text}: {alert[1].lower().replace('_', ' ')}", hint=hint)
    if isinstance(inner, ssl.SSLError) or isinstance(error, aiohttp.ClientConnectorSSLError):
        if any(
            word in str(inner) for word in ("WRONG_VERSION_NUMBER", "RECORD_LAYER", "HTTP_REQUEST")
        ):
            hint = f'if it speaks plain HTTP, set registries."{host}".plain_http: true'
            no_tls = frozenset({Symptom.NO_TLS})
            return Rejected(subject, f"{host} does not speak TLS", hint=hint, symptoms=no_tls)
        return TransientError(subject, f"TLS with {host} failed: {reason}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_refusal(subject, host, error.status)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return _unreachable(TransientError(subject, f"the proxy cannot be reached: {reason}"))
    if isinstance(error, aiohttp.ClientConnectorError):
        hint = "check the name, the network and HTTPS_PROXY"
        return _unreachable(TransientError(subject, f"{cause}: {reason}", hint=hint))
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return _unreachable(TransientError(subject, f"{host} did not answer in time"))
    if isinstance(error, TimeoutError):
        return TransientError(subject, f"{host} did not answer in time")
    if _wants_tls(str(error).encode()):
        hint = f'remove plain_http from registries."{host}"'
        return Rejected(subject, f"{host} speaks TLS and was asked in the clear", hint=hint)
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.ClientResponseError)) or _is_malformed(error):
        return ProtocolError(subject, f"{host} answered what is not HTTP: {reason}")
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return TransientError(subject, f"the connection to {host} broke: {reason}")
    return ProtocolError(subject, f"{host} cannot be asked: {reason}")


# X509_V_ERR_* of OpenSSL's x509_vfy.h: what no authority that is trusted would mend.
_CERTIFICATE_HINTS = {
    9: "check the clock of this machine, and of the one that signed it",
    10: "have the registry's certificate renewed; then try again",
    62: "use a name that the certificate is for, or have it made for this one",
    64: "use a name that the certificate is for, or have it made for this address",
}


def _untrusted(subject: str, host: str, error: ssl.SSLCertVerificationError) -> Rejected:
    hint = _CERTIFICATE_HINTS.get(error.verify_code)
    if hint is None:
        hint = f'set registries."{host}".tls.ca_file to the authority that signed it'
        text = f"the certificate of {host} is not trusted: {error.verify_message}"
    else:
        text = f"the certificate of {host} cannot be used: {error.verify_message}"
    return Rejected(subject, text, hint=hint)


def proxy_refusal(subject: str, host: str, status: int) -> StoreError:
    """Make the error of a proxy that stands between and does not let us through to `host`."""
    if status in TRANSIENT:
        cause = f"the proxy cannot reach {host} ({status})"
        return _unreachable(TransientError(subject, cause, status=status))
    cause = f"the proxy does not let us through to {host} ({status})"
    hint = f"have {host} allowed there, or name it in NO_PROXY"
    if status == 407:
        hint = "check the user and password in the proxy's URL"
        cause = f"the proxy wants credentials ({status})"
    return Rejected(subject, cause, hint=hint, status=status)


def _unreachable(error: TransientError) -> TransientError:
    error.is_unreachable = True
    return error


def _is_malformed(error: Exception) -> bool:
    """Tell a body that breaks HTTP from one that only ended early.

    Which of aiohttp's errors says so depends on how much had arrived when it was noticed.
    """
    cause = error.__cause__
    return isinstance(cause, BadHttpMessage) and not isinstance(cause, PayloadEncodingError)


def _is_telling(entry: dict[str, Any]) -> bool:
    return _text(entry, "code") in PARTS_MISSING


def _is_immutable(status: int, text: str) -> bool:
    lower = text.lower()
    return status in (400, 403, 405, 409, 412) and (
        status in (409, 412) or any(word in lower for word in _IMMUTABLE)
    )


def _wants_tls(text: bytes) -> bool:
    """Tell what Go's server and nginx say to plain HTTP where they speak TLS."""
    return b"HTTP request to an HTTPS server" in text or b"HTTP request was sent to HTTPS" in text


def _is_header_too_large(body: bytes) -> bool:
    """Tell the front ends of ACR that refuse long tokens (protocol 1.3)."""
    return b"Header Or Cookie Too Large" in body or b"Request Too Long" in body


def _kind(status: int, found: Diagnosis) -> type[StoreError]:
    if status == 429 or found.code in _THROTTLED:
        return RateLimited
    if status in TRANSIENT or found.code == _NONCE_USED:
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
        407: "the proxy wants credentials",
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
    # asyncio says "Connect call failed ('10.0.0.1', 443)"; the system says why.
    number = inner.errno if isinstance(inner, OSError) else None
    if number is not None and not isinstance(inner, ssl.SSLError):
        return os.strerror(number)
    text = getattr(inner, "strerror", None) or getattr(inner, "message", None) or str(inner)
    return str(text) or type(inner).__name__


def _text(entry: dict[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) and value else None
