"""Remember between runs of this machine how fast registries let requests through.

Only a place to start from: a run that is refused nothing asks ever faster, and what is older
than `LONGEST` is forgotten. Registries count each login apart, and their limits change.
"""

from __future__ import annotations

import time
from math import isfinite
from typing import TYPE_CHECKING, Any

from imgmigrate.machine import recall, remember
from imgmigrate.stores.registry.quotas import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Estimates"]

FILE = "rates.json"
# Seconds, two weeks: quotas are raised, front ends replaced.
LONGEST = 14 * 24 * 3600.0
# Registries of which something is kept, those that were met last.
MOST_HOSTS = 500
# Requests a second that are believed; outside of these nothing was learnt that helps.
SLOWEST, FASTEST = 0.05, 10_000.0

Kinds = frozenset[Kind]


class Estimates:
    """Requests a second by registry and kinds that are counted together; `now` is in seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._kept = self._read()

    def of(self, host: str) -> dict[Kinds, float]:
        """What earlier runs learnt of a registry."""
        return {_kinds(name): rate for name, (rate, _) in self._kept.get(host, {}).items()}

    def keep(self, learnt: Mapping[str, Mapping[Kinds, float]]) -> None:
        """Put what this run has learnt of some registries in place of what was known of them."""
        if not learnt:
            return
        now = self._now()
        kept = self._read()  # another run may have ended since
        for host, rates in learnt.items():
            kept.pop(host, None)
            if rates:
                kept[host] = {_name(kinds): (rate, now) for kinds, rate in rates.items()}
        newest = sorted(kept, key=lambda host: max(when for _, when in kept[host].values()))
        remember(FILE, {host: kept[host] for host in newest[-MOST_HOSTS:]})

    def _read(self) -> dict[str, dict[str, tuple[float, float]]]:
        document, now = recall(FILE), self._now()
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for host, entry in document.items() if isinstance(document, dict) else ():
            rates = {
                name: (float(each[0]), float(each[1]))
                for name, each in (entry.items() if isinstance(entry, dict) else ())
                if _is_sound(name, each, now)
            }
            if rates:
                found[host] = rates
        return found


def _is_sound(name: str, each: Any, now: float) -> bool:
    """Tell a rate of kinds that there are, not too old, from anything else."""
    if not (isinstance(each, list) and len(each) == 2):
        return False
    if not all(type(number) in (int, float) and isfinite(number) for number in each):
        return False
    return bool(
        SLOWEST <= each[0] <= FASTEST
        and 0 <= now - each[1] <= LONGEST
        and {*name.split("+")} <= Kind.__members__.keys()
    )


def _name(kinds: Kinds) -> str:
    return "+".join(kind.name for kind in Kind if kind in kinds)


def _kinds(name: str) -> Kinds:
    return frozenset(Kind[each] for each in name.split("+"))
