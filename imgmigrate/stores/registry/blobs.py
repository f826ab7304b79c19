"""Ask for blobs and stream them, from any offset; verifying is the caller's.

One attempt: whoever reads knows how far it came and opens again there. Source:
distribution-spec "Pulling blobs"; protocol 2.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgmigrate.errors import IntegrityError, ProtocolError, TransientError
from imgmigrate.stores.registry.auth import Access
from imgmigrate.stores.registry.remote import Call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.registry.http.session import Answer
    from imgmigrate.stores.registry.remote import Remote

__all__ = ["blob_exists", "open_blob"]

# Where HEAD is not offered, uploading is the safe answer.
_EXISTS = frozenset({200, 404, 405, 501})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")


async def blob_exists(remote: Remote, repo: str, digest: Digest) -> bool:
    """Tell whether a repository that we are about to write to holds a blob.

    Asked with the right to push: registries hide what a reader may not see (protocol 3.1).
    """
    target, subject = f"/v2/{repo}/blobs/{digest}", f"{remote.host}/{repo}@{digest}"
    call = Call("HEAD", target, subject, Access(repo, push=True), _EXISTS)
    return (await remote.call(call)).status == 200


async def open_blob(
    remote: Remote, repo: str, descriptor: Descriptor, offset: int = 0
) -> AsyncGenerator[bytes, None]:
    """Stream a blob from `offset`, in pieces as they arrive, never past its size.

    TransientError if it breaks, stalls or ends early; IntegrityError if it is longer.
    """
    subject = f"{remote.host}/{repo}@{descriptor.digest}"
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    accepts = frozenset({200, 206} if offset else {200})
    target = f"/v2/{repo}/blobs/{descriptor.digest}"
    call = Call("GET", target, subject, Access(repo), accepts, headers)
    async with await remote.open(call) as answer:
        skip = _skip(answer, descriptor, offset, subject)
        left = descriptor.size - offset
        async for arrived in answer.pieces():
            piece = arrived[skip:] if skip else arrived
            skip -= len(arrived) - len(piece)
            if len(piece) > left:
                raise IntegrityError(subject, f"it is longer than its {descriptor.size} bytes")
            if piece:
                left -= len(piece)
                yield piece
    if left:
        cause = f"the stream ended {left} bytes before the end"
        raise TransientError(subject, cause)


def _skip(answer: Answer, descriptor: Descriptor, offset: int, subject: str) -> int:
    """How many bytes to discard at the beginning, once the headers are what they must be."""
    expected = descriptor.size
    if answer.status == 206:
        found = _CONTENT_RANGE.fullmatch((answer.header("Content-Range") or "").strip())
        size = str(descriptor.size)
        if (
            not found
            or int(found[1]) != offset
            or int(found[2]) + 1 != descriptor.size
            or found[3] not in (size, "*")
        ):
            cause = f"it answered another range than bytes {offset}- of {size}"
            raise ProtocolError(subject, cause)
        expected -= offset
    if answer.length is not None and answer.length != expected:
        cause = f"it has {answer.length} bytes where its manifest says {expected}"
        raise IntegrityError(subject, cause)
    return offset if answer.status == 200 else 0
