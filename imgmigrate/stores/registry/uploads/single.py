"""Put a small blob in one request, where a registry is found to take it: `POST ?digest=`.

The specification lets a registry choose; one that does not want it opens a session and ignores
the body (protocol 3.2 form C). So a registry is asked with a blob that has to be uploaded
anyway, and its word is checked once; whatever it answers, the blob gets there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from imgmigrate.errors import StoreError, TransientError
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.blobs import blob_exists
from imgmigrate.stores.registry.uploads.chunked import complete, counted
from imgmigrate.stores.registry.uploads.sessions import OCTETS, check_stored, opened
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.registry.uploads.forms import Posts
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["SingleUpload"]


class SingleUpload:
    """A blob that is kept until it is whole; `otherwise` begins an upload of the usual form."""

    held = 0

    def __init__(
        self,
        remote: Remote,
        repo: str,
        descriptor: Descriptor,
        posts: Posts,
        otherwise: Callable[[], Awaitable[Upload]],
    ) -> None:
        self.descriptor, self.subject = descriptor, f"{remote.host}/{repo}@{descriptor.digest}"
        self._remote, self._repo, self._otherwise = remote, repo, otherwise
        self._posts = posts
        self._is_question = not self._posts.are_taken
        self._data = b""
        self._upload: Upload | None = None

    async def write(self, piece: bytes) -> None:
        """Keep the next piece."""
        counted(self, len(self._data), piece)
        self._remote.limits.bandwidth.announce(len(piece))
        await self._remote.limits.bandwidth.write(len(piece))
        self._data += piece

    async def commit(self) -> None:
        """Send the blob and wait until the registry has stored it."""
        complete(self, len(self._data))
        if await self._is_posted():
            return
        self._upload = await self._otherwise()
        await self._upload.write(self._data)
        await self._upload.commit()

    async def abort(self) -> None:
        """Give up."""
        self._posts.not_asked()
        if self._upload is not None:
            await self._upload.abort()

    async def _is_posted(self) -> bool:
        # A server that cannot read this must not hold the blob for as long as a layer may take.
        patience = self._remote.timeouts.answer if self._is_question else None
        call = Call(
            "POST",
            f"/v2/{self._repo}/blobs/uploads/?digest={quote(self.descriptor.digest, safe='')}",
            self.subject,
            Access(self._repo, push=True),
            accepts=frozenset({201, 202}),
            headers=OCTETS,
            data=self._data,
            patience=patience,
            # Of a question that may be an answer as well as a limit.
            hopeless=frozenset({503}) if self._is_question else frozenset(),
        )
        try:
            answer = await self._remote.call(call, attempts=1)
            if answer.status == 201:
                check_stored(answer, self.subject, self.descriptor.digest)
                is_taken = not self._is_question or await self._is_there()
            else:
                is_taken = False
                # What became of the body is not known, so nothing can follow it.
                session = opened(self._remote, self._repo, self.descriptor, answer)
                if session is not None:
                    await session.cancel()
        except StoreError as error:
            self._posts.failed()
            if isinstance(error, TransientError) and not self._is_question:
                raise
            return False
        self._posts.answered(is_taken=is_taken)
        self._remote.shares.landed()
        return is_taken

    async def _is_there(self) -> bool:
        return await blob_exists(self._remote, self._repo, self.descriptor.digest)
