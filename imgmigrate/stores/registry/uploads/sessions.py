"""An upload session: where its next request goes, how it is closed, cancelled and asked.

A Location is opaque, may be several KB long, may change with each answer and may be another
host, which gets no credentials (protocol 3.2).
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from imgmigrate.errors import IntegrityError, ProtocolError, StoreError, TransientError
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.blobs import blob_exists
from imgmigrate.stores.registry.http.urls import append_query
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["Session", "check_stored", "opened"]

# ECR answers 201 to a PATCH, older Pulps 204 (protocol 3.2).
TAKEN = frozenset({200, 201, 202, 204})
_STORED = frozenset({200, 201, 204})
OCTETS = {"Content-Type": "application/octet-stream"}
# What says that the session is gone, or that it and we disagree: a new one heals that.
_GONE = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "RANGE_INVALID"})
# Quay says `bytes=0-<count>`, which is one too many: it is not understood on purpose.
_RANGE = re.compile(r"0-([0-9]{1,18})")


class Session:
    """One upload of a blob that a registry has opened at `location`."""

    def __init__(
        self,
        remote: Remote,
        repo: str,
        descriptor: Descriptor,
        location: str,
        *,
        shortest_chunk: int = 0,
    ) -> None:
        self.remote, self.repo, self.descriptor = remote, repo, descriptor
        self.subject = f"{remote.host}/{repo}@{descriptor.digest}"
        self.location = location
        # In bytes; absent or absurd is none (protocol 5: 10^12 is an attack on memory).
        self.shortest_chunk = shortest_chunk
        self._access = Access(repo, push=True)

    def whole(self) -> Call:
        """PUT everything at once."""
        return self._call("PUT", append_query(self.location, self._digest), _STORED)

    def part(self, start: int | None = None, end: int | None = None) -> Call:
        """PATCH everything; or, with an offset and the one after, the bytes between them."""
        headers = {}
        if start is not None and end is not None:
            # No `bytes `, unlike elsewhere in HTTP (distribution-spec "Pushing a blob in chunks").
            headers["Content-Range"] = f"{start}-{end - 1}"
        return self._call("PATCH", self.location, TAKEN, headers)

    def moved_on(self, answer: Answer) -> None:
        """Note where the next request goes; without a new Location it is the same."""
        location = answer.header("Location")
        if location:
            self.location = self.remote.wire.resolve(self.subject, answer.url, location)

    def stored(self, answer: Answer) -> None:
        """Check what the registry says that it has stored."""
        check_stored(answer, self.subject, self.descriptor.digest)

    async def close(self) -> None:
        """PUT the digest after the last byte.

        An answer that does not come may have meant success: then the blob is there and its
        session is gone, and gigabytes need not be sent again.
        """
        end = self._call("PUT", append_query(self.location, self._digest), _STORED, data=b"")
        is_first = True

        async def once() -> Answer | None:
            nonlocal is_first
            if not is_first and await self._is_there():
                return None
            is_first = False
            try:
                return await self.remote.call(end, attempts=1)
            except StoreError as error:
                if is_gone(error) and await self._is_there():
                    return None
                raise

        answer = await self.remote.again(once)
        if answer is not None:
            self.stored(answer)

    async def _is_there(self) -> bool:
        return await blob_exists(self.remote, self.repo, self.descriptor.digest)

    async def progress(self) -> int | None:
        """Ask once how many bytes the session holds; None if that cannot be relied on.

        distribution 2.8 has destroyed the session by then, `0-0` is nothing or one byte
        (protocol 3.2, 3.4).
        """
        call = self._call("GET", self.location, frozenset({204}))
        try:
            answer = await self.remote.call(call, attempts=1)
        except StoreError:
            return None
        found = _RANGE.fullmatch((answer.header("Range") or "").strip())
        if found is None or found[1] == "0":
            return None
        self.moved_on(answer)
        return int(found[1]) + 1

    async def cancel(self) -> None:
        """Leave nothing behind; best effort, since some registries do not allow it."""
        call = self._call("DELETE", self.location, frozenset({200, 202, 204}))
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(self.remote.timeouts.farewell):
                await self.remote.call(call, attempts=1)

    @property
    def _digest(self) -> str:
        return f"digest={quote(self.descriptor.digest, safe='')}"

    def _call(
        self,
        method: str,
        target: str,
        accepts: frozenset[int],
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> Call:
        sent = {**OCTETS, **(headers or {})} if method in ("PUT", "PATCH") else {}
        return Call(method, target, self.subject, self._access, accepts, sent, data)


def opened(remote: Remote, repo: str, descriptor: Descriptor, answer: Answer) -> Session | None:
    """The session that a POST has opened; None if it does not say where."""
    location = answer.header("Location")
    if not location:
        return None
    place = remote.wire.resolve(f"{remote.host}/{repo}", answer.url, location)
    shortest = answer.number("OCI-Chunk-Min-Length") or 0
    return Session(remote, repo, descriptor, place, shortest_chunk=shortest)


def check_stored(answer: Answer, subject: str, digest: Digest) -> None:
    """Check that what a registry says that it has stored is what was sent."""
    text = answer.header("Docker-Content-Digest")
    try:
        stated = Digest.parse(text) if text else digest
    except ValueError as error:
        cause = f"its Docker-Content-Digest is {error}"
        raise ProtocolError(subject, cause) from None
    # distribution 2.8 calls sha512 blobs by their sha256 (protocol 3.5).
    if stated.algorithm == digest.algorithm and stated != digest:
        raise IntegrityError(subject, f"the registry stored {stated} instead")


def is_gone(error: StoreError) -> bool:
    """Tell whether an error is about the session and not about the blob or the repository."""
    if error.code in _GONE or error.status == 416:
        return True
    return error.status == 404 and error.code in (None, "UNKNOWN", "NOT_FOUND")


def of_session(error: StoreError) -> StoreError:
    """What an error in mid-session means: a session that is gone is opened anew."""
    if isinstance(error, TransientError) or not is_gone(error):
        return error
    cause = f"{error.cause}: the upload session is gone"
    return error.remade(TransientError, cause=cause)
