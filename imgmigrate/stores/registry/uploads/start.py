"""Put blobs into a registry: by mounting, or by POST and the form that it is known to take.

Every body has its length in advance, because some registries and the storage behind others
take nothing else (protocol 3.2).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from imgmigrate.errors import ProtocolError, StoreError, TransientError
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.registry.auth.authenticator import Access
from imgmigrate.stores.registry.uploads.chunked import ChunkedUpload, complete, counted, learning
from imgmigrate.stores.registry.uploads.forms import Form
from imgmigrate.stores.registry.uploads.sending import Sending
from imgmigrate.stores.registry.uploads.sessions import opened
from imgmigrate.stores.registry.uploads.single import SingleUpload
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.registry.http.session import Answer
    from imgmigrate.stores.registry.uploads.forms import Forms
    from imgmigrate.stores.registry.uploads.sessions import Session
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["WholeUpload", "start_upload"]

# dotnet/sdk-container-builds#279: no answer at all.
_ABSENT = "if it stays so: this registry cuts the connection where the repository does not exist"


async def start_upload(
    remote: Remote, repo: str, descriptor: Descriptor, mount_from: str | None = None
) -> Mounted | Upload:
    """Mount the blob from another repository of the registry, or open an upload session."""
    session = None
    if mount_from is not None and mount_from != repo:
        answer = await _try_mount(remote, repo, descriptor.digest, mount_from)
        if answer is not None and answer.status == 201:
            return Mounted()
        session = opened(remote, repo, descriptor, answer) if answer is not None else None
    if session is not None:
        return _upload(session)
    if remote.forms.posts.may(descriptor.size):
        usual = partial(_begin, remote, repo, descriptor)
        return SingleUpload(remote, repo, descriptor, otherwise=usual)
    return await _begin(remote, repo, descriptor)


async def _begin(remote: Remote, repo: str, descriptor: Descriptor) -> Upload:
    answer = await _open(remote, repo, descriptor)
    session = opened(remote, repo, descriptor, answer)
    if session is None:
        cause = "it opened an upload without saying where"
        raise ProtocolError(f"{remote.host}/{repo}", cause)
    return _upload(session)


def _upload(session: Session) -> Upload:
    remote = session.remote
    form = remote.forms.of(session.descriptor.size)
    if form is Form.CHUNKS:
        return ChunkedUpload(session, remote.forms)
    return WholeUpload(session, remote.forms, form)


async def _open(remote: Remote, repo: str, descriptor: Descriptor) -> Answer:
    target, subject = f"/v2/{repo}/blobs/uploads/", _subject(remote, repo, descriptor.digest)
    call = Call("POST", target, subject, Access(repo, push=True), frozenset({202}))
    try:
        return await remote.call(call)
    except TransientError as error:
        if error.status is not None or not remote.quirks.cuts_absent:
            raise
        raise TransientError(error.subject, error.cause, hint=_ABSENT) from None


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


def _subject(remote: Remote, repo: str, digest: Digest) -> str:
    return f"{remote.host}/{repo}@{digest}"


class WholeUpload:
    """A blob in one body: a PUT of everything, or a PATCH of everything and a PUT of the digest."""

    def __init__(self, session: Session, forms: Forms, form: Form) -> None:
        self._session, self._forms, self._form = session, forms, form
        call = session.whole() if form is Form.PUT else session.part()
        self._size = session.descriptor.size
        self._sending = Sending(session.remote, call, self._size)
        self._sent = 0

    async def write(self, piece: bytes) -> None:
        """Send the next piece; returns when the registry has taken those before it."""
        self._sent = counted(self._session, self._sent, piece)
        with learning(self._session, self._forms, self._form, self._body):
            await self._sending.write(piece)

    async def commit(self) -> None:
        """Send the end and wait until the registry has stored the blob."""
        complete(self._session, self._sent)
        with learning(self._session, self._forms, self._form, self._body):
            answer = await self._sending.finish()
            if self._form is Form.PUT:
                self._session.stored(answer)
            else:
                self._session.moved_on(answer)
                await self._session.close()
        self._forms.accepted(self._form, self._size)

    async def abort(self) -> None:
        """Give up. A session that got no byte is cancelled; any other ended with its request."""
        if self._sending.has_begun:
            await self._sending.end()
        else:
            await self._session.cancel()

    def _body(self) -> int:
        return self._size
