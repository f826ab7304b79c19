"""How a registry takes blobs: whole, in one request, in chunks, after a break, by mounting.

Each question opens upload sessions of its own: what one of them does to a session is no answer
to another.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from imgmigrate.errors import ProtocolError, StoreError
from imgmigrate.probing.trial.ground import Blob
from imgmigrate.stores.registry import blobs
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.http.session import Body
from imgmigrate.stores.registry.http.urls import append_query, same_origin
from imgmigrate.stores.registry.known.facts import Topic
from imgmigrate.stores.registry.uploads.sessions import OCTETS, TAKEN, Session, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from imgmigrate.probing.trial.ground import Ground
    from imgmigrate.stores.registry.wire.calls import Call

__all__ = ["in_chunks", "in_one_post", "in_one_put", "mounts", "ranges", "status", "survives"]

_TOO_SMALL = 416
# `bytes=` is Quay's.
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
# Bytes that are sent before a connection breaks: more than a server's first look takes.
BROKEN_AFTER = 64 * 1024
# Far more bytes than any blob of ours has.
LARGEST = 1024 * 1024


async def in_one_put(ground: Ground) -> dict[Topic, str]:
    """A session, then one PUT of everything."""
    blob = Blob.random()
    session = await _opened(ground, blob)
    answer = await ground.ask(replace(session.whole(), data=blob.data))
    is_taken = not isinstance(answer, StoreError) and await _is_whole(ground, blob)
    if is_taken:
        ground.blobs += 1
    else:
        await session.cancel()
    return {Topic.ONE_PUT: "yes" if is_taken else "no"}


async def in_one_post(ground: Ground) -> dict[Topic, str]:
    """One POST of everything, without a session."""
    blob = Blob.random()
    target = f"blobs/uploads/?digest={quote(blob.descriptor.digest, safe='')}"
    call = ground.call(
        "POST", target, accepts=frozenset({201, 202}), headers=OCTETS, data=blob.data
    )
    answer = await ground.ask(call)
    if isinstance(answer, StoreError):
        return {Topic.ONE_POST: "no"}
    if answer.status == 201 and await _is_whole(ground, blob):
        ground.blobs += 1
        return {Topic.ONE_POST: "yes"}
    session = opened(ground.remote, ground.repo, blob.descriptor, answer)
    if session is not None:
        await session.cancel()
    return {Topic.ONE_POST: "no"}


async def in_chunks(ground: Ground) -> dict[Topic, str]:
    """Two PATCH requests of a half each; what is stored then is read back."""
    blob = Blob.random()
    session = await _opened(ground, blob)
    least = {Topic.LEAST_CHUNK: str(session.shortest_chunk or "none")}
    half = len(blob.data) // 2
    for start, end in ((0, half), (half, len(blob.data))):
        answer = await ground.ask(replace(session.part(start, end), data=blob.data[start:end]))
        if isinstance(answer, StoreError):
            await session.cancel()
            is_size = answer.status == _TOO_SMALL or answer.code == "SIZE_INVALID"
            return {Topic.CHUNKS: "large" if is_size else "no", **least}
        session.moved_on(answer)
    answer = await ground.ask(_end(session))
    if isinstance(answer, StoreError):
        await session.cancel()
        return {Topic.CHUNKS: "no", **least}
    ground.blobs += 1
    return {Topic.CHUNKS: "yes" if await _is_whole(ground, blob) else "damaged", **least}


async def status(ground: Ground) -> dict[Topic, str]:
    """Ask after the first chunk how many bytes are there."""
    blob = Blob.random()
    session = await _opened(ground, blob)
    half = len(blob.data) // 2
    answer = await ground.ask(replace(session.part(0, half), data=blob.data[:half]))
    if isinstance(answer, StoreError):
        await session.cancel()
        return {Topic.UPLOAD_STATUS: "none"}
    session.moved_on(answer)
    told = await _progress(ground, session)
    await session.cancel()
    said = "none" if told is None else "exact" if told == f"0-{half - 1}" else "other"
    return {Topic.UPLOAD_STATUS: said}


async def survives(ground: Ground, settled: Callable[[], Awaitable[object]]) -> dict[Topic, str]:
    """Break a connection in the middle of a PATCH; `settled` waits until the server has seen it.

    A server that is asked too early still has what it is about to lose.
    """
    blob = Blob.random(2 * BROKEN_AFTER)
    session = await _opened(ground, blob)
    call = session.part()
    admission = await ground.remote.admit(call)
    body = Body(_breaking(blob.data[:BROKEN_AFTER]), len(blob.data))
    try:
        await ground.remote.stream(call, body, admission)
    except StoreError:
        await settled()
    else:
        cause = "it answered before it had everything"
        raise ProtocolError(session.subject, cause)
    told = await _progress(ground, session)
    await session.cancel()
    if told is None:
        return {Topic.BROKEN_UPLOAD: "lost"}
    found = _RANGE.fullmatch(told)
    # `0-0` is nothing or one byte.
    has_some = found is not None and found[1] != "0"
    return {Topic.BROKEN_UPLOAD: "kept" if has_some else "empty"}


async def mounts(ground: Ground, blob: Blob) -> bool:
    """Mount a blob from the one repository to the other; it must be seen there then."""
    to, digest = ground.sibling or "", blob.descriptor.digest
    query = urlencode({"mount": digest, "from": ground.repo}, quote_via=quote, safe="")
    access = Access(to, push=True, mount_from=ground.repo)
    call = ground.call("POST", "", accepts=frozenset({201, 202}), access=access)
    answer = await ground.ask(replace(call, target=f"/v2/{to}/blobs/uploads/?{query}"))
    if isinstance(answer, StoreError):
        return False
    if answer.status == 201:
        return await blobs.blob_exists(ground.remote, to, digest)
    session = opened(ground.remote, to, blob.descriptor, answer)
    if session is not None:
        await session.cancel()
    return False


async def ranges(ground: Ground, blob: Blob) -> dict[Topic, str]:
    """Read a part from the middle of a blob, and see which host has it."""
    start, end = len(blob.data) // 4, len(blob.data) // 2
    whole = await ground.remote.call(_get(ground, blob))
    host = "own" if same_origin(whole.url, ground.remote.origin) else "other"
    call = replace(_get(ground, blob), headers={"Range": f"bytes={start}-{end - 1}"})
    answer = await ground.ask(call)
    if isinstance(answer, StoreError):
        said = "no"
    elif answer.status == 206 and answer.body == blob.data[start:end]:
        said = "yes"
    else:
        said = "ignored"
    return {Topic.RANGES: said, Topic.BLOB_HOST: host}


async def _opened(ground: Ground, blob: Blob) -> Session:
    call = ground.call("POST", "blobs/uploads/", accepts=frozenset({202}))
    answer = await ground.remote.call(call)
    session = opened(ground.remote, ground.repo, blob.descriptor, answer)
    if session is None:
        raise ProtocolError(call.subject, "it opened an upload without saying where")
    return session


def _end(session: Session) -> Call:
    """The PUT that brings the digest alone; once, for a session that fails here has no other."""
    whole = session.whole()
    digest = quote(session.descriptor.digest, safe="")
    return replace(whole, target=append_query(session.location, f"digest={digest}"), data=b"")


async def _progress(ground: Ground, session: Session) -> str | None:
    """What a session says of itself; None if it is not there, or says nothing."""
    call = replace(session.part(), method="GET", headers={}, accepts=TAKEN)
    answer = await ground.ask(call)
    if isinstance(answer, StoreError):
        return None
    session.moved_on(answer)
    return (answer.header("Range") or "").strip()


async def _is_whole(ground: Ground, blob: Blob) -> bool:
    """Read a blob back: what is stored must be what was sent."""
    answer = await ground.ask(_get(ground, blob))
    return not isinstance(answer, StoreError) and answer.body == blob.data


def _get(ground: Ground, blob: Blob) -> Call:
    target = f"blobs/{blob.descriptor.digest}"
    return ground.call("GET", target, accepts=frozenset({200, 206}), limit=LARGEST)


async def _breaking(data: bytes) -> AsyncIterator[bytes]:
    """Bytes, and then a connection that ends."""
    yield data
    raise ConnectionResetError
