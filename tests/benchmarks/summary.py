"""The ratios of one benchmark run: against the peers, and beside what is aimed at.

Only figures: nothing here passes or fails. What was not measured in this run is named below.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.benchmarks.measure import Results, Run

__all__ = ["print_peers", "print_targets"]

OURS, FLOOR = "imgmigrate", "floor"
AGAIN, TIMED = f"{OURS}, again", f"{OURS}, timed"

Value = float | None


def print_peers(results: Results, works: Mapping[str, str], peers: Sequence[str]) -> None:
    """Print plan and apply together, by each peer's time, for every work and the next run."""
    print("\nSeconds of imgmigrate, `plan` and `apply` together, by those of others:\n")
    here = [
        peer
        for peer in (FLOOR, *peers)
        if any(results.of(work, peer) for work in works)
    ]  # fmt: skip
    print(f"| work | {' | '.join(here)} |")
    print("| --- |" + " --- |" * len(here))
    for work, about in works.items():
        for suffix, again in (("", ""), (", again", "again: ")):
            cells = [
                _text(_by(work, f"{OURS}{suffix}", f"{peer}{suffix}")(results)) for peer in here
            ]
            if any(cells):
                print(f"| {again}{about} | {' | '.join(cells)} |")


def print_targets(results: Results) -> None:
    """Print each target, the figure of this run, and whether it was met."""
    print("\n| aimed at | at most or least | this run | met |")
    print("| --- | --- | --- | --- |")
    values = [(target, target.of(results)) for target in TARGETS]
    for target, value in values:
        if value is None:
            continue
        met = "yes" if target.is_met(value) else "NO"
        bound = f"{'>=' if target.at_least else '<='} {target.limit:g}"
        print(f"| {target.about} | {bound} | {_text(value)} | {met} |")
    if missing := [target.about for target, value in values if value is None]:
        print(f"\nNot measured in this run: {'; '.join(missing)}")


@dataclass(frozen=True, slots=True)
class Target:
    """One figure that is aimed at."""

    about: str
    limit: float
    of: Callable[[Results], Value]
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Compare, to the two digits that are printed."""
        compare = operator.ge if self.at_least else operator.le
        return bool(compare(round(value, 2), self.limit))


def _ratio(one: Value, other: Value) -> Value:
    return one / other if one is not None and other else None


def _wall(results: Results, work: str, tool: str) -> Value:
    return results.median(work, tool, lambda run: run.wall)


def _apply(results: Results, work: str) -> Value:
    """Seconds of `apply` alone."""
    return results.median(work, OURS, lambda run: run.steps[-1].wall)


def _apply_by_floor(work: str) -> Callable[[Results], Value]:
    return lambda results: _ratio(_apply(results, work), _wall(results, work, FLOOR))


def _floor_by_apply(work: str) -> Callable[[Results], Value]:
    return lambda results: _ratio(_wall(results, work, FLOOR), _apply(results, work))


def _by(work: str, tool: str, other: str) -> Callable[[Results], Value]:
    return lambda results: _ratio(_wall(results, work, tool), _wall(results, work, other))


def _of(work: str, tool: str, value: Callable[[Run], float]) -> Callable[[Results], Value]:
    return lambda results: results.median(work, tool, value)


def _far_by_near(work: str) -> Callable[[Results], Value]:
    def ratio(results: Results) -> Value:
        return _ratio(_wall(results, f"{work}-far", OURS), _wall(results, work, OURS))

    return ratio


def _requests(run: Run) -> float:
    return run.source + run.destination


def _text(value: Value) -> str:
    return "" if value is None else f"{value:.2f}"


# 1,000 tags in 50 repositories: two requests a tag and two a repository.
NOTHING_TO_DO = 2 * 1000 + 2 * 50

TARGETS = (
    Target("40 images: blob bytes sent / unique", 1, _of("shared", OURS, lambda run: run.sent)),
    Target("40 images: blob bytes read / unique", 1, _of("shared", OURS, lambda run: run.read)),
    Target(
        "three destinations: blob bytes read / unique",
        1,
        _of("three", OURS, lambda run: run.read),
    ),
    Target("40 images: plan and apply / skopeo sync", 0.25, _by("shared", OURS, "skopeo sync")),
    Target("40 images: apply / floor", 1.3, _apply_by_floor("shared")),
    Target("40 images: through the relay / on loopback", 1.4, _far_by_near("shared")),
    Target("1,000 images: apply / floor", 1.35, _apply_by_floor("small")),
    Target("1,000 images through the relay: apply / floor", 1.35, _apply_by_floor("small-far")),
    Target("1,000 images: requests of a no-op plan", NOTHING_TO_DO, _of("small", AGAIN, _requests)),
    Target(
        "1,000 images: CPU seconds of a no-op plan", 1.0, _of("small", AGAIN, lambda run: run.cpu)
    ),
    Target(
        "1,000 images: requests where immutable_tags covers all",
        0,
        _of("small", f"{AGAIN}, immutable_tags", _requests),
    ),
    Target(
        "1,000 images: requests with --no-refresh",
        0,
        _of("small", f"{AGAIN}, --no-refresh", _requests),
    ),
    Target(
        "1,000 images: CPU of journal and events, per cent of apply's CPU",
        2,
        _of("small", TIMED, lambda run: 100 * run.spent.bookkeeping / run.spent.process),
    ),
    Target("16 layers, TLS: peak MiB", 150, _of("sixteen", OURS, lambda run: run.peak)),
    Target(
        "16 layers, TLS: throughput / the floor's", 0.8, _floor_by_apply("sixteen"), at_least=True
    ),
    Target("3 GiB in four layers: apply / floor", 1.05, _apply_by_floor("huge")),
    Target(
        "one layer, slow connections: faster than one stream",
        2.5,
        _floor_by_apply("one"),
        at_least=True,
    ),
    Target("100,000 images: state list, s", 4, _of("state", "state list", lambda run: run.wall)),
    Target(
        "100,000 images: state list, MiB", 350, _of("state", "state list", lambda run: run.peak)
    ),
    Target(
        "100,000 images: plan --no-refresh, s",
        4,
        _of("state", "plan --no-refresh", lambda run: run.wall),
    ),
    Target(
        "100,000 images: plan --no-refresh, MiB",
        350,
        _of("state", "plan --no-refresh", lambda run: run.peak),
    ),
    Target(
        "100,000 receipts journaled, s",
        30,
        _of("state", "100,000 receipts journaled", lambda run: run.wall),
    ),
)
