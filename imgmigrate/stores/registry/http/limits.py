"""Every number of the HTTP side, each with its unit and its reason."""

from __future__ import annotations

from msgspec import Struct

from imgmigrate.stores.retries import Policy

__all__ = ["Timeouts"]

# An error body is for one line of a message (protocol 3.7).
ERROR_BODY = 64 * 1024
# Tokens of registries with many scopes reach some 10 KB; a megabyte is an attack.
TOKEN_BODY = 1024 * 1024
# distribution 2.8 sends all tags in one page: a hundred thousand long ones are 13 MB.
TAGS_BODY = 24 * 1024 * 1024
# Seconds that storing the smallest body may take, and bytes a second that hashing and moving a
# large one takes at least: object storage behind a busy registry copies some 10 MB/s.
LEAST_PATIENCE = 60.0
SLOWEST_STORING = 4 * 1024 * 1024
# More digits than any size has; Python refuses to read very long numbers.
LONGEST_NUMBER = 18
# Bytes that a body must bring in `Timeouts.read` seconds of waiting for it: below that a
# transfer would take years, and holds its place against all others.
LEAST_PROGRESS = 1024
# Upload locations and signed URLs are several KB; aiohttp's own limit is 8190 (protocol 3.2).
HEADER_LINE = 64 * 1024
# Registry, load balancer, storage, CDN; more is a loop.
MOST_REDIRECTS = 5


class Timeouts(Struct, frozen=True):
    """How long to wait for what, in seconds; tests shorten some.

    There is no total timeout: a layer may take hours. `connect` and `read` are aiohttp's
    recommended stall limits, of a connection and of a body. `commit` is long because registries
    hash and move a whole layer before they answer its last byte; `patience` says how much of it
    a body deserves. `stall` bounds a destination that takes no bytes. `token` bounds an answer of
    a token server. `first_retry` doubles up to `longest_retry`; a `Retry-After` is obeyed up to
    `longest_pause`. `answer` bounds the way to the end of an answer's headers, which a server may
    send byte by byte, the connection included. `helper` bounds a credential helper, which may ask
    a person. A registry that is down is waited for `outage` seconds, 0 is not at all.
    """

    connect: float = 15
    read: float = 60
    answer: float = 75
    commit: float = 600
    token: float = 20
    stall: float = 60
    first_retry: float = 0.5
    longest_retry: float = 15
    longest_pause: float = 900
    helper: float = 60
    farewell: float = 5
    outage: float = 0

    @property
    def retries(self) -> Policy:
        """How a request that can be sent twice is tried again."""
        return Policy(
            first_wait=self.first_retry,
            longest_wait=self.longest_retry,
            longest_pause=self.longest_pause,
        )

    def patience(self, size: int) -> float:
        """Seconds to wait for the answer to a body of `size` bytes, at most `commit`."""
        return min(self.commit, LEAST_PATIENCE + size / SLOWEST_STORING)
