"""Describe, read, write and delete manifests: bytes as they are, digests never taken on trust.

Source: distribution-spec "Pulling manifests" and "Pushing manifests"; protocol 2.1 and 3.5.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    IntegrityError,
    NotFound,
    ProtocolError,
    Rejected,
    StoreError,
)
from imgmigrate.oci.manifest import (
    ACCEPT,
    LARGEST_MANIFEST,
    MANIFESTS,
    SCHEMA1,
    Descriptor,
    Manifest,
)
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import NoDeletes, TagMoved
from imgmigrate.stores.permit import permitted
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.http.failures import is_immutable
from imgmigrate.stores.registry.wire.calls import Call
from imgmigrate.stores.registry.wire.refusals import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["delete", "head", "look", "name_of", "put_manifest", "read_manifest"]

# Where HEAD is not offered, or says nothing of why it failed, GET may know more (protocol 2.1).
# 412 is a policy, which the body of an answer to GET names (goharbor/harbor#15560).
_ASK_WITH_GET = frozenset({400, 403, 405, 412, 501})
# Nexus behind some proxies answers so to every HEAD of a manifest (crazy-max/diun#1614).
_SAYS_ABSENT = frozenset({404, 410})
# How a registry says that it deletes nothing (distribution-spec "Deleting manifests").
_NO_DELETES = frozenset({405, 501})
_ENABLE = (
    "the registry deletes nothing as it is configured: allow it there (docker-registry: "
    "REGISTRY_STORAGE_DELETE_ENABLED=true), or plan without `allow_delete`"
)


async def head(remote: Remote, repo: str, ref: str, *, to_write: bool = False) -> Descriptor | None:
    """Describe a manifest; None if the registry says that it is not there, which may be untrue."""
    answer, found = await _ask_head(remote, repo, ref, to_write=to_write)
    if found is not None or answer.status in _SAYS_ABSENT:
        return found
    return await _read_whole(remote, repo, ref, to_write=to_write)


async def look(
    remote: Remote,
    repo: str,
    ref: str,
    *,
    is_new: bool = False,
    to_write: bool = False,
    keep: Callable[[Manifest], object] | None = None,
) -> Descriptor | None:
    """Describe what a tag shows; None only if GET says that it is not there.

    What is new is asked for by GET at once, unless reads are counted: then a HEAD that finds it
    spares one.
    """
    if not is_new or remote.quirks.is_metered:
        _, found = await _ask_head(remote, repo, ref, to_write=to_write)
        return found or await _read_whole(remote, repo, ref, to_write=to_write, keep=keep)
    try:
        return await _read_whole(remote, repo, ref, to_write=to_write, keep=keep)
    except (AccessDenied, ProtocolError, Rejected):
        # What may not be read, or not by us, is there all the same if HEAD describes it.
        _, found = await _ask_head(remote, repo, ref, to_write=to_write)
        if found is None:
            raise
        return found


async def _ask_head(
    remote: Remote, repo: str, ref: str, *, to_write: bool
) -> tuple[Answer, Descriptor | None]:
    """Send HEAD; the answer, and what it describes if that is enough to rely on."""
    accepts = frozenset({200}) | _SAYS_ABSENT | _ASK_WITH_GET
    call = _read("HEAD", remote, repo, ref, accepts=accepts, to_write=to_write)
    answer = await remote.call(call)
    return answer, _describe(answer, ref, call.subject) if answer.status == 200 else None


async def _read_whole(
    remote: Remote,
    repo: str,
    ref: str,
    *,
    to_write: bool,
    keep: Callable[[Manifest], object] | None = None,
) -> Descriptor | None:
    """Read a manifest to describe it; None if it is not there."""
    try:
        manifest = await read_manifest(remote, repo, ref, to_write=to_write)
    except NotFound as error:
        if error.code == "NAME_UNKNOWN":
            remote.lacking.add(repo)
        return None
    if keep is not None:
        keep(manifest)
    return manifest.descriptor


async def read_manifest(remote: Remote, repo: str, ref: str, *, to_write: bool = False) -> Manifest:
    """Read a manifest and verify it; IntegrityError if a digest is not that of its bytes."""
    call = _read("GET", remote, repo, ref, to_write=to_write)
    expected = _digest(ref)
    try:
        answer = await remote.call(call)
    except NotFound:
        found = await _among_blobs(remote, repo, expected) if expected is not None else None
        if found is None:
            raise
        return found
    stated = _stated_digest(answer, call.subject)
    if expected is not None and not expected.matches(answer.body):
        raise IntegrityError(call.subject, "the registry sent bytes of another digest")
    try:
        manifest = Manifest.parse(answer.body, answer.header("Content-Type"), expected=expected)
    except ValueError as error:
        raise ProtocolError(call.subject, str(error)) from None
    if stated is not None and not stated.matches(manifest.raw):
        cause = f"the registry says that its digest is {stated}, its bytes say otherwise"
        raise IntegrityError(call.subject, cause)
    return manifest


async def _among_blobs(remote: Remote, repo: str, digest: Digest) -> Manifest | None:
    """Look among the blobs, where some registries have what was pushed there (protocol 2.3)."""
    subject = _subject(remote, repo, digest)
    call = Call("GET", f"/v2/{repo}/blobs/{digest}", subject, Access(repo))
    try:
        async with await remote.open(call) as answer:
            if answer.length is None or answer.length > LARGEST_MANIFEST:
                return None  # a layer that an index lists: nothing to read into memory
            async with asyncio.timeout(remote.timeouts.commit):
                await answer.load(LARGEST_MANIFEST)
        return Manifest.parse(answer.body, expected=digest)
    except (StoreError, TimeoutError, ValueError):
        return None


async def put_manifest(
    remote: Remote,
    repo: str,
    ref: str,
    manifest: Manifest,
    *,
    still: Collection[Digest | None] | None = None,
) -> None:
    """Write a manifest under a tag or its digest, and prove that it is there.

    Between attempts the tag must show one of `still`, if given: TagMoved if it does not.
    """
    call = Call(
        "PUT",
        f"/v2/{repo}/manifests/{ref}",
        _subject(remote, repo, ref),
        Access(repo, push=True),
        accepts=frozenset({200, 201, 202}),
        headers={"Content-Type": manifest.media_type},
        data=manifest.raw,
        # distribution dresses a refusal of foreign layers as a failure (protocol 2.3).
        hopeless=frozenset({500}) if _has_foreign(manifest) else frozenset(),
    )
    is_first = True

    async def once() -> Answer | None:
        nonlocal is_first
        # Pulp answers 429 and finishes all the same; so may who has answered nothing.
        if not is_first and await _arrived(remote, repo, ref, manifest, still):
            return None
        is_first = False
        await permitted()
        return await remote.call(call, attempts=1)

    try:
        answer = await remote.again(once)
    except (NotFound, Rejected) as error:
        # ECR refuses even the same manifest (aws/containers-roadmap#2380).
        if is_immutable(error) and await _holds(remote, repo, ref, manifest):
            return
        raise explained(error, manifest) from None
    if answer is not None:
        await _prove(remote, repo, ref, manifest, answer)


async def delete(remote: Remote, repo: str, ref: str) -> None:
    """Delete a tag, or a manifest with all its tags; NotFound if it is not there.

    The right to delete is asked for only when the right to push is too little: Quay, where it
    is enough, gives no good token to who asks for more (containers/image).
    """
    subject = _subject(remote, repo, ref)
    call = Call(
        "DELETE",
        f"/v2/{repo}/manifests/{ref}",
        subject,
        Access(repo, push=True),
        accepts=frozenset({200, 202, 204}),
    )
    try:
        await permitted()
        try:
            await remote.call(call)
        except (AccessDenied, AuthenticationError):
            await remote.call(replace(call, access=Access(repo, push=True, delete=True)))
    except Rejected as error:
        if error.status not in _NO_DELETES and error.code != "UNSUPPORTED":
            raise
        raise error.remade(NoDeletes, hint=_ENABLE) from None


async def _arrived(
    remote: Remote,
    repo: str,
    ref: str,
    manifest: Manifest,
    still: Collection[Digest | None] | None,
) -> bool:
    """Tell before a further attempt whether a manifest is there after all.

    TagMoved if the tag shows neither it nor one of `still`; not knowing is an error then.
    """
    if still is None:
        return await _holds(remote, repo, ref, manifest)
    found = await look(remote, repo, ref, is_new=None in still, to_write=True)
    shown = found.digest if found else None
    if shown is not None and shown.matches(manifest.raw):
        return True
    if shown not in still:
        raise TagMoved(_subject(remote, repo, ref), shown)
    return False


async def _holds(remote: Remote, repo: str, ref: str, manifest: Manifest) -> bool:
    """Tell whether a manifest is there after all; not knowing is no."""
    call = _read("HEAD", remote, repo, ref, to_write=True)
    try:
        answer = await remote.call(call, attempts=1)
        stated = _stated_digest(answer, call.subject)
    except StoreError:
        return False
    return stated is not None and stated.matches(manifest.raw)


async def _prove(remote: Remote, repo: str, ref: str, manifest: Manifest, answer: Answer) -> None:
    subject = _subject(remote, repo, ref)
    stated = _stated_digest(answer, subject)
    if stated is None:
        found = await look(remote, repo, ref, to_write=True)
        if found is None:
            cause = f"the registry answered {answer.status} to the manifest and does not have it"
            raise ProtocolError(subject, cause)
        stated = found.digest
    if not stated.matches(manifest.raw):
        cause = f"the registry stored {stated} instead of {manifest.digest}"
        raise IntegrityError(subject, cause)


def _has_foreign(manifest: Manifest) -> bool:
    return any(blob.is_foreign for blob in manifest.blobs)


def _read(
    method: str,
    remote: Remote,
    repo: str,
    ref: str,
    *,
    accepts: frozenset[int] = frozenset({200}),
    to_write: bool = False,
) -> Call:
    return Call(
        method,
        f"/v2/{repo}/manifests/{ref}",
        _subject(remote, repo, ref),
        Access(repo, push=to_write),
        accepts=accepts,
        headers={"Accept": ACCEPT},
        limit=LARGEST_MANIFEST,
        document=method == "GET",
    )


def _subject(remote: Remote, repo: str, ref: str) -> str:
    return f"{remote.host}/{name_of(repo, ref)}"


def name_of(repo: str, ref: str) -> str:
    """Write a tag or a digest of a repository, without the registry."""
    return f"{repo}{':' if _digest(ref) is None else '@'}{ref}"


def _digest(ref: str) -> Digest | None:
    """Tell a digest from a tag, which cannot hold a colon."""
    return Digest.parse(ref) if ":" in ref else None


def _stated_digest(answer: Answer, subject: str) -> Digest | None:
    text = answer.header("Docker-Content-Digest")
    if not text:
        return None
    try:
        return Digest.parse(text)
    except ValueError as error:
        raise ProtocolError(subject, f"its Docker-Content-Digest is {error}") from None


def _describe(answer: Answer, ref: str, subject: str) -> Descriptor | None:
    """What HEAD says; None if it is too little to rely on."""
    media_type = (answer.header("Content-Type") or "").partition(";")[0].strip()
    digest, expected = _stated_digest(answer, subject), _digest(ref)
    if digest is None or answer.length is None or media_type not in MANIFESTS | SCHEMA1:
        return None
    if expected is not None and digest != expected:
        # distribution 2.8 calls a sha512 manifest by its sha256 (protocol 3.5).
        if digest.algorithm == expected.algorithm:
            raise IntegrityError(subject, f"the registry has {digest} there instead")
        digest = expected
    return Descriptor(media_type, digest, answer.length)
