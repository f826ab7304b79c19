"""What an answer means that sends us elsewhere, or that comes from elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from imgmigrate.errors import AuthenticationError, ProtocolError, StoreError, TransientError
from imgmigrate.redaction import hide
from imgmigrate.stores.registry.http.failures import diagnose, is_web_page
from imgmigrate.stores.registry.http.urls import resolve

if TYPE_CHECKING:
    from imgmigrate.stores.registry.http.answer import Answer

__all__ = [
    "REDIRECTS",
    "astray",
    "hide_signature",
    "is_of_proxy",
    "is_page",
    "of_storage",
    "pointed_at",
    "strangers_login",
]

REDIRECTS = frozenset({301, 302, 303, 307, 308})

# How storages name what makes a URL as good as a token; a date and a size stay readable.
_SIGNING = re.compile(r"(?i)sig|token|credential|policy|secret|key|password|auth")
# Characters; shorter values are names and numbers.
SHORTEST_SIGNATURE = 12


def hide_signature(url: str, subject: str) -> None:
    """Never show the parts that sign a URL, also if a server repeats them without their names.

    What names the `subject` of the request is none of them: messages need it.
    """
    for name, value in parse_qsl(urlsplit(url).query):
        if len(value) >= SHORTEST_SIGNATURE and _SIGNING.search(name) and value not in subject:
            hide(value, "url")


def astray(host: str, subject: str, answer: Answer) -> StoreError:
    """The error of a write that is sent elsewhere: nothing is written where nobody chose."""
    try:
        target = urlsplit(resolve(answer.url, answer.header("Location") or ""))
        place = f" to {target.scheme}://{target.netloc}"
    except ValueError:
        place = ""
    cause = f"{host} redirects what is written{place} ({answer.status})"
    hint = "name the registry itself in the config, with the scheme that it speaks"
    return ProtocolError(subject, cause, hint=hint, status=answer.status)


def of_storage(error: StoreError) -> StoreError:
    """A signed URL that is refused has run out: the registry gives a new one (protocol 2.3)."""
    if error.status not in (400, 401, 403):
        return error
    cause = f"the storage behind the registry refused its signed URL ({error.status})"
    return TransientError(error.subject, cause, status=error.status, code=error.code)


def strangers_login(subject: str, host: str, other: str, repo: str | None) -> StoreError:
    """The error of a read that is redirected to a registry which not everybody may read."""
    cause = f"{host} redirects to {other}, which wants a login of its own (401)"
    hint = f"name {other} in the source of the rule, with a login for it"
    return AuthenticationError(subject, cause, hint=hint, status=401, host=host, repo=repo)


def pointed_at(host: str, url: str) -> str:
    """What to do where a registry points at a server that cannot be reached."""
    there = urlsplit(url)
    if there.hostname == urlsplit(f"//{host}").hostname:
        return (
            f"{host} pointed there: what stands before it must pass on the Host header "
            "with its port"
        )
    return f"{host} pointed there, so {there.netloc} has to be reachable from here too"


def is_of_proxy(answer: Answer) -> bool:
    """Tell what a proxy that reads along says itself from what it hands over."""
    if answer.status == 407:
        return True
    is_registry = answer.header("Docker-Distribution-Api-Version") or diagnose(answer.body).code
    return answer.is_relayed and answer.status == 403 and not is_registry


def is_page(answer: Answer) -> bool:
    """Tell a page for people from a document under its label, as quay.io and gcr.io once had it."""
    is_labelled = is_web_page(answer.header("Content-Type"))
    return is_labelled and not answer.body.lstrip().startswith((b"{", b"["))
