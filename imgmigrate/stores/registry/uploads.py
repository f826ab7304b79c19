"""Put blobs into a registry: by mounting, or by POST and one streamed PUT.

The PUT has its length in advance, because some registries and the storage behind others take
nothing else (protocol 3.2). A stall is time that the registry takes no bytes, never time that
nobody had any for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from imgmigrate.errors import IntegrityError, ProtocolError, StoreError, TransientError
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.registry.auth import Access
from imgmigrate.stores.registry.http.session import Body
from imgmigrate.stores.registry.http.urls import append_query
from imgmigrate.stores.registry.remote import Call

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.registry.http.session import Answer
    from imgmigrate.stores.registry.remote import Remote

__all__ = ["RegistryUpload", "start_upload"]

# The stall guard watches pieces: larger ones are cut, so that a slow line is not a dead one.
LARGEST_PIECE = 1024 * 1024
_STORED = frozenset({200, 201, 204})
_OCTETS = {"Content-Type": "application/octet-stream"}


async def start_upload(
    remote: Remote, repo: str, descriptor: Descriptor, mount_from: str | None = None
) -> Mounted | RegistryUpload:
    """Mount the blob from another repository of the registry, or open an upload session."""
    location = None
    if mount_from is not None and mount_from != repo:
        answer = await _try_mount(remote, repo, descriptor.digest, mount_from)
        if answer is not None and answer.status == 201:
            return Mounted()
        location = _location(remote, repo, answer) if answer is not None else None
    if location is None:
        access = Access(repo, push=True)
        target, subject = f"/v2/{repo}/blobs/uploads/", _subject(remote, repo, descriptor.digest)
        answer = await remote.call(Call("POST", target, subject, access, frozenset({202})))
        location = _location(remote, repo, answer)
    if location is None:
        cause = "it opened an upload without saying where"
        raise ProtocolError(f"{remote.host}/{repo}", cause)
    return RegistryUpload(remote, repo, descriptor, location)


async def _try_mount(remote: Remote, repo: str, digest: Digest, mount_from: str) -> Answer | None:
    """Ask for a mount once; every way to refuse means: upload it (protocol 0.5)."""
    query = urlencode({"mount": digest, "from": mount_from}, quote_via=quote, safe="")
    call = Call(
        "POST",
        f"/v2/{repo}/blobs/uploads/?{query}",
        _subject(remote, repo, digest),
        Access(repo, push=True, mount_from=mount_from),
        frozenset({201, 202}),
    )
    try:
        if not await remote.auth.same_credential(repo, mount_from):
            return None
        answer = await remote.call(call, attempts=1)
    except StoreError:
        return None
    stated = answer.header("Docker-Content-Digest") or str(digest)
    is_other = stated.partition(":")[0] == digest.algorithm and stated != digest
    return None if answer.status == 201 and is_other else answer


def _location(remote: Remote, repo: str, answer: Answer) -> str | None:
    location = answer.header("Location")
    subject = f"{remote.host}/{repo}"
    return remote.resolve(subject, answer.url, location) if location else None


def _subject(remote: Remote, repo: str, digest: Digest) -> str:
    return f"{remote.host}/{repo}@{digest}"


class _Pipe:
    """Hands one piece at a time from `RegistryUpload` to the request's body.

    `wanted` is set while the request waits for a piece, that is when all before it went out.
    """

    def __init__(self) -> None:
        self.wanted, self._given = asyncio.Event(), asyncio.Event()
        self._piece: bytes | None = None

    def give(self, piece: bytes | None) -> None:
        """Hand over the next piece, or the end."""
        self.wanted.clear()
        self._piece = piece
        self._given.set()

    def __aiter__(self) -> _Pipe:
        return self

    async def __anext__(self) -> bytes:
        self.wanted.set()
        await self._given.wait()
        self._given.clear()
        piece, self._piece = self._piece, None
        if piece is None:
            raise StopAsyncIteration
        return piece


class RegistryUpload:
    """One upload session. The PUT runs as a task of its own from the first byte on.

    `write`, `commit` and `abort` never leave that task behind: whatever fails ends it.
    """

    def __init__(self, remote: Remote, repo: str, descriptor: Descriptor, location: str) -> None:
        self._remote, self._descriptor, self._location = remote, descriptor, location
        self._access = Access(repo, push=True)
        self._subject = _subject(remote, repo, descriptor.digest)
        self._pipe = _Pipe()
        self._task: asyncio.Task[StoreError | None] | None = None
        self._sent = 0

    async def write(self, piece: bytes) -> None:
        """Send the next piece; returns when the registry has taken those before it."""
        if self._sent + len(piece) > self._descriptor.size:
            raise IntegrityError(self._subject, f"more than its {self._descriptor.size} bytes")
        for start in range(0, len(piece), LARGEST_PIECE):
            part = piece[start : start + LARGEST_PIECE]
            self._start()
            await self._ready()
            self._sent += len(part)
            self._pipe.give(part)

    async def commit(self) -> None:
        """Send the end and wait until the registry has stored the blob."""
        left = self._descriptor.size - self._sent
        if left:
            raise IntegrityError(self._subject, f"{left} bytes are missing at its end")
        task = self._start()
        try:
            if self._sent:
                await self._ready(at_end=True)
                self._pipe.give(None)
            async with asyncio.timeout(self._remote.timeouts.commit):
                await asyncio.wait({task})
        except TimeoutError:
            await self._end()
            cause = (
                f"the registry did not answer the whole blob in {self._remote.timeouts.commit:g} s"
            )
            raise TransientError(self._subject, cause) from None
        except BaseException:
            await self._end()
            raise
        if (error := _outcome(task, self._subject)) is not None:
            raise error

    async def abort(self) -> None:
        """Give up. A session that got no byte is cancelled; any other ended with its PUT."""
        if self._task is not None:
            await self._end()
            return
        call = Call(
            "DELETE", self._location, self._subject, self._access, frozenset({200, 202, 204})
        )
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(self._remote.timeouts.farewell):
                await self._remote.call(call, attempts=1)

    def _start(self) -> asyncio.Task[StoreError | None]:
        if self._task is None:
            self._task = asyncio.create_task(self._put())
            # Wake whoever waits to write: the answer may come before the last byte.
            self._task.add_done_callback(lambda _: self._pipe.wanted.set())
        return self._task

    async def _put(self) -> StoreError | None:
        """The request; its error is a result, so that it is never lost nor reported twice."""
        digest = quote(self._descriptor.digest, safe="")
        target = append_query(self._location, f"digest={digest}")
        call = Call("PUT", target, self._subject, self._access, _STORED, _OCTETS)
        try:
            await self._remote.put(call, Body(self._pipe, self._descriptor.size))
        except StoreError as error:
            return error
        return None

    async def _ready(self, *, at_end: bool = False) -> None:
        """Wait until the next piece is wanted; raise what ended the request, if something did."""
        stall = self._remote.timeouts.stall
        try:
            async with asyncio.timeout(stall):
                await self._pipe.wanted.wait()
        except TimeoutError:
            await self._end()
            cause = f"the registry took no byte for {stall:g} s"
            raise TransientError(self._subject, cause) from None
        except BaseException:
            await self._end()
            raise
        if self._task is None or not self._task.done():
            return
        error = _outcome(self._task, self._subject)
        if error is not None:
            raise error
        if not at_end:
            cause = "the registry answered before it had the whole blob"
            raise TransientError(self._subject, cause)

    async def _end(self) -> None:
        """Stop the request, which closes its connection, and see it end."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})


def _outcome(task: asyncio.Task[StoreError | None], subject: str) -> StoreError | None:
    """What a finished request came to."""
    if task.cancelled():
        return TransientError(subject, "its upload was given up")
    return task.result()
