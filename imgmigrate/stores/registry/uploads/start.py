"""Put blobs into a registry: by mounting, or by POST and the form that it is known to take.

Where a session outlives a request that broke, the upload goes on there (`kept.py`).

Every body has its length in advance, because some registries and the storage behind others
take nothing else (protocol 3.2).
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from imgmigrate.errors import OutOfReach, ProtocolError, StoreError, TransientError
from imgmigrate.stores.base import Mounted, OtherForm
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.known.mounts import Mounting
from imgmigrate.stores.registry.uploads.chunked import ChunkedUpload, complete, counted, learning
from imgmigrate.stores.registry.uploads.forms import Form, Forms
from imgmigrate.stores.registry.uploads.kept import KEPT_FROM, KeptSessions
from imgmigrate.stores.registry.uploads.sending import Sending
from imgmigrate.stores.registry.uploads.sessions import Session, opened
from imgmigrate.stores.registry.uploads.single import SingleUpload
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["ResumedUpload", "Uploads", "WholeUpload"]

# dotnet/sdk-container-builds#279: no answer at all.
_ABSENT = "if it stays so: this registry cuts the connection where the repository does not exist"


class Uploads:
    """Begins the uploads to one registry; what one blob has taught counts for all later ones."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._forms = Forms(remote.quirks)
        self.mounting = Mounting()
        self._kept = KeptSessions(lambda: remote.origin, is_on=remote.quirks.keeps_uploads)

    async def start(
        self, repo: str, descriptor: Descriptor, mount_from: str | None = None
    ) -> Mounted | Upload:
        """Mount the blob from another repository of the registry, or open an upload session."""
        remote, session = self._remote, None
        if mount_from not in (None, repo) and await _may_mount(remote, repo, mount_from):
            answer = await _try_mount(remote, repo, descriptor.digest, mount_from)
            if answer is not None and answer.status == 201:
                self.mounting.given += 1
                return Mounted()
            self.mounting.refused += 1
            session = opened(remote, repo, descriptor, answer) if answer is not None else None
        resumed = await self._resumed(repo, descriptor)
        if resumed is not None:
            if session is not None:
                await session.cancel()
            return resumed
        if session is not None:
            return self._upload(session)
        if self._forms.posts.may(descriptor.size):
            usual = partial(self._begin, repo, descriptor)
            return SingleUpload(remote, repo, descriptor, self._forms.posts, otherwise=usual)
        return await self._begin(repo, descriptor)

    async def _begin(self, repo: str, descriptor: Descriptor) -> Upload:
        answer = await _open(self._remote, repo, descriptor)
        session = opened(self._remote, repo, descriptor, answer)
        if session is None:
            cause = "it opened an upload without saying where"
            raise ProtocolError(f"{self._remote.host}/{repo}", cause)
        return self._upload(session)

    def _upload(self, session: Session, start: int = 0) -> Upload:
        size = session.descriptor.size
        form = self._forms.of(size)
        if form is Form.CHUNKS:
            return ChunkedUpload(session, self._forms, start)
        if self._kept.is_on and size >= KEPT_FROM:
            # What a PUT has brought when it breaks is nowhere said to count.
            form = Form.PATCH
            self._kept.keep(session.repo, session.descriptor.digest, session.location)
        return WholeUpload(session, self._forms, self._kept, form, start)

    async def _resumed(self, repo: str, descriptor: Descriptor) -> Upload | None:
        """Go on with an upload that broke, in this run or before it; None if there is none.

        The offset is the registry's word, asked for now. That what it holds is ours, its check of
        the digest at the end will tell; and that what is sent is right, the sender's, who is given
        every byte of the source all the same.
        """
        location = self._kept.take(repo, descriptor.digest)
        if location is None:
            return None
        session = Session(self._remote, repo, descriptor, location)
        held = await session.progress()
        if held is None or held > descriptor.size:
            return None
        return ResumedUpload(session, self._upload(session, held), self._kept, held)


async def _open(remote: Remote, repo: str, descriptor: Descriptor) -> Answer:
    target, subject = f"/v2/{repo}/blobs/uploads/", _subject(remote, repo, descriptor.digest)
    call = Call("POST", target, subject, Access(repo, push=True), frozenset({202}))
    try:
        return await remote.call(call)
    except TransientError as error:
        is_cut = error.status is None and not isinstance(error, OutOfReach)
        if not is_cut or not remote.quirks.cuts_absent:
            raise
        raise error.remade(TransientError, hint=_ABSENT) from None


async def _may_mount(remote: Remote, repo: str, mount_from: str) -> bool:
    """Tell whether one login reaches both repositories: no other is asked for a mount."""
    try:
        return await remote.auth.same_credential(repo, mount_from)
    except StoreError:
        return False  # the upload will say what is wrong with it


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
        answer = await remote.call(call, attempts=1)
    except StoreError:
        return None
    stated = answer.header("Docker-Content-Digest") or str(digest)
    is_other = stated.partition(":")[0] == digest.algorithm and stated != digest
    return None if answer.status == 201 and is_other else answer


def _subject(remote: Remote, repo: str, digest: Digest) -> str:
    return f"{remote.host}/{repo}@{digest}"


class WholeUpload:
    """A blob in one body: a PUT of everything, or a PATCH of everything and a PUT of the digest.

    With a `start` the session holds all before it, and the PATCH is of the rest.
    """

    held = 0

    def __init__(
        self, session: Session, forms: Forms, kept: KeptSessions, form: Form, start: int = 0
    ) -> None:
        self._session, self._forms, self._kept, self._form = session, forms, kept, form
        self._size = session.descriptor.size
        part = session.part(start, self._size) if start else session.part()
        call = session.whole() if form is Form.PUT else part
        self._sending = Sending(session.remote, call, self._size - start)
        self._start = self._sent = start

    async def write(self, piece: bytes) -> None:
        """Send the next piece; returns when the registry has taken those before it."""
        self._sent = counted(self._session, self._sent, piece)
        with self._learning():
            await self._sending.write(piece)

    async def commit(self) -> None:
        """Send the end and wait until the registry has stored the blob."""
        complete(self._session, self._sent)
        with self._learning():
            if self._form is Form.PUT:
                self._session.stored(await self._sending.finish())
            else:
                if self._start < self._size or not self._size:
                    self._session.moved_on(await self._sending.finish())
                await self._session.close()
        self._forget()
        self._forms.accepted(self._form, self._size)

    async def abort(self) -> None:
        """Give up. A session that got no byte is cancelled; any other ended with its request."""
        if self._sending.has_begun or self._start:
            await self._sending.end()
        else:
            self._forget()
            await self._session.cancel()

    @contextmanager
    def _learning(self) -> Iterator[None]:
        try:
            with learning(self._session, self._forms, self._form, lambda: self._size):
                yield
        except OtherForm:
            # It does not take the form that a session is kept for, or not any more.
            self._kept.is_on = False
            raise

    def _forget(self) -> None:
        self._kept.forget(self._session.repo, self._session.descriptor.digest)


class ResumedUpload:
    """A blob of which the registry holds the first `held` bytes: those are not sent again.

    Whatever the registry has against it, it is begun anew, and not gone on with any more.
    """

    def __init__(self, session: Session, rest: Upload, kept: KeptSessions, held: int) -> None:
        self._session, self._rest, self._kept, self.held = session, rest, kept, held
        self._seen = 0

    async def write(self, piece: bytes) -> None:
        """Send what is missing of the next piece."""
        skip = max(0, min(self.held - self._seen, len(piece)))
        self._seen += len(piece)
        if skip < len(piece):
            with self._anew():
                await self._rest.write(piece[skip:] if skip else piece)

    async def commit(self) -> None:
        """Finish; the registry compares the digest of all that it holds."""
        with self._anew():
            await self._rest.commit()

    async def abort(self) -> None:
        """Give up for now."""
        await self._rest.abort()

    @contextmanager
    def _anew(self) -> Iterator[None]:
        try:
            yield
        except TransientError:
            raise
        except StoreError as error:
            self._kept.forget(self._session.repo, self._session.descriptor.digest)
            raise error.remade(OtherForm) from error
