"""A request on its way through the fake, what remains of it in the log, and its refusal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from tests.fakes.registry.faults import Rewrite


@dataclass(frozen=True, slots=True)
class Request:
    """One finished request. `status` 0: the connection ended without an answer."""

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    status: int
    headers: Mapping[str, str]
    authorised: bool
    received: int
    sent: int


@dataclass(slots=True)
class Call:
    """A request on its way through the fake; `number` 0: at the storage host."""

    number: int
    request: web.BaseRequest
    method: str
    path: str
    raw_query: str
    query: dict[str, str]
    received: int = 0
    sent: int = 0
    rewrites: list[Rewrite] = field(default_factory=list)
    recorded: bool = False
    # The caller is being killed: whatever is done, nothing is answered.
    muted: bool = False

    @property
    def target(self) -> str:
        """The decoded path and query, which faults are matched against."""
        return target_of(self.path, self.query)

    def hang_up(self) -> None:
        """Close the connection once what was written is out."""
        if self.request.transport is not None:
            self.request.transport.close()


class Refusal(Exception):
    """The answer is an error of the specification's form."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        detail: object = None,
    ) -> None:
        self.status = status
        self.headers = dict(headers or {})
        error = {"code": code, "message": message or code.lower().replace("_", " ")}
        self.body = json.dumps({"errors": [error | {"detail": detail or {}}]}).encode()
        super().__init__(f"{status} {code} {message}")


class HungUp(ConnectionResetError):
    """The fake closed the connection on purpose."""


def make_call(number: int, request: web.BaseRequest) -> Call:
    """Take a request apart; `number` 0: it came to the storage host."""
    path, _, raw_query = request.raw_path.partition("?")
    return Call(
        number=number,
        request=request,
        method=request.method,
        path=unquote(path),
        raw_query=raw_query,
        query=dict(parse_qsl(raw_query, keep_blank_values=True)),
    )


def target_of(path: str, query: Mapping[str, str]) -> str:
    """Join a decoded path and query."""
    pairs = "&".join(f"{key}={value}" for key, value in query.items())
    return f"{path}?{pairs}" if pairs else path
