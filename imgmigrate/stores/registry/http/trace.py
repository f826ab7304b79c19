"""Log each request, for whoever asks a registry's support why: a line at level debug.

Headers and bodies are never looked at, so no login can be in a line; what is in a URL is told
by name. A line comes with the headers of an answer: a body that is read then is not in its time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imgmigrate.errors import ImgmigrateError
from imgmigrate.redaction import printable, redact
from imgmigrate.stores.retries import attempt_number

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.http.session import Request

__all__ = ["is_traced", "shown", "traced"]

logger = logging.getLogger(__name__)

# Parameters that say what is asked for. Any other may be what makes a URL as good as a token.
_PLAIN = frozenset(
    (
        *("artifactType", "digest", "from", "last", "limit", "mount", "n"),
        *("page", "page_size", "scope", "service", "tag"),
    )
)
# Characters; a signed URL has some thousand, and names of repositories at most 255.
LONGEST_LINE = 2000


def is_traced() -> bool:
    """Tell whether anybody wants to read of requests."""
    return logger.isEnabledFor(logging.DEBUG)


async def traced(
    request: Request, send: Callable[[Request], Coroutine[Any, Any, Answer]]
) -> Answer:
    """Send a request, and log what came of it."""
    began = time.monotonic()
    try:
        answer = await send(request)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            outcome = "given up"
        else:
            cause = error.cause if isinstance(error, ImgmigrateError) else type(error).__name__
            outcome = f"failed ({cause})"
        _log(request, outcome, began, "")
        raise
    _log(request, str(answer.status), began, _bytes(request, answer))
    return answer


def shown(url: str) -> str:
    """A URL without what may sign it or log in: user info and the values of most parameters."""
    parts = urlsplit(url)
    query = "&".join(map(_parameter, filter(None, parts.query.split("&"))))
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}{'?' if query else ''}{query}"


def _parameter(text: str) -> str:
    name, equals, _ = text.partition("=")
    if name in _PLAIN:
        return text
    return f"{name}=***" if equals else "***"


def _bytes(request: Request, answer: Answer) -> str:
    if request.body is not None:
        return f", {request.body.length} bytes sent"
    if request.method == "HEAD":
        return ""
    return f", {'?' if answer.length is None else answer.length} bytes"


def _log(request: Request, outcome: str, began: float, size: str) -> None:
    took = f"{(time.monotonic() - began) * 1000:.0f} ms"
    text = f"{request.method} {shown(request.url)} {outcome}, {took}"
    text = f"{text}, attempt {attempt_number.get()}{size}"
    logger.debug("%s", printable(redact(text), LONGEST_LINE))
