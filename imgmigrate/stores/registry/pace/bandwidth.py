"""What the config allows one registry: bytes of blobs a second each way, and requests a second.

Knows no request. Every wait that is long enough to wonder about is told.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from imgmigrate.events import Waiting
from imgmigrate.stores.registry.pace.pacing import Bucket

if TYPE_CHECKING:
    from imgmigrate.clock import Clock
    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.events import Sink

__all__ = ["Bandwidth", "configured", "streams_of", "told_bucket"]

# A fraction of a second's worth may go at once: smooth enough for any registry, and large
# enough that the loop's timers, which are exact to a millisecond, cost no throughput.
BURST_SECONDS = 0.1
# Seconds in which every open stream gets its turn where `bandwidth` is the limit: front ends cut
# a body that is silent for a minute (nginx: client_body_timeout).
ROUND = 1.0
# Bytes of a stream that go in one turn, at least and at most: below that a turn costs more than
# what it sends, and more would be a burst of its own.
LEAST_TURN, LARGEST_TURN = 1024, 1024 * 1024
# Bytes a second that a stream gets where `bandwidth` is shared; with less, fewer are open, so
# that some blob is done soon. Two, so that one which waits for its answer leaves no gap.
STREAM_WORTH = 64 * 1024
FEWEST_STREAMS = 2
# A shorter wait needs no explanation, in seconds.
WORTH_SAYING = 5.0
# Seconds before a wait that goes on is told again.
SAY_AGAIN = 60.0


class Bandwidth:
    """The bytes a second of one registry; `host` is for messages.

    Who has sent a part of a body asks for one `turn` of bytes at a time.
    """

    def __init__(self, host: str, config: RegistryConfig, clock: Clock, sink: Sink) -> None:
        self._host, self._clock, self._sink = host, clock, sink
        self._said = -inf
        # One for each way: what comes in takes nothing from what goes out.
        self._reads = configured("bandwidth", config.bandwidth, host, clock, sink)
        self._writes = configured("bandwidth", config.bandwidth, host, clock, sink)
        share = (config.bandwidth or inf) * ROUND / streams_of(config)
        self.turn = int(min(max(share, LEAST_TURN), LARGEST_TURN))

    async def read(self, size: int) -> None:
        """Wait until so many bytes of a blob may be passed on, in turns with other streams."""
        if self._reads:
            self.announce(size)
            await self._take(self._reads, size)

    async def write(self, size: int) -> None:
        """Wait until so many bytes of a blob may be sent."""
        if self._writes:
            await self._take(self._writes, size)

    def announce(self, size: int) -> None:
        """Say so, now and then, if so many bytes take long because of the configured bandwidth."""
        now = self._clock.time()
        if self._writes and size / self._writes.rate >= WORTH_SAYING and now >= self._said:
            self._said = now + SAY_AGAIN
            cause = "kept slow by bandwidth in the config"
            self._sink.emit(Waiting(self._host, cause, size / self._writes.rate))

    async def _take(self, bucket: Bucket, size: int) -> None:
        for start in range(0, size, self.turn):
            await bucket.take(min(self.turn, size - start))


def configured(key: str, rate: float | None, host: str, clock: Clock, sink: Sink) -> Bucket | None:
    """Make the bucket of a key of the config; None if it sets no limit."""
    if rate is None:
        return None
    burst = max(1.0, rate * BURST_SECONDS)
    return told_bucket(rate, burst, f"{key} in the config", host, clock, sink)


def told_bucket(
    rate: float, burst: float, name: str, host: str, clock: Clock, sink: Sink
) -> Bucket:
    """Make a bucket that says whose limit it is when it makes somebody wait."""

    def waits(seconds: float) -> None:
        if seconds >= WORTH_SAYING:
            sink.emit(Waiting(host, f"kept slow by {name}", seconds))

    return Bucket(rate, burst, clock, waits)


def streams_of(config: RegistryConfig) -> int:
    """How many blob streams may be open at once in each direction; fewer over a narrow line."""
    if config.bandwidth is None:
        return config.concurrency
    return min(config.concurrency, max(FEWEST_STREAMS, int(config.bandwidth / STREAM_WORTH)))
