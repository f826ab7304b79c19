"""What can go wrong on purpose, as data; `core.py` and the routes ask at the right moment."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# "arrival": before anything is looked at. "answer": the work is done, its answer is not sent.
When = Literal["arrival", "answer"]
Moment = Literal["arrival", "received", "served", "answer", "headers"]

CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 429: "TOOMANYREQUESTS"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer this instead of doing the work."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection without an answer."""

    when: When


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection after `at` bytes of the body that is being served or received."""

    at: int
    side: Literal["served", "received"]


@dataclass(frozen=True, slots=True)
class Stall:
    """Stand still until `release`: at a moment, or after `at` bytes of a served body.

    A test awaits `reached` and never sleeps.
    """

    when: When | None
    at: int | None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let everything that stands here go on, now and later."""
        self.released.set()

    async def hold(self) -> None:
        """Stand here."""
        self.reached.set()
        await self.released.wait()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Change headers of the answer; None removes one."""

    headers: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Swap:
    """Serve these bytes instead of the blob's own."""

    data: bytes


Action = Answer | Drop | Cut | Stall | Rewrite | Swap


@dataclass(slots=True)
class Fault:
    """One switched fault: which requests it meets, how often, and what it does to them."""

    method: str
    pattern: re.Pattern[str]
    action: Action
    times: int | None
    skip: int
    hits: int = 0

    def meets(self, method: str, target: str) -> bool:
        """Tell whether it strikes this request; counts those it lets pass and those it strikes."""
        if self.method not in ("*", method) or not self.pattern.search(target):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


class Faults:
    """The switches of a fake registry.

    In each, `method` is an HTTP method or `*`, `path` a regex searched in the decoded path
    with its query; the first `skip` matching requests pass, the next `times` (None: all) fail.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fail(
        self,
        method: str,
        path: str,
        *,
        status: int,
        times: int | None = None,
        skip: int = 0,
        code: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Answer with `status`; the body is the specification's error JSON unless given."""
        if body is None:
            code = code or CODES.get(status, "UNKNOWN")
            error = {"code": code, "message": "switched on by the test", "detail": {}}
            body = json.dumps({"errors": [error]}).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        return self._add(method, path, Answer(status, body, headers or {}), times, skip)

    def drop(
        self,
        method: str,
        path: str,
        *,
        when: When = "arrival",
        times: int | None = 1,
        skip: int = 0,
    ) -> Fault:
        """Close the connection without an answer; `when="answer"`: after doing the work."""
        return self._add(method, path, Drop(when), times, skip)

    def cut(self, path: str, *, at: int, times: int | None = 1, skip: int = 0) -> Fault:
        """Close the connection after `at` bytes of a blob that is being served."""
        return self._add("GET", path, Cut(at, "served"), times, skip)

    def cut_upload(
        self, path: str = "/blobs/uploads/", *, at: int, times: int | None = 1, skip: int = 0
    ) -> Fault:
        """Close the connection after reading `at` bytes of an upload's body."""
        return self._add("*", path, Cut(at, "received"), times, skip)

    def stall(
        self,
        method: str,
        path: str,
        *,
        when: When | None = None,
        at: int | None = None,
        times: int | None = 1,
        skip: int = 0,
    ) -> Stall:
        """Stand still on arrival (the default), before the answer, or after `at` blob bytes.

        `when="answer"` on the PUT of an upload is a slow commit.
        """
        stall = Stall(when or ("arrival" if at is None else None), at)
        self._add(method, path, stall, times, skip)
        return stall

    def rewrite(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | None],
        *,
        times: int | None = None,
        skip: int = 0,
    ) -> Fault:
        """Change or remove (None) headers of the answer, such as a wrong digest."""
        return self._add(method, path, Rewrite(headers), times, skip)

    def corrupt(self, digest: str, data: bytes, *, times: int | None = None) -> Fault:
        """Serve `data` for a blob, as if it were right."""
        return self._add("GET", rf"/blobs/{re.escape(digest)}", Swap(data), times, 0)

    def clear(self) -> None:
        """Switch every fault off and release what stands still."""
        for fault in self.faults:
            if isinstance(fault.action, Stall):
                fault.action.release()
        self.faults.clear()

    def struck(self, method: str, target: str, moment: Moment) -> Iterator[Action]:
        """Go through the actions that strike this request at this moment, in their order.

        One that is not asked for keeps its strike: two failures of one time each fail two
        requests, not one.
        """
        for fault in list(self.faults):
            if _moment(fault.action) == moment and fault.meets(method, target):
                yield fault.action

    def _add(self, method: str, path: str, action: Action, times: int | None, skip: int) -> Fault:
        fault = Fault(method, re.compile(path), action, times, skip)
        self.faults.append(fault)
        return fault


def _moment(action: Action) -> Moment:
    match action:
        case Answer():
            return "arrival"
        case Drop():
            return action.when
        case Stall():
            return action.when or "served"
        case Cut():
            return action.side
        case Swap():
            return "served"
        case Rewrite():
            return "headers"
