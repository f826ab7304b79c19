"""Keep secrets and tricks out of every text that is shown: nothing of a server's is trusted.

Values that are secret are named once (`hide`) and known again in any form; what looks like a
credential is blanked whoever wrote it. No pattern here backtracks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cleaned", "hide", "printable", "redact"]

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
    # userinfo in a URL, whatever stands before its scheme
    (re.compile(r"://[^/\s@'\"]++@"), "://***@"),
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


def cleaned(text: str) -> str:
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
