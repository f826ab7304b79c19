"""How much of a run is left to send, how fast it goes, and so how long it will take.

One count of a run's events and one estimate, wherever it is said: in the progress display, in the
JSON stream, and in `status`, for which the run writes it down. Pure but for the clock it is given.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.events import BlobFinished, BlobMoved, ImageFinished, RunStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgmigrate.events import Event
    from imgmigrate.oci.reference import Reference, Repository

__all__ = ["Pace", "time_left"]

# Long enough to smooth a registry's pauses, short enough to show that one has stalled.
RATE_WINDOW_SECONDS = 60.0
SAMPLE_SECONDS = 0.5


def time_left(left: int | None, rate: float | None) -> float | None:
    """Seconds that bytes take at a rate, wherever that is said; None if either is not known."""
    if left is None or rate is None or rate <= 0:
        return None
    return left / rate


class _Due(Struct):
    """What rows of one repository that are not done have to send, and what of it has come."""

    send: int = 0
    come: int = 0
    spare: int = 0
    spared: int = 0

    def find(self, size: int) -> None:
        """Note a blob that need not be sent: beyond those foreseen it counts as one that came."""
        before = max(0, self.spared - self.spare)
        self.spared += size
        self.come += max(0, self.spared - self.spare) - before

    def finish(self, send: int) -> None:
        """Strike a row off; what came beyond it was for others."""
        self.send -= send
        self.come = max(0, self.come - send)


class Pace(Struct):
    """A sink that counts bytes; `clock` gives seconds. `size` is what has to be sent at most."""

    clock: Callable[[], float] = time.monotonic
    size: int | None = None
    moved: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _loads: Mapping[Reference, tuple[int, int]] = field(default_factory=dict)
    _due: defaultdict[Repository, _Due] = field(default_factory=lambda: defaultdict(_Due))

    @property
    def rate(self) -> float | None:
        """Bytes per second in the last minute; None before it can be told."""
        if len(self._samples) < 2:
            return None
        now = self.clock()
        # Copied in one step: it is drawn by a thread.
        lately = [each for each in list(self._samples) if now - each[0] <= RATE_WINDOW_SECONDS]
        if not lately:
            return 0.0
        first, start = lately[0]
        return max(0.0, (self.moved - start) / (now - first)) if now > first else None

    @property
    def left(self) -> int | None:
        """Bytes that are to be sent yet, at most; None if that is not known.

        Of a row that is done nothing is left, whatever it was foretold to send; of one that is
        open neither what was sent nor what turned out to be there.
        """
        if self.size is None:
            return None
        if not self._loads:
            return max(0, self.size - self.moved)
        # Likewise.
        return sum(max(0, each.send - each.come) for each in list(self._due.values()))

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at the present rate; None if that is not known."""
        return time_left(self.left, self.rate)

    def emit(self, event: Event) -> None:
        """Count one event."""
        match event:
            case RunStarted():
                self.size, self._loads = event.size, event.loads
                for address, (send, spare) in event.loads.items():
                    due = self._due[address.repository]
                    due.send += send
                    due.spare += spare
            case BlobMoved():
                self._move(event)
            case BlobFinished(how="mounted" | "exists"):
                self._due[event.repository].find(event.size)
            case ImageFinished():
                address = event.receipt.address
                if address in self._loads:
                    self._due[address.repository].finish(self._loads[address][0])

    def _move(self, event: BlobMoved) -> None:
        self.moved += event.count
        self._due[event.repository].come += event.count
        now = self.clock()
        if self._samples and now - self._samples[-1][0] < SAMPLE_SECONDS:
            return
        self._samples.append((now, self.moved))
        while now - self._samples[0][0] > RATE_WINDOW_SECONDS:
            self._samples.popleft()
