"""Who may send when the line is the limit: image by image, and of one what ends first.

Sixteen streams over a slow line all end at its end, and a run that is interrupted has finished
nothing. So where streams get little each, the smallest image has the line, and of its bodies
the one with the least left; the others send a little now and then, since front ends cut a body
that is silent for a minute, and fewer new ones are let in (`gate.py`). Whether it is the line,
and not a limit for each connection, shows by trying: the bytes a second must stay what they
were. If not, all go as before for a while.

A line that is fast is looked at twice a second, and at its first two MiB; nothing waits there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from imgmigrate.stores.gate import image_rank

if TYPE_CHECKING:
    from imgmigrate.stores.gate import Gate

__all__ = ["Share", "Shares", "Watched"]

# Bytes a second that a stream is worth its place for.
STREAM_WORTH = 64 * 1024
# Streams before anything is known of the line, of which all but a few stop after their first
# part, and while it is the limit: two, so that one that waits for its answer leaves no gap.
FIRST_STREAMS, FEWEST_STREAMS = 4, 2
# What no slow line has taken within the first looks, with all that kernels hold, in bytes.
FAST = 2 * 1024 * 1024
# Small blobs that say as much before: they wait for answers, and not for the line.
MANY_SMALL = 8
# Seconds between two looks, and looks that are judged together: more once streams wait, because
# what the others have handed over still leaves. The first one shows what buffers on the way take
# at once, and nothing of the line.
LOOK = 0.5
FIRST_LOOKS, FEW_LOOKS, MANY_LOOKS = 3, 2, 20
# Seconds after which a stream that waits sends something: well below any front end's patience.
KEEP_ALIVE = 10.0
# Streams that wait lose nothing if at least this part of the bytes a second goes on.
STAYS, GROWS = 0.6, 2.0
# Looks until it is tried again where it was not the line, doubled each time.
FIRST_REST = 120


class Watched(Protocol):
    """What tells how many bytes the other side has taken."""

    def taken(self) -> int:
        """Bytes, ever more."""


class Share:
    """One body of `left` bytes on its way; whoever opens it closes it."""

    def __init__(self, shares: Shares, line: Watched, left: int) -> None:
        self.line, self.left = line, left
        self._rank = image_rank.get()
        self.seen, self.moved = line.taken(), 0
        # Set by `Shares` alone. It counts only while it is waited for: `may` is asked first.
        self.go = asyncio.Event()
        self.is_waiting = False
        self._shares = shares

    def urgency(self) -> tuple[int, int, int]:
        """What is less goes first; what has begun is not left for its like."""
        size, opened = self._rank
        return size, self.left, opened

    async def turn(self) -> bool:
        """Wait for a turn; False if it is only to show that the body lives."""
        if self._shares.may(self):
            return True
        self.is_waiting = True
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                await self.go.wait()
        except TimeoutError:
            return False
        finally:
            self.is_waiting = False
        return True

    def sent(self, count: int) -> None:
        """Note bytes that were handed over."""
        self.left -= count
        self._shares.handed(count)

    def close(self) -> None:
        """End it."""
        self._shares.close(self)


class Shares:
    """The bodies that one registry is sent, up to `streams` at once, and the gate before them."""

    def __init__(self, gate: Gate, streams: int) -> None:
        self._gate, self._streams = gate, streams
        # No method here awaits, so each finds and leaves them in accord: a body is open from its
        # first part until it is closed, and all that are favoured are open.
        self._open: list[Share] = []
        self._favoured: list[Share] | None = []  # None: all may send
        self._rates: deque[float] = deque(maxlen=MANY_LOOKS)
        self._is_new = True  # nothing is known of the line
        self._handed = self._small = 0
        self._before = 0.0  # bytes a second when streams began to wait
        self._rest, self._next_rest = 0, FIRST_REST
        self._timer: asyncio.TimerHandle | None = None
        gate.narrow(FIRST_STREAMS, is_known=False)
        gate.first = self._watch

    @property
    def is_free(self) -> bool:
        """Whether everybody may send, as far as is known."""
        return self._favoured is None

    def open(self, line: Watched, left: int) -> Share:
        """Note a body that begins."""
        share = Share(self, line, left)
        self._open.append(share)
        if self._is_new:
            self._favour()
        self._watch()
        return share

    def may(self, share: Share) -> bool:
        """Tell whether a body may go on at once."""
        return self._favoured is None or share in self._favoured

    def handed(self, count: int) -> None:
        """Count what was handed over, until the line is known."""
        self._handed += count
        if self._is_new and self._handed >= FAST:
            self._release()

    def landed(self) -> None:
        """Count a small blob that got there in one request, until the line is known."""
        self._small += 1
        if self._is_new and self._small >= MANY_SMALL:
            self._release()

    def close(self, share: Share) -> None:
        """Forget a body, and let the next one go at once."""
        if share in self._open:
            self._open.remove(share)
            # At once and not at the next look: half a second of an empty line is lost for good.
            if self._favoured is not None:
                self._favour()

    def look(self) -> None:
        """Judge by what was taken since the last look."""
        for share in self._open:
            taken = share.line.taken()
            share.moved, share.seen = max(0, taken - share.seen), taken
        self._rates.append(sum(share.moved for share in self._open) / LOOK)
        if self._is_new:
            if len(self._rates) >= FIRST_LOOKS:
                self._judge()
        elif self._favoured is not None:
            self._check()
        elif self._rest:
            self._rest -= 1
        elif len(self._rates) >= FEW_LOOKS:
            self._judge()

    def _judge(self) -> None:
        """Let streams wait if they get little each; a single one tells nothing."""
        rate = self._rate(FEW_LOOKS)
        sending = sum(1 for share in self._open if share.moved)
        if sending > 1 and rate < STREAM_WORTH * sending:
            self._is_new, self._before = False, rate
            self._rates.clear()
            self._gate.narrow(FEWEST_STREAMS)
            self._favour()
        elif self._is_new and not (sending == 1 and rate < STREAM_WORTH * FEWEST_STREAMS):
            self._release()

    def _check(self) -> None:
        """See whether those who go on get what all had; else, or if it is more, all go on.

        What was a pause, of a busy disk perhaps, shows at once.
        """
        if self._rate(FEW_LOOKS) >= STREAM_WORTH * self._streams:
            self._release()
            return
        if len(self._rates) == MANY_LOOKS:
            rate = self._rate(MANY_LOOKS)
            is_loss = rate < STAYS * self._before
            if is_loss:
                self._rest, self._next_rest = self._next_rest, 2 * self._next_rest
            if is_loss or rate > GROWS * self._before:
                self._release()
                return
        self._favour()

    def _favour(self) -> None:
        """Choose who goes on: of those that can the smallest image, and of it what ends first.

        Of a line that nobody knows it is who came first: what comes later may be smaller, but
        what has been handed over cannot be held back.
        """
        if self._is_new:
            self._favoured = self._open[:FEWEST_STREAMS]
        else:
            # What has just begun fills buffers at once, and is no measure.
            rate = min([self._before, *self._rates][-FEW_LOOKS:])
            able = [share for share in self._open if share.is_waiting or share.moved]
            able.sort(key=Share.urgency)
            self._favoured = able[: max(1, int(rate / STREAM_WORTH))]
        for share in self._open:
            if share in self._favoured:
                share.go.set()
            else:
                share.go.clear()

    def _release(self) -> None:
        self._is_new, self._favoured = False, None
        self._rates.clear()
        self._gate.open()
        for share in self._open:
            share.go.set()

    def _rate(self, looks: int) -> float:
        return sum(list(self._rates)[-looks:]) / looks

    def _watch(self) -> None:
        """Look as long as there is something to be seen."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.look()
        if self._open or self._is_new:
            self._watch()
        else:
            self._rates.clear()
