"""Every error that a user can meet, as one tree.

ImgmigrateError                    1   anything that stopped the work
├── UsageError                    64   the command line asks for what cannot be
│   └── ConfigError               64   the config is wrong; names file, line, key and fix
├── GuardError                     6   a guard of the user's own refused
├── PlanRefused                    4   the plan is damaged, edited, mismatched or too old
├── StateError                     1   the state is damaged or cannot be written
│   ├── StateLocked                5   somebody else is writing
│   └── StateUnsaved               8   images moved, their records could not be written
├── Interrupted          129/130/143   a signal stopped the run; the state is consistent
└── StoreError                     1   an endpoint refused, failed or lied
    ├── AuthenticationError        1   the credentials themselves were refused or are missing
    ├── AccessDenied               1   the credentials are good, the right is missing
    ├── NotFound                   1   the object is not there
    ├── Dangling                   1   a list names it, and it is not there
    ├── Rejected                   1   the endpoint will never take this request
    │   └── Archived               1   it is there, and cannot be read before it is restored
    ├── TransientError             1   trying again may help
    │   └── RateLimited            1   trying again later will help
    ├── QuotaExhausted             1   nothing is left to ask for, and the user does not wait
    ├── ProtocolError              1   the answer breaks the specification, or is an attack
    └── IntegrityError             1   bytes do not match their digest or size

A class says what its reader does next; its `exit_code` is what the process says. Text that
comes from a server is untrusted: every message is redacted and made printable when the
error is constructed, so that no log, plan or terminal has to think of it again.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "AccessDenied",
    "Archived",
    "AuthenticationError",
    "ConfigError",
    "Dangling",
    "GuardError",
    "ImgmigrateError",
    "IntegrityError",
    "Interrupted",
    "NotFound",
    "PlanRefused",
    "ProtocolError",
    "QuotaExhausted",
    "RateLimited",
    "Rejected",
    "Side",
    "StateError",
    "StateLocked",
    "StateUnsaved",
    "StoreError",
    "TransientError",
    "UsageError",
    "hide",
    "on_side",
    "printable",
    "redact",
]

Side = Literal["source", "destination"]

# A shorter secret would mask ordinary words in every message.
SHORTEST_SECRET = 4
# What a server hands out may be any word of its choice, to blank our messages with.
SHORTEST_ISSUED = 8
# So many values that servers handed out are remembered, the latest: a run meets thousands.
MOST_ISSUED = 4096
MOST_PASSING = 1024
# Characters of a server's text that are looked through: far more than any message shows.
LONGEST_TEXT = 8192

Origin = Literal["own", "token", "url"]
# Every form in which each may come back, by where it is from; dicts, for their order.
_secrets: dict[Origin, dict[str, None]] = {"own": {}, "token": {}, "url": {}}
_limits: dict[Origin, int] = {"token": MOST_ISSUED, "url": MOST_PASSING}

# No part can match in two ways, and none runs over the text more than once for every start:
# whoever writes an error must not choose how long we look at it.
_SENSITIVE = (
    # userinfo in a URL
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,15}://)[^/\s@'\"]++@"), r"\1***@"),
    # signed URLs of S3, Azure, GCS and CloudFront, and tokens in queries or forms
    (
        re.compile(
            r"(?i)\b((?:x-(?:amz|goog)-[a-z-]{1,40}+|sig|signature|policy|key-pair-id|token"
            r"|access_token|refresh_token|password|client_secret|_state)=)[^&\s'\"]++"
        ),
        r"\1***",
    ),
    # a JSON Web Token, also one that we never saw whole
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){0,2}"), "***"),
    # "Basic authentication" is a phrase; a credential has digits or capitals.
    (
        re.compile(r"\b((?i:bearer|basic))\s++(?=[^\sA-Z0-9]*+[A-Z0-9])[A-Za-z0-9._~+/=-]{8,}+"),
        r"\1 ***",
    ),
    (
        re.compile(
            r"(?i)(\"(?:token|access_token|refresh_token|password|secret)\"\s*+:\s*+\")[^\"]*+"
        ),
        r"\1***",
    ),
)

_ESCAPE = re.compile("%[0-9A-F]{2}")
# Characters of a line of a secret that is one by itself.
LONG_LINE = 16
# C0 and C1 controls, and the characters that reorder or hide text (Unicode TR 36).
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
# GitHub runs `::name::` at the start of a line and `##[name]` anywhere, Azure `##vso[name]`:
# lines are wrapped, so any word may come to stand at a start. An IPv6 address has no g to z.
_COMMANDS = re.compile(r"::(?=[A-Za-z-]{0,20}[G-Zg-z-])|##(?=\[|(?i:vso|teamcity)\[)")


def hide(secret: str | None, origin: Origin = "own") -> None:
    """Never show this value again in any error or log text, in any form that it may come back in.

    Of what a server handed out, a `token` or a part of a `url`, the latest are remembered.
    """
    shortest = SHORTEST_SECRET if origin == "own" else SHORTEST_ISSUED
    if not secret or len(secret) < shortest:
        return
    known = _secrets[origin]
    for form in _forms(secret):
        known.pop(form, None)
        known[form] = None
    while len(known) > _limits.get(origin, len(known)):
        del known[next(iter(known))]


def _forms(secret: str) -> Iterator[str]:
    """The ways in which servers and libraries write a value that they repeat."""
    import html
    import json
    from base64 import b64encode
    from urllib.parse import quote, quote_plus

    yield from (secret, repr(secret)[1:-1], html.escape(secret))
    yield from (json.dumps(secret, ensure_ascii=each)[1:-1] for each in (True, False))
    for escaped in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield from (escaped, _ESCAPE.sub(lambda found: found[0].lower(), escaped))
    yield b64encode(secret.encode(errors="surrogatepass")).decode()
    # A key of several lines may be shown line by line.
    yield from (line for line in secret.split("\n") if len(line) >= LONG_LINE)


def redact(text: str) -> str:
    """Blank out credentials, tokens and signatures."""
    return _without_patterns(_without_secrets(text))


def _without_secrets(text: str) -> str:
    forms = {form for known in _secrets.values() for form in known if form in text}
    for form in sorted(forms, key=len, reverse=True):  # one may be a part of another
        text = text.replace(form, "***")
    return text


def _without_patterns(text: str) -> str:
    for pattern, replacement in _SENSITIVE:
        text = pattern.sub(replacement, text)
    return text


def _cleaned(text: str) -> str:
    """Redact a text of a server, of which no more is looked at than a message can show.

    It is cut behind the secrets, for a half of one would not be known again.
    """
    return _without_patterns(_without_secrets(text)[:LONGEST_TEXT])


def printable(text: str, limit: int = 400) -> str:
    """Make untrusted text safe for one line of a terminal or a CI log.

    At most `limit` characters, no controls, and nothing that a CI system takes for a command.
    """
    text = _UNPRINTABLE.sub(" ", text).strip()
    text = _COMMANDS.sub(lambda found: " ".join(found[0]), text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class ImgmigrateError(Exception):
    """Say what failed, why, and what to do; the root of every error a caller may catch."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = "\n".join(printable(line, 2000) for line in redact(message).split("\n"))
        self.hint = printable(redact(hint)) if hint else None
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(ImgmigrateError):
    """The command line, or its combination with the config, cannot be carried out."""

    exit_code = 64


class ConfigError(UsageError):
    """The config is wrong at a place: file, line, key, and how to mend it."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.file, self.line, self.key = file, line, key
        place = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(": ".join(part for part in (place, key, message) if part), hint=hint)

    def altered(self, change: Callable[[str], str]) -> ConfigError:
        """Make the same error with other words."""
        hint = change(self.hint) if self.hint else None
        made = ConfigError(change(self.message), hint=hint)
        made.file, made.line, made.key = self.file, self.line, self.key
        return made


class GuardError(ImgmigrateError):
    """A guard that the user set (`min`, `max_delete`, a policy) refused."""

    exit_code = 6


class PlanRefused(ImgmigrateError):
    """The plan may not be applied here: damaged, edited, mismatched or too old."""

    exit_code = 4


class StateError(ImgmigrateError):
    """The state is damaged or cannot be written; nothing was changed."""


class StateLocked(StateError):
    """Another process is writing this state."""

    exit_code = 5


class StateUnsaved(StateError):
    """Images moved, but their records could not be written; a recovery file is named."""

    exit_code = 8


class Interrupted(ImgmigrateError):
    """A signal ended the run; what was recorded is consistent."""

    def __init__(self, signal_number: int, message: str, *, hint: str | None = None) -> None:
        self.signal_number = signal_number
        super().__init__(message, hint=hint)


class StoreError(ImgmigrateError):
    """An endpoint refused, failed or lied; names the side once it is known, and the object."""

    def __init__(
        self,
        subject: str,
        cause: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.side: Side | None = None
        subject, cause = _cleaned(subject), _cleaned(cause)
        self.subject, self.cause = printable(subject), printable(cause)
        self.status, self.code, self.retry_after = status, code, retry_after
        # One line, whatever a server says: only our own messages may have several.
        lines = (printable(part, 2000) for part in (subject, cause))
        super().__init__(": ".join(lines), hint=hint)

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.side} {text}" if self.side else text


class AuthenticationError(StoreError):
    """The credentials were refused, or there are none where some are needed."""


class AccessDenied(StoreError):
    """The credentials were accepted, but lack the right for this object."""


class NotFound(StoreError):
    """The repository, tag, manifest or blob is not there."""


class Dangling(StoreError):
    """A repository lists the tag and has no manifest for it: whether it is gone is not known."""


class Rejected(StoreError):
    """The endpoint will not take this request however often it is sent."""


class Archived(Rejected):
    """The image is there, and its registry gives it to nobody until it is restored."""


class TransientError(StoreError):
    """The network or the endpoint failed in a way that may pass.

    `is_spent` says that it was tried as often as may be: whoever is further out tries no more.
    """

    is_spent = False


class RateLimited(TransientError):
    """The endpoint asks for a pause; `retry_after` seconds if it said so."""


class QuotaExhausted(StoreError):
    """The endpoint's quota is used up, and the user wants to stop rather than wait.

    Ends the run; the same plan goes on later.
    """


class ProtocolError(StoreError):
    """The answer breaks the specification, or is an attack."""


class IntegrityError(StoreError):
    """Bytes do not match the digest or size that was asked for."""


@contextmanager
def on_side(side: Side) -> Iterator[None]:
    """Name the side in every `StoreError` that passes and does not know its own yet."""
    try:
        yield
    except StoreError as error:
        error.side = error.side or side
        raise
