"""Requests to one registry as they go out: where they go, and who may be followed.

Knows no login and no limit: what to send as `Authorization` is given, and when to send is
`remote.py`'s. Credentials are sent to the registry's own origin only, wherever it points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import ProtocolError, TransientError
from imgmigrate.stores.registry.http.limits import MOST_REDIRECTS
from imgmigrate.stores.registry.http.session import Body, Http, Request
from imgmigrate.stores.registry.http.urls import resolve, same_origin
from imgmigrate.stores.registry.wire.redirects import REDIRECTS, astray, hide_signature, pointed_at

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from imgmigrate.stores.registry.auth.access import Grant
    from imgmigrate.stores.registry.auth.guests import Guests
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.http.trust import Trust
    from imgmigrate.stores.registry.wire.calls import Call
    from imgmigrate.stores.registry.wire.notices import Notices

__all__ = ["READS", "Wire"]

READS = frozenset({"GET", "HEAD"})


class Wire:
    """The way to one registry at `origin`; storage that it points at sees us as `guests` do."""

    def __init__(
        self,
        host: str,
        origin: str,
        http: Http,
        trust: Trust,
        guests: Guests,
        notices: Notices,
    ) -> None:
        self._host, self._http, self._trust = host, http, trust
        self._guests, self._notices = guests, notices
        self.move(origin)

    def move(self, origin: str) -> None:
        """Send to this origin from now on: one that may be insecure was asked what it speaks."""
        self.origin = origin
        # What begins so is at that origin: user info, which could move the host, ends before it.
        self._root = f"{origin}/"

    async def follow(self, call: Call, grant: Grant | None) -> Answer:
        """Send, and follow redirects; storage behind a registry is a stranger.

        What is written goes to the registry itself only, and only where the redirect keeps
        method and body.
        """
        url = self.url(call)
        body = Body.of(call.data) if call.data is not None else None
        is_read = call.method in READS
        guest: Grant | None = None
        for _ in range(MOST_REDIRECTS + 1):
            # Once away, credentials are gone for good: a stranger may send us back anywhere.
            grant = grant if self.is_own(url) else None
            answer = await self.send(self.request(call, url, grant or guest, body))
            self.heed(answer)
            if answer.status == 401 and guest is None and is_read and not self.is_own(url):
                guest = await self._guests.grant(call.subject, answer)
                if guest is not None:
                    continue
            location = answer.header("Location")
            if answer.status not in REDIRECTS or not location or answer.status in call.accepts:
                return answer
            async with answer:
                await answer.settle()
            url = self.resolve(call.subject, answer.url, location)
            hide_signature(url, call.subject)
            if guest is not None and not same_origin(url, answer.url):
                guest = None
            if not is_read and not (answer.status in (307, 308) and self.is_own(url)):
                raise astray(self._host, call.subject, answer)
        raise ProtocolError(
            call.subject, f"{self._host} redirects more than {MOST_REDIRECTS} times"
        )

    async def send(self, request: Request) -> Answer:
        """Send; whose server cannot be reached says who pointed there, if it is not our own."""
        try:
            return await self._http.send(request)
        except TransientError as error:
            if error.status is None and not self.is_own(request.url):
                error.hint = pointed_at(self._host, request.url)
            raise

    def heed(self, answer: Answer) -> None:
        """Pass on what the registry itself warns of."""
        lines = answer.headers("Warning")
        if lines and self.is_own(answer.url):
            self._notices.heed(lines)

    def watched(self, call: Call, patience: float) -> AbstractContextManager[None]:
        """Say so if the answer to a body that has left does not come."""
        return self._http.silence.waiting(call.method, self.url(call), call.subject, patience)

    def resolve(self, subject: str, base: str, location: str) -> str:
        """Resolve what the registry points at; ProtocolError if it must not be followed."""
        try:
            return resolve(base, location)
        except ValueError as error:
            raise ProtocolError(subject, str(error)) from None

    def request(self, call: Call, url: str, grant: Grant | None, body: Body | None) -> Request:
        """Make the request of a call, to a URL, with these credentials."""
        headers = dict(call.headers)
        if grant is not None:
            headers["Authorization"] = grant.header
        is_patient = body is not None
        return Request(call.method, url, call.subject, self._trust, headers, body, is_patient)

    @property
    def is_confined(self) -> bool:
        """Tell whether a stranger chose what is asked (`Http`)."""
        return self._http.is_confined

    def is_own(self, url: str) -> bool:
        """Tell whether a URL is at the registry's own origin."""
        return url.startswith(self._root) or same_origin(url, self.origin)

    def url(self, call: Call) -> str:
        """Where a call goes: its path at the origin, or the URL that the registry gave."""
        return f"{self.origin}{call.target}" if call.target.startswith("/") else call.target
