"""Send a blob in chunks: a PATCH each, every next Location from the answer before.

For registries and proxies that limit a body (protocol 3.2 form D, 3.3). Our own offset counts;
the registry's is asked for only when a chunk broke, since ECR's stands still and Quay's is one
too many. A chunk is kept until it is answered, so that it can be sent again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from imgmigrate.errors import IntegrityError, Rejected, StoreError, TransientError, at_host
from imgmigrate.stores.base import OtherForm
from imgmigrate.stores.registry.uploads.forms import Form
from imgmigrate.stores.registry.uploads.sending import Sending
from imgmigrate.stores.registry.uploads.sessions import of_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.registry.uploads.forms import Forms
    from imgmigrate.stores.registry.uploads.sessions import Session

__all__ = ["ChunkedUpload", "complete", "counted", "learning"]

# A session that breaks more often is not healing; a new one may.
MOST_RECOVERIES = 5


class ChunkedUpload:
    """A blob in chunks, each streamed with its own length."""

    held = 0

    def __init__(self, session: Session, forms: Forms, start: int = 0) -> None:
        self._session, self._forms = session, forms
        self._size = session.descriptor.size
        self._chunk = forms.chunk(session.shortest_chunk)
        self._start, self._sent, self._recoveries = start, start, 0
        self._kept: list[bytes] = []
        self._sending = self._next()

    async def write(self, piece: bytes) -> None:
        """Send the next piece; returns when the registry has taken those before it."""
        counted(self._session, self._sent, piece)
        view = memoryview(piece)
        with learning(self._session, self._forms, Form.CHUNKS, self._body):
            while view:
                part = bytes(view[: self._end - self._sent])
                view = view[len(part) :]
                self._kept.append(part)
                self._sent += len(part)
                try:
                    await self._sending.write(part)
                    if self._sent == self._end:
                        await self._finish()
                except TransientError as error:
                    await self._recover(error)

    async def commit(self) -> None:
        """Send the digest and wait until the registry has stored the blob."""
        complete(self._session, self._sent)
        with learning(self._session, self._forms, Form.CHUNKS, self._body):
            await self._session.close()

    async def abort(self) -> None:
        """Give up, and cancel the session, which may hold gigabytes."""
        await self._sending.end()
        await self._session.cancel()

    @property
    def _end(self) -> int:
        """Where the chunk ends that is being sent."""
        return min(self._start + self._chunk, self._size)

    def _next(self) -> Sending:
        call = self._session.part(self._start, self._end)
        return Sending(self._session.remote, call, self._end - self._start)

    async def _finish(self) -> None:
        """Wait for the answer to a chunk, and begin the next."""
        answer = await self._sending.finish()
        self._session.moved_on(answer)
        self._start = self._sent
        self._kept.clear()
        self._sending = self._next()

    async def _recover(self, error: TransientError) -> None:
        """Send what is missing of the chunk that broke, if the session tells how far it is."""
        while True:
            await self._sending.end()
            held = await self._session.progress()
            self._recoveries += 1
            is_ours = held is not None and self._start <= held <= self._sent
            if held is None or not is_ours or self._recoveries > MOST_RECOVERIES:
                raise error
            kept = b"".join(self._kept)[held - self._start :]
            self._start, self._kept = held, [kept] if kept else []
            self._sending = self._next()
            try:
                if kept:
                    await self._sending.write(kept)
                if self._sent == self._end and self._sent > self._start:
                    await self._finish()
            except TransientError as again:
                error = again
            else:
                return

    def _body(self) -> int:
        """The size that a refusal is about: none if such a chunk was taken or is demanded."""
        body = self._end - self._start
        return 0 if self._start or self._session.shortest_chunk >= body else body


@contextmanager
def learning(session: Session, forms: Forms, form: Form, body: Callable[[], int]) -> Iterator[None]:
    """Tell refusals that teach another form, and lost sessions, from those that are final.

    `body` is the size of what was refused, in bytes.
    """
    try:
        with at_host(session.remote.host, session.repo):
            yield
    except TransientError:
        raise
    except StoreError as error:
        if forms.teaches(error, form, body(), session.descriptor):
            raise error.remade(OtherForm) from error
        if not session.descriptor.size and isinstance(error, Rejected):
            # GAR does not: oras-go#294.
            hint = "the registry takes no empty blobs"
            raise error.remade(Rejected, hint=hint) from error
        raise of_session(error) from error


class Described(Protocol):
    """A blob on its way, as far as its size is concerned."""

    @property
    def subject(self) -> str:
        """Its name, for messages."""

    @property
    def descriptor(self) -> Descriptor:
        """What its manifest says of it."""


def counted(blob: Described, sent: int, piece: bytes) -> int:
    """Count bytes on their way; IntegrityError above the size of the blob."""
    size = blob.descriptor.size
    if sent + len(piece) > size:
        raise IntegrityError(blob.subject, f"more than its {size} bytes")
    return sent + len(piece)


def complete(blob: Described, sent: int) -> None:
    """Check before the end that no byte is missing."""
    left = blob.descriptor.size - sent
    if left:
        raise IntegrityError(blob.subject, f"{left} bytes are missing at its end")
