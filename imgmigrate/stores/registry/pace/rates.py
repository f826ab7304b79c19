"""How many requests a second a registry allows, learnt from what it lets through and refuses.

Knows no registry and no request: it is told of answers, and holds back who is to ask. Nothing
is held back before the first refusal. From then on the rate is what was let through lately. It
grows back to where it was refused in `RETURN` busy seconds, stays near for as long, and then
probes upwards ever faster (TCP's CUBIC, on a rate); a refusal takes a tenth off, or halves it
where far too much was asked, once per epoch. Requests that are refused cost a limiter nothing,
requests that are not asked cost us time: so the estimate stays close to the limit.

The first refusal may come before anything could be measured: then the rate is a guess, which
doubles until refusals are more than a few.

Refusals that get no rarer when less is asked are not about our rate (a limit that others use
up, a front end that throws dice). Then the cuts are taken back, and the rate grows until there
are more of them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from imgmigrate.stores.registry.pace.pacing import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imgmigrate.clock import Clock

__all__ = ["Rate"]

# Seconds over which is measured what gets through, and how long an epoch lasts at least: a
# burst that limiters allow after a pause must not be taken for their rate.
LATELY = 4.0
SHORTEST_EPOCH = 1.0
# So many requests a second at least are tried where too little was let through to tell.
START = 20.0
# Busy seconds until the rate is back where it was refused.
RETURN = 5.0
# What a refusal now and then leaves, many of them at least, and an epoch of nothing else.
BACK_OFF, COLLAPSE, SILENCE = 0.9, 0.5, 0.25
# A share of refusals that tells one from the other.
SELDOM = 0.2
# Requests a second: whoever lets nothing through is asked every other second whether it does.
LEAST, LEAST_KNOWN = 0.5, 0.05
# Answers that tell something about a share, and so many that end an epoch of nothing else.
TELLING, ENOUGH = 20, 50
# Successes that tell a rate for the next run.
EVIDENCE = 40
# Successes below which it is chance how many there are.
LEAST_THROUGH = 5
# How a guess grows in a busy second, and a rate that a few refusals say nothing about.
GUESS, UNMOVED = 2.0, 1.2
# Cuts in a row, each long before the rate was back, after which a few refusals say nothing.
MOST_CUTS = 3
# Of a rate that is cut, this much less gets through where the cut was in vain.
IN_VAIN = 0.75
# A fraction of a second's worth may go at once, so that timers cost no throughput.
BURST_SECONDS = 0.1


class Rate:
    """An estimate for the requests that one registry counts together.

    `known` requests a second is where to start. `waits` is told of every wait, in seconds.
    """

    def __init__(
        self, clock: Clock, waits: Callable[[float], None], known: float | None = None
    ) -> None:
        self._clock, self._waits = clock, waits
        self.refusals = 0
        self._bucket: Bucket | None = None
        self._answers: deque[tuple[float, bool]] = deque(maxlen=1024)
        self._began = self._top = self._base = 0.0
        self._held = self._busy = 0.0
        self._before: tuple[float, float] | None = None
        # A factor for each busy second, while a few refusals do not count; 0: they do.
        self._growth = 0.0
        self._cuts: list[tuple[float, float]] = []  # each a rate, and the share refused
        self._usual = 0.0
        self._since: float | None = None  # the first refusal: bursts are over by then
        self._passed, self._last = 0, 0.0
        if known is not None:
            self._set(known)

    @property
    def is_known(self) -> bool:
        """Whether requests are held back at all."""
        return self._bucket is not None

    @property
    def value(self) -> float | None:
        """Requests a second; None if none was ever refused."""
        return self._bucket.rate if self._bucket else None

    @property
    def found(self) -> float | None:
        """Requests a second that are known to be let through; None if too few were to tell.

        Refusals by chance are about no rate.
        """
        if self.value is None or self._since is None or self._usual:
            return None
        lasted = self._last - self._since
        if self._passed < EVIDENCE or lasted < LATELY:
            return None
        # At the end less may have been asked, or let through, than before.
        through = self._passed / lasted
        return through if self._growth else max(self.value, through)

    async def take(self) -> None:
        """Wait until a request may go."""
        if self._bucket is not None:
            await self._bucket.take()

    def succeeded(self) -> None:
        """Note a request that was let through; the rate grows by the time that it was held back."""
        self._last = self._clock.time()
        self._answers.append((self._last, True))
        self._passed += self._since is not None
        if self._bucket is None or not self._held:
            return
        self._busy, self._held = self._busy + self._held, 0.0
        if self._growth:
            self._pace(self._base * self._growth**self._busy)
            return
        way = self._busy / RETURN - 1
        self._pace(self._top + (self._top - self._base) * way**3)

    def refused(self, sent: float) -> None:
        """Note a refusal of what was `sent` at a time of the clock."""
        now = self._clock.time()
        self._answers.append((now, False))
        self.refusals += 1
        self._since = now if self._since is None else self._since
        if self._bucket is None:
            through = self._through(now)
            is_measured = now - self._answers[0][0] >= LATELY
            self._growth = 0.0 if is_measured else GUESS
            self._set(max(through, START))
        # What was sent before the last cut says nothing of the rate since.
        elif sent > self._began:
            self._judge(now, self._bucket.rate)

    def _judge(self, now: float, rate: float) -> None:
        """End an epoch if it has told enough."""
        epoch = now - self._began
        lately = [is_ok for then, is_ok in self._answers if then >= max(self._began, now - LATELY)]
        is_silent = not any(lately)
        is_over = epoch >= SHORTEST_EPOCH and (len(lately) >= TELLING or epoch >= LATELY)
        if not is_over and not (is_silent and len(lately) >= ENOUGH):
            return
        through, share = self._through(now), 1 - sum(lately) / len(lately)
        before, self._before = self._before, None
        if self._growth and share < SELDOM + self._usual * (1 - SELDOM):
            self._set(rate)
            return
        self._growth = 0.0
        if is_silent:
            self._cuts.clear()
            self._set(max(rate * SILENCE, min(rate, LEAST)), top=self._top)
        elif before is not None and _is_in_vain(before, (rate, through)):
            self._let_grow(before[0] / COLLAPSE, share)
        elif (uncut := self._in_vain(rate, share)) is not None:
            self._let_grow(*uncut)
        elif share < SELDOM:
            self._set(rate * BACK_OFF, top=rate)
        else:
            is_telling = len(lately) >= TELLING and sum(lately) >= LEAST_THROUGH
            self._before = (rate, through) if is_telling else None
            self._set(max(rate * COLLAPSE, through * BACK_OFF), top=through)

    def _in_vain(self, rate: float, share: float) -> tuple[float, float] | None:
        """Note a cut; the rate before, and the usual share, if several have not helped.

        A limiter lets everything through until the rate is back where it was, and as much as
        before if the cut was not deep enough.
        """
        if self._busy >= RETURN / 2:
            self._cuts.clear()
            self._usual = 0.0
        self._cuts.append((rate, share))
        if len(self._cuts) <= MOST_CUTS:
            return None
        (first, then), usual = self._cuts[0], _mean(share for _, share in self._cuts)
        cut, through = rate / first, rate * (1 - share) / (first * (1 - then))
        if through >= (cut + 1) / 2:
            del self._cuts[0]
            return None
        return first, usual

    def _let_grow(self, rate: float, usual: float) -> None:
        """Go on at a rate; refusals up to about the usual share say nothing of it."""
        self._usual, self._growth = usual, UNMOVED
        self._cuts.clear()
        self._set(rate)

    def _through(self, now: float) -> float:
        """What gets through a second: of late, and in this epoch."""
        since = max(self._began, now - LATELY)
        times = [then for then, is_ok in self._answers if is_ok and then >= since]
        if self._answers and len(self._answers) == self._answers.maxlen:
            since = max(since, self._answers[0][0])
        return len(times) / max(now - since, SHORTEST_EPOCH)

    def _set(self, rate: float, *, top: float = 0.0) -> None:
        """Begin an epoch at this rate, which grows back to `top`."""
        self._began = self._clock.time()
        self._base, self._top = rate, max(top, rate / BACK_OFF)
        self._busy = self._held = 0.0
        self._pace(rate)

    def _pace(self, rate: float) -> None:
        rate = max(rate, LEAST_KNOWN)
        burst = max(1.0, rate * BURST_SECONDS)
        if self._bucket is None:
            self._bucket = Bucket(rate, burst, self._clock, self._waited)
        else:
            # Somebody may be asleep in it: what came together until now came at the old rate.
            self._bucket.settle()
            self._bucket.rate, self._bucket.burst = rate, burst

    def _waited(self, seconds: float) -> None:
        self._held += min(seconds, RETURN)
        self._waits(seconds)


def _mean(shares: Iterable[float]) -> float:
    found = list(shares)
    return sum(found) / len(found)


def _is_in_vain(before: tuple[float, float], now: tuple[float, float]) -> bool:
    """Tell whether less was asked, and as much less got through; each is what in a second."""
    return now[0] < before[0] * IN_VAIN and now[1] < before[1] * IN_VAIN
