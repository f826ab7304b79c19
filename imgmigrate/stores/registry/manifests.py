"""Describe, read and write manifests: bytes as they are, digests never taken on trust.

Source: distribution-spec "Pulling manifests" and "Pushing manifests"; protocol 2.1 and 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import (
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
from imgmigrate.stores.registry.auth import Access
from imgmigrate.stores.registry.remote import Call

if TYPE_CHECKING:
    from imgmigrate.stores.registry.http.session import Answer
    from imgmigrate.stores.registry.remote import Remote

__all__ = ["head", "put_manifest", "read_manifest"]

# Where HEAD is not offered, or says nothing of why it failed, GET may know more (protocol 2.1).
_ASK_WITH_GET = frozenset({400, 403, 405, 501})
_BLOB_MISSING = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})


async def head(remote: Remote, repo: str, ref: str) -> Descriptor | None:
    """Describe a manifest; None only if the registry says that it is not there (404)."""
    call = _read("HEAD", remote, repo, ref, accepts=frozenset({200, 404}) | _ASK_WITH_GET)
    answer = await remote.call(call)
    if answer.status == 404:
        return None
    found = _describe(answer, ref, call.subject) if answer.status == 200 else None
    if found is not None:
        return found
    try:
        return (await read_manifest(remote, repo, ref)).descriptor
    except NotFound:
        return None


async def read_manifest(remote: Remote, repo: str, ref: str) -> Manifest:
    """Read a manifest and verify it; IntegrityError if a digest is not that of its bytes."""
    call = _read("GET", remote, repo, ref)
    answer = await remote.call(call)
    expected = _digest(ref)
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


async def put_manifest(remote: Remote, repo: str, ref: str, manifest: Manifest) -> None:
    """Write a manifest under a tag or its digest, and prove that it is there."""
    access = Access(repo, push=True)
    call = Call(
        "PUT",
        f"/v2/{repo}/manifests/{ref}",
        _subject(remote, repo, ref),
        access,
        accepts=frozenset({200, 201, 202}),
        headers={"Content-Type": manifest.media_type},
        data=manifest.raw,
    )
    try:
        answer = await remote.call(call)
    except NotFound as error:
        raise _missing(error) from None
    stated = _stated_digest(answer, call.subject)
    if stated is None:
        found = await head(remote, repo, ref)
        if found is None:
            cause = f"the registry answered {answer.status} to the manifest and does not have it"
            raise ProtocolError(call.subject, cause)
        stated = found.digest
    if not stated.matches(manifest.raw):
        cause = f"the registry stored {stated} instead of {manifest.digest}"
        raise IntegrityError(call.subject, cause)


def _read(
    method: str, remote: Remote, repo: str, ref: str, accepts: frozenset[int] = frozenset({200})
) -> Call:
    return Call(
        method,
        f"/v2/{repo}/manifests/{ref}",
        _subject(remote, repo, ref),
        Access(repo),
        accepts=accepts,
        headers={"Accept": ACCEPT},
        limit=LARGEST_MANIFEST,
    )


def _subject(remote: Remote, repo: str, ref: str) -> str:
    return f"{remote.host}/{repo}{':' if _digest(ref) is None else '@'}{ref}"


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


def _missing(error: StoreError) -> StoreError:
    """Tell a manifest that names what is not there from a repository that is not there."""
    if error.code not in _BLOB_MISSING:
        return error
    return Rejected(
        error.subject, error.cause, hint=error.hint, status=error.status, code=error.code
    )
