"""How one registry wants its blobs: in one PUT, in one PATCH, or in chunks; learnt from refusals.

Pure. One PUT is what most registries take and costs least. Some take only the PATCH that
docker sends (Artifactory: RTFACT-19344), some of them for large blobs only, and some, or a
proxy before them, limit how much one request may hold (ACR, Cloudflare, nginx). What one blob
has taught counts for all later ones of the run (protocol 3.2, 3.3).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgmigrate.errors import StoreError
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.registry.quirks import Quirks

__all__ = ["Form", "Forms", "Posts"]

MIB = 1024 * 1024
# Bytes that a connection takes at once, whether the server reads them or not (asyncio's own
# high-water mark): such a body cannot stall, only its answer can be late.
SMALL_BODY = 64 * 1024
# Asking costs up to three requests and spares one for each small blob: few are not worth it.
ASKS_AFTER = 8
# A registry that fails so often at one-request uploads gets none any more.
MOST_FAILURES = 3
# What is tried below a body that was too large, in bytes: below Cloudflare's 100 MB, ACR's
# 20 MB, and down to nginx's default `client_max_body_size` of 1 MiB.
BODIES = (64 * MIB, 16 * MIB, 4 * MIB, MIB)
# A chunk is kept until the registry has it, so that it can be sent again: memory per stream.
CHUNK = 16 * MIB
# A registry may want larger ones (`OCI-Chunk-Min-Length`), but not all of our memory.
LARGEST_CHUNK = 64 * MIB
# What refuses the way, not the blob; a registry that ignores the PUT's body finds no digest.
_OTHER_WAY = frozenset({400, 404, 405, 411, 415, 422, 501})
_ABOUT_THE_BLOB = frozenset(
    {"NAME_UNKNOWN", "NAME_INVALID", "DENIED", "UNSUPPORTED_DIGEST", "BLOB_UPLOAD_UNKNOWN"}
)
# Bytes are checked before they leave, so what a registry finds wrong went wrong on the way.
_DAMAGED = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})


class Form(Enum):
    """The requests between the POST that opens a session and the end of it."""

    PUT = "everything with the digest"
    PATCH = "everything, then a PUT of the digest"
    CHUNKS = "a PATCH for each chunk, then a PUT of the digest"


class Posts:
    """Whether one registry takes a small blob in the POST itself; found out by asking once."""

    def __init__(self) -> None:
        self.are_taken = False
        self._is_settled = self._is_asking = False
        self._small = self._failures = 0

    def may(self, size: int) -> bool:
        """Tell whether to send a blob of `size` bytes so: it is taken, or is worth asking now."""
        # What a registry thinks of empty blobs is for the usual way to find out and explain.
        if not 0 < size <= SMALL_BODY or (self._is_settled and not self.are_taken):
            return False
        self._small += 1
        if self.are_taken:
            return True
        if self._is_asking or self._small <= ASKS_AFTER:
            return False
        # Before the question goes out: those that come meanwhile take the usual way.
        self._is_asking = True
        return True

    def answered(self, *, is_taken: bool) -> None:
        """Remember the registry's answer."""
        self._is_settled, self.are_taken = True, is_taken

    def failed(self) -> None:
        """Note a request that was not answered or refused; it may have been the repository."""
        self._failures += 1
        self.not_asked()
        if self._failures >= MOST_FAILURES:
            self.answered(is_taken=False)

    def not_asked(self) -> None:
        """Let another blob ask, if this was to be the one."""
        self._is_asking = False


class Forms:
    """What is known of one registry."""

    def __init__(self, quirks: Quirks) -> None:
        self._takes_chunks = quirks.takes_chunks
        self._largest = quirks.largest_body
        self._whole = Form.PUT
        self._proved = 0  # the largest body, in bytes, that was taken in that form
        self._is_settled = False
        self._resent: set[str] = set()
        self.posts = Posts()
        if quirks.takes_posts is not None:
            self.posts.answered(is_taken=quirks.takes_posts)

    def of(self, size: int) -> Form:
        """Choose the form for a blob of `size` bytes."""
        is_small = self._largest is None or size <= self._largest
        return self._whole if is_small else Form.CHUNKS

    def chunk(self, shortest: int) -> int:
        """The size of a chunk, of which a registry wants at least `shortest` bytes."""
        chunk = CHUNK if self._largest is None else min(CHUNK, self._largest)
        return max(chunk, min(shortest, LARGEST_CHUNK))

    def accepted(self, form: Form, size: int) -> None:
        """Learn from a blob that was stored: larger ones may still be refused."""
        if form is self._whole:
            self._proved = max(self._proved, size)

    def teaches(self, error: StoreError, form: Form, body: int, blob: Descriptor) -> bool:
        """Learn from a body of `body` bytes that was refused; tell whether to send anew.

        True a bounded number of times for a blob: limits only fall, and there are two ways to
        send a blob whole.
        """
        if error.status == 413:
            return self._is_too_large(body)
        is_way = error.status in _OTHER_WAY and error.code not in _ABOUT_THE_BLOB
        if is_way and blob.size and form is not Form.CHUNKS:
            if form is not self._whole:
                return True  # another blob has taught it meanwhile
            if not self._is_settled and body > self._proved:
                return self._changes_way(form)
        return self._went_wrong(error, blob)

    def _is_too_large(self, body: int) -> bool:
        if not self._takes_chunks:
            return False
        if self._largest is not None and self._largest < body:
            return True  # another blob has taught it meanwhile
        lower = next((size for size in BODIES if size < body), None)
        if lower is None:
            return False
        self._largest = lower
        return True

    def _changes_way(self, form: Form) -> bool:
        if form is Form.PUT:
            self._whole, self._proved = Form.PATCH, 0
            return True
        self._is_settled = True
        if not self._proved:
            # Neither way: so it was the blob. Others go as before.
            self._whole = Form.PUT
        return False

    def _went_wrong(self, error: StoreError, blob: Descriptor) -> bool:
        """Send once more what arrived damaged."""
        if error.code not in _DAMAGED or blob.digest in self._resent:
            return False
        self._resent.add(blob.digest)
        return True
