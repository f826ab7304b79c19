"""Count what happens during a run; the displays and the last words are made from it.

Pure but for the clock it is given. One `Tally` belongs to one run.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.events import (
    BlobFinished,
    BlobMoved,
    BlobStarted,
    Checked,
    ImageFinished,
    ImageStarted,
    Listed,
    Observed,
    Outcome,
    Retrying,
    RunFinished,
    RunStarted,
)
from imgmigrate.plan.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.events import Event, Receipt
    from imgmigrate.oci.reference import Digest, Reference, Repository

__all__ = ["InFlight", "Tally"]


class InFlight(Struct):
    """A blob on its way to a repository: how much of it has arrived."""

    repository: Repository
    digest: Digest
    size: int
    moved: int = 0


@dataclass(slots=True)
class Tally:
    """A sink that only counts. `clock` gives seconds."""

    clock: Callable[[], float] = time.monotonic
    repositories: int = 0
    observed: int = 0
    checked: Checked | None = None
    addresses: int = 0
    planned: int = 0
    settled: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    open: set[Reference] = field(default_factory=set)
    blobs: dict[str, InFlight] = field(default_factory=dict)
    retries: int = 0
    last_retry: Retrying | None = None
    began: float = 0.0
    finished: RunFinished | None = None
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.pace = Pace(self.clock)

    @property
    def images(self) -> int:
        """How many rows this run is about: those to do, and those settled from the start."""
        return self.planned + self.settled

    @property
    def done(self) -> int:
        """How many rows need no further run."""
        return sum(number for outcome, number in self.outcomes.items() if outcome.is_done)

    @property
    def undone(self) -> int:
        """How many rows ended without being done."""
        return self.outcomes.total() - self.done

    @property
    def seconds(self) -> float:
        """How long the run lasts by now."""
        return self.clock() - self.began

    @property
    def size(self) -> int | None:
        """Bytes that the run has to send at most; None if that is not known."""
        return self.pace.size

    @property
    def moved(self) -> int:
        """Bytes that were sent."""
        return self.pace.moved

    @property
    def rate(self) -> float | None:
        """Bytes per second in the last minute; None before it can be told."""
        return self.pace.rate

    @property
    def left(self) -> int | None:
        """Bytes that are to be sent yet, at most; None if that is not known."""
        return self.pace.left

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at the present rate; None if that is not known."""
        return self.pace.seconds_left

    def emit(self, event: Event) -> None:
        """Count one event."""
        self.pace.emit(event)
        match event:
            case BlobMoved():
                self._move(event)
            case BlobStarted():
                name = f"{event.repository}@{event.digest}"
                self.blobs[name] = InFlight(event.repository, event.digest, event.size)
            case BlobFinished():
                self.blobs.pop(f"{event.repository}@{event.digest}", None)
            case ImageStarted():
                self.open.add(event.address)
            case ImageFinished():
                self._finish(event.receipt)
            case Observed():
                self.observed, self.addresses = event.done, event.total
            case Checked():
                self.checked = event
            case Listed():
                self.repositories += 1
            case RunStarted():
                self.planned = event.images
                self.began = self.clock()
            case RunFinished():
                self.finished = event
            case Retrying():
                self.retries += 1
                self.last_retry = event

    def _finish(self, receipt: Receipt) -> None:
        self.outcomes[receipt.outcome] += 1
        if receipt.address in self.open:
            self.open.remove(receipt.address)
        elif receipt.outcome not in (Outcome.APPLIED, Outcome.CANCELLED):
            # Done by an earlier run, stale, or the plan's own conflict or error.
            self.settled += 1

    def _move(self, event: BlobMoved) -> None:
        blob = self.blobs.get(f"{event.repository}@{event.digest}")
        if blob:
            blob.moved = max(0, blob.moved + event.count)
