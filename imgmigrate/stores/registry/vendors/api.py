"""Ask a vendor's own API: JSON in pages, bounded, and at one host only.

What a server says of the next page is followed at the API's own origin only: the authorization
goes along.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.errors import ProtocolError
from imgmigrate.oci.documents import refuse_bomb
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.auth.challenges import parse_challenges
from imgmigrate.stores.registry.http.limits import TAGS_BODY
from imgmigrate.stores.registry.http.urls import LINK_HINT, next_link, next_page
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["PAGE", "Api", "after_link", "api_root", "challenge_of", "entries"]

# The most that Harbor, GitLab, GitHub, Docker Hub, ECR and ACR give at once.
PAGE = 100
# A million repositories; a server that goes on and on is an attack.
MOST_PAGES = 10_000
MOST_NAMES = 1_000_000
# What one page of 100 repositories with all their details cannot reach.
MOST_ELEMENTS = 1_000_000


class Api(Struct, frozen=True):
    """The API at `root`, `scheme://host[:port]`, asked on behalf of a registry.

    `sign` makes the headers that sign a request, of its method, URL and body, where that is
    what the API wants instead of an authorization.
    """

    remote: Remote
    root: str
    authorization: str | None = None
    sign: Callable[[str, str, bytes], Awaitable[Mapping[str, str]]] | None = None

    @property
    def subject(self) -> str:
        """What is asked, for messages."""
        return f"{self.remote.host} (list of repositories)"

    async def get(
        self, target: str, *, data: Mapping[str, str] | None = None
    ) -> tuple[Any, Answer]:
        """Ask for one document; `data` is posted as JSON."""
        if data is None:
            return await self.send("GET", target)
        body = json.dumps(data).encode()
        return await self.send("POST", target, body, {"Content-Type": "application/json"})

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> tuple[Any, Answer]:
        """Send one request, with `extra` headers, and read the document that it is answered."""
        headers = {"Accept": "application/json", "X-Is-Resource-Name": "true", **(extra or {})}
        url = f"{self.root}{target}" if target.startswith("/") else target
        sign = partial(self.sign, method, url, body or b"") if self.sign else None
        call = Call(
            method,
            url,
            self.subject,
            Access(),
            headers=headers,
            data=body,
            limit=TAGS_BODY,
            document=True,
        )
        answer = await self.remote.ask(call, self.authorization, sign=sign)
        try:
            refuse_bomb(answer.body, MOST_ELEMENTS)
            return json.loads(answer.body), answer
        except (ValueError, RecursionError):
            raise ProtocolError(self.subject, "its answer is not JSON") from None

    async def walk(
        self,
        target: str,
        names: Callable[[Any], Iterable[str]],
        following: Callable[[Any, Answer], str | None],
    ) -> list[str]:
        """Collect the names of every page; ProtocolError if the pages do not end.

        What is `following` a page is a target at the API's origin.
        """
        path = target.partition("?")[0]

        def followed(document: Any, answer: Answer) -> str | None:
            link = following(document, answer)
            return None if link is None else self._followed(path, answer, link)

        return await self.collect(target, self.get, names, followed)

    async def collect(
        self,
        first: str,
        ask: Callable[[str], Awaitable[tuple[Any, Answer]]],
        names: Callable[[Any], Iterable[str]],
        following: Callable[[Any, Answer], str | None],
    ) -> list[str]:
        """Collect the names of every page as `walk` does; `ask` gets a page by what names it."""
        found: dict[str, None] = {}
        visited: set[str] = set()
        page: str | None = first
        while page is not None:
            if page in visited or len(visited) >= MOST_PAGES:
                raise ProtocolError(self.subject, "its pages do not end")
            visited.add(page)
            document, answer = await ask(page)
            try:
                found |= dict.fromkeys(names(document))
                page = following(document, answer)
            except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
                raise ProtocolError(self.subject, "its answer is not a list of them") from None
            if len(found) > MOST_NAMES:
                raise ProtocolError(self.subject, "its pages do not end")
        return list(found)

    def _followed(self, path: str, answer: Answer, link: str) -> str:
        try:
            return next_page(self.root, path, answer.url, link)
        except ValueError as error:
            raise ProtocolError(self.subject, f"its pages: {error}", hint=LINK_HINT) from None

    def check_count(self, stated: object, found: int) -> None:
        """Refuse a list that is shorter than it is said to be."""
        if isinstance(stated, int) and found < stated:
            cause = f"it lists {found} of {stated} repositories"
            raise ProtocolError(self.subject, cause, hint="run the same command again")


def api_root(remote: Remote) -> str:
    """Where a vendor's own API is: at a host of its own, with TLS always, or at the registry."""
    place = remote.quirks.listing_host
    return f"https://{place}" if place else remote.origin


async def challenge_of(remote: Remote) -> tuple[str, str]:
    """The service and the realm that the registry's challenges name; empty where none does."""
    pong = await remote.auth.greet()
    service = realm = ""
    for challenge in parse_challenges(pong.headers("WWW-Authenticate")):
        service = service or challenge.get("service") or ""
        realm = realm or challenge.get("realm") or ""
    return service, remote.wire.resolve(remote.host, pong.url, realm) if realm else ""


def after_link(_: Any, answer: Answer) -> str | None:
    """The next page, where it is told by `Link`; ValueError if that cannot be told."""
    return next_link(answer.headers("Link"))


def entries(document: Any) -> list[Mapping[str, Any]]:
    """The entries of a page; `null` is an empty one."""
    if document is None:
        return []
    if not isinstance(document, list):
        raise TypeError
    return document
