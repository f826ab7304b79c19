"""Ask for blobs and stream them, from any offset; verifying is the caller's.

One attempt: whoever reads knows how far it came and opens again there. Source:
distribution-spec "Pulling blobs"; protocol 2.3.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.errors import (
    IntegrityError,
    NotFound,
    ProtocolError,
    StoreError,
    TransientError,
    at_host,
)
from imgmigrate.oci.manifest import ACCEPT
from imgmigrate.remedies import remedy
from imgmigrate.stores.base import NoRanges
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.http.failures import is_web_page, web_page
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["blob_exists", "blob_size", "open_blob"]

# Where HEAD is not offered, uploading is the safe answer; where it is denied, too: whether we
# may push is for the POST to say (Artifactory denies what is absent: skopeo#2346).
_EXISTS = frozenset({200, 403, 404, 405, 501})
# Where HEAD is not offered, or says nothing of why it failed, GET may know more.
_TOLD_BY_GET = frozenset({200, 400, 403, 404, 405, 501})
_RANGED = frozenset({200, 206, 416})
# What says nothing about ranges: who we are, what is there, and how much we ask for.
_NOT_OF_RANGES = frozenset({401, 404, 429, 503})
_DAMAGED = "the source image is damaged; push it there again"
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
# Of a part as of a refused one: how long the whole is.
_WHOLE = re.compile(r"bytes (?:\*|[0-9]{1,18}-[0-9]{1,18})/([0-9]{1,18})")


async def blob_exists(remote: Remote, repo: str, digest: Digest) -> bool:
    """Tell whether a repository that we are about to write to holds a blob.

    Asked with the right to push: registries hide what a reader may not see (protocol 3.1).
    """
    target, subject = f"/v2/{repo}/blobs/{digest}", f"{remote.host}/{repo}@{digest}"
    call = Call("HEAD", target, subject, Access(repo, push=True), _EXISTS)
    return (await remote.call(call)).status == 200


async def blob_size(remote: Remote, repo: str, descriptor: Descriptor) -> int | None:
    """Tell how many bytes of a blob a puller would get; None if it is not there.

    Only a GET proves that it is not, or that it has another size: some proxies answer HEAD
    otherwise (404 where GET works). It asks for a single byte.
    """
    target = f"/v2/{repo}/blobs/{descriptor.digest}"
    subject = f"{remote.host}/{repo}@{descriptor.digest}"
    answer = await remote.call(Call("HEAD", target, subject, Access(repo), _TOLD_BY_GET))
    if answer.status == 200 and answer.length == descriptor.size:
        return descriptor.size
    for header in ({"Range": "bytes=0-0"}, {}):
        call = _get(remote, repo, descriptor.digest, _RANGED, header)
        try:
            answer = await remote.again(partial(_anywhere, remote, repo, call, descriptor))
        except NotFound:
            return None
        answer.close()
        if is_web_page(answer.header("Content-Type")) and answer.length != descriptor.size:
            raise web_page(subject, answer.status)
        size = _told_size(answer)
        if size is not None:
            return size
    cause = "the registry does not say how large it is"
    raise ProtocolError(subject, cause, hint=f"read it whole: {remedy('verify', deep=True)}")


def _told_size(answer: Answer) -> int | None:
    """The size of the whole blob, as the answer to a request for all or a part of it tells."""
    if answer.status == 200:
        return answer.length
    lines = answer.headers("Content-Range")
    found = _WHOLE.fullmatch(lines[0].strip()) if len(lines) == 1 else None
    return int(found[1]) if found else None


async def open_blob(
    remote: Remote, repo: str, descriptor: Descriptor, offset: int = 0, length: int | None = None
) -> AsyncGenerator[bytes, None]:
    """Stream a blob, or `length` bytes of it, from `offset`, in pieces as they arrive.

    TransientError if it breaks, stalls or ends early; IntegrityError if it is longer; NoRanges
    if a part was asked for and the answer is not exactly that.
    """
    subject = f"{remote.host}/{repo}@{descriptor.digest}"
    opening = (
        _opened(remote, repo, descriptor, offset)
        if length is None
        else _opened_part(remote, repo, descriptor, offset, offset + length)
    )
    with at_host(remote.host, repo):
        async with await opening as answer:
            left = descriptor.size - offset if length is None else length
            _check_length(answer, left if answer.status == 206 else descriptor.size, subject)
            skip = 0 if answer.status == 206 else offset
            async for arrived in answer.pieces():
                piece = arrived[skip:] if skip else arrived
                skip -= len(arrived) - len(piece)
                if len(piece) > left:
                    cause = f"it is longer than its {descriptor.size} bytes"
                    raise IntegrityError(subject, cause, hint=_DAMAGED)
                if piece:
                    left -= len(piece)
                    await remote.limits.bandwidth.read(len(piece))
                    yield piece
        if left:
            cause = f"the stream ended {left} bytes before the end"
            raise TransientError(subject, cause)


async def _opened(remote: Remote, repo: str, descriptor: Descriptor, offset: int) -> Answer:
    """Ask for a blob from `offset` on: a 206 begins there, a 200 at its first byte.

    Ranges are an offer. Who refuses one, with whatever status (kubernetes/registry.k8s.io#333:
    400 from the storage), or answers another than was asked for, is asked for everything: its
    beginning is thrown away then, and the digest is checked all the same.
    """
    if offset and remote.quirks.gives_ranges:
        call = _get(remote, repo, descriptor.digest, _RANGED, {"Range": f"bytes={offset}-"})
        try:
            answer = await _anywhere(remote, repo, call, descriptor)
        except StoreError as error:
            if error.status is None or error.status in _NOT_OF_RANGES:
                raise
        else:
            if answer.status == 200 or (
                answer.status == 206 and _is_part(answer, descriptor, offset, descriptor.size)
            ):
                return answer
            answer.close()
    call = _get(remote, repo, descriptor.digest, frozenset({200}))
    return await _anywhere(remote, repo, call, descriptor)


async def _opened_part(
    remote: Remote, repo: str, descriptor: Descriptor, start: int, end: int
) -> Answer:
    """Ask for the bytes from `start` to before `end`; NoRanges for any other answer than those."""
    header = {"Range": f"bytes={start}-{end - 1}"}
    call = _get(remote, repo, descriptor.digest, _RANGED, header)
    if not remote.quirks.gives_ranges:
        raise NoRanges(call.subject, "it was seen to give no part of a blob")
    answer = await _anywhere(remote, repo, call, descriptor)
    if answer.status == 206 and _is_part(answer, descriptor, start, end):
        return answer
    answer.close()
    cause = f"asked for bytes {start} to {end - 1}, it answers otherwise"
    raise NoRanges(call.subject, cause, status=answer.status)


async def _anywhere(remote: Remote, repo: str, call: Call, descriptor: Descriptor) -> Answer:
    """Look among the manifests for what is not among the blobs, as containerd does."""
    try:
        return await remote.open(call)
    except NotFound:
        headers = {**call.headers, "Accept": f"{descriptor.media_type}, {ACCEPT}"}
        target = f"/v2/{repo}/manifests/{descriptor.digest}"
        try:
            return await remote.open(replace(call, target=target, headers=headers))
        except StoreError:
            pass
        raise


def _get(
    remote: Remote,
    repo: str,
    digest: Digest,
    accepts: frozenset[int],
    headers: Mapping[str, str] | None = None,
) -> Call:
    target, subject = f"/v2/{repo}/blobs/{digest}", f"{remote.host}/{repo}@{digest}"
    return Call("GET", target, subject, Access(repo), accepts, headers or {})


def _is_part(answer: Answer, descriptor: Descriptor, start: int, end: int) -> bool:
    """Tell whether a 206 is what was asked for: one range, from `start` to before `end`."""
    lines = answer.headers("Content-Range")
    found = _CONTENT_RANGE.fullmatch(lines[0].strip()) if len(lines) == 1 else None
    if found is None:
        return False
    is_whole = found[3] in (str(descriptor.size), "*")
    return int(found[1]) == start and int(found[2]) + 1 == end and is_whole


def _check_length(answer: Answer, expected: int, subject: str) -> None:
    if answer.length is None or answer.length == expected:
        return
    if is_web_page(answer.header("Content-Type")):
        raise web_page(subject, answer.status)
    cause = f"it has {answer.length} bytes where its manifest says {expected}"
    raise IntegrityError(subject, cause, hint=_DAMAGED)
