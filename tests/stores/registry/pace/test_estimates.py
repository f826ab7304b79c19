"""What is kept between runs of how fast registries let requests through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate import load_config
from imgmigrate.events import NoSink, RateLearnt
from imgmigrate.machine import recall, remember
from imgmigrate.oci.reference import Repository
from imgmigrate.render.json import JsonStream
from imgmigrate.render.style import Style
from imgmigrate.render.summary import result_text
from imgmigrate.stores import pool
from imgmigrate.stores.pool import open_stores
from imgmigrate.stores.registry.pace import estimates
from imgmigrate.stores.registry.pace.estimates import LONGEST, MOST_HOSTS, Estimates
from imgmigrate.stores.registry.pace.limits import Refused
from imgmigrate.stores.registry.quotas import ALL, READS, WRITES, Kind
from tests.fakes.memory import MemoryStores
from tests.stores.registry.pace.test_limits import Registry, Told
from tests.stores.registry.pace.test_rates import Nginx, ask
from tests.support.cli import write_config
from tests.support.clock import ManualClock
from tests.support.world import NEW, World

if TYPE_CHECKING:
    from pathlib import Path

HOST = "reg.example.com"


class Days:
    """A time of day that tests can set."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        """What it shows."""
        return self.now


def test_what_one_run_learnt_the_next_one_knows() -> None:
    """By registry and by the kinds that it counts together."""
    Estimates().keep({HOST: {READS: 12.5, WRITES: 3.0}, "other.example": {ALL: 100.0}})
    found = Estimates()
    assert found.of(HOST) == {READS: 12.5, WRITES: 3.0}
    assert found.of("other.example") == {ALL: 100.0}
    assert found.of("third.example") == {}


def test_a_later_run_has_the_last_word_on_its_own_registries() -> None:
    """Also that nothing is known any more; what it did not meet stays."""
    Estimates().keep({HOST: {READS: 12.5}, "a.example": {ALL: 5.0}, "b.example": {ALL: 6.0}})
    Estimates().keep({HOST: {ALL: 7.0}, "a.example": {}})
    found = Estimates()
    assert [found.of(each) for each in (HOST, "a.example", "b.example")] == [
        {ALL: 7.0},
        {},
        {ALL: 6.0},
    ]


def test_what_is_old_is_forgotten() -> None:
    """Quotas change; two weeks later a run starts without an estimate."""
    days = Days()
    Estimates(days).keep({HOST: {ALL: 5.0}})
    days.now += LONGEST - 1
    assert Estimates(days).of(HOST) == {ALL: 5.0}
    days.now += 2
    assert Estimates(days).of(HOST) == {}


def test_only_so_many_registries_are_kept() -> None:
    """Those that were met first go first."""
    days = Days()
    first, later = range(3), range(3, MOST_HOSTS + 3)
    for numbers in (first, later):
        days.now += 1
        Estimates(days).keep({f"r{number}.example": {ALL: 5.0} for number in numbers})
    kept = recall(estimates.FILE)
    assert len(kept) == MOST_HOSTS
    assert "r2.example" not in kept


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {"LISTING": 7},
        {"LISTING": [7]},
        {"LISTING": ["7", 1e9]},
        {"LISTING": [True, 1e9]},
        {"LISTING": [float("nan"), 1e9]},
        {"LISTING": [0, 1e9]},
        {"LISTING": [1e30, 1e9]},
        {"LISTING": [7, 2e9]},
        {"NOTHING": [7, 1e9]},
        {"": [7, 1e9]},
    ],
)
def test_what_makes_no_sense_is_not_believed(entry: Any) -> None:
    """A damaged or forged file costs what an empty one does."""
    remember(estimates.FILE, {HOST: entry, "b.example": {"LISTING": [7, 1e9]}})
    found = Estimates(Days())
    assert found.of(HOST) == {}
    assert found.of("b.example") == {frozenset({Kind.LISTING}): 7.0}


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_a_file_of_another_form_is_as_none(document: Any) -> None:
    """Whatever stands in it, the run goes on."""
    remember(estimates.FILE, document)
    assert Estimates().of(HOST) == {}


def test_looking_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that learns nothing leaves nothing behind."""
    monkeypatch.setenv("IMGMIGRATE_MACHINE_DIR", str(tmp_path / "machine"))
    found = Estimates()
    found.keep({})
    assert not (tmp_path / "machine").exists()


async def test_a_known_rate_of_all_kinds_is_one_budget() -> None:
    """What was counted together is held back together, from the first request on."""
    limits = Registry(known={ALL: 7.0}).limits
    (found,) = limits.learnt().items()
    assert (found[0], found[1].value) == (ALL, 7.0)


async def test_rates_of_other_kinds_say_nothing() -> None:
    """A rate of some kinds is not that of a quota with more."""
    limits = Registry(known={frozenset({Kind.LISTING}): 7.0}).limits
    assert limits.learnt() == {}


async def test_a_run_keeps_what_it_learnt_and_the_next_starts_there(tmp_path: Path) -> None:
    """Whoever closes the stores keeps it; whoever opens them again holds back from the start."""
    config = load_config(
        write_config(tmp_path, f"  - {{source: a.example/x, destination: {HOST}/x}}")
    )
    clock, where = ManualClock(hurried=True), Repository(HOST, "x")
    async with open_stores(config, sink=NoSink(), clock=clock) as stores:
        store: Any = stores.of(where)
        limits = store.remote.limits
        async with limits.request(Kind.UPLOAD_START) as passage:
            limits.note(passage, Told(200))
        await limits.paces(passage, Told(429), "it", Refused())
        (rate,) = limits.learnt().values()
        await ask(rate, clock, 300, Nginx(clock, 10, 20).lets_through)
        (learnt,) = stores.rates()
    assert learnt.registry == HOST
    assert 8 < learnt.rate < 12
    assert learnt.refused >= 10
    async with open_stores(config, sink=NoSink(), clock=clock) as stores:
        store = stores.of(where)
        (again,) = store.remote.limits.learnt().values()
        assert again.value == pytest.approx(learnt.rate)
        assert stores.rates() == ()  # nothing was refused this time


async def test_a_strangers_config_leaves_no_trace_and_reads_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --untrusted nothing is written, and what this machine knows stays here."""
    config = load_config(
        write_config(tmp_path, f"  - {{source: a.example/x, destination: {HOST}/x}}")
    )
    monkeypatch.setattr(type(config), "is_untrusted", True)
    monkeypatch.setattr(pool, "check_place", lambda *_: None)
    Estimates().keep({HOST: {ALL: 7.0}})
    before = recall(estimates.FILE)
    async with open_stores(config, sink=NoSink(), clock=ManualClock()) as stores:
        store: Any = stores.of(Repository(HOST, "x"))
        assert store.remote.limits.learnt() == {}
    assert recall(estimates.FILE) == before


@pytest.mark.parametrize(
    ("rate", "advice"),
    [
        (10.6, "rate_limit: 10"),
        (9.97, "rate_limit: 9.9"),
        (0.52, "rate_limit: 0.5"),
        (0.01, "rate_limit: 0.1"),
    ],
)
def test_what_is_advised_is_no_more_than_what_was_let_through(rate: float, advice: str) -> None:
    """Rounded down: more would be refused again."""
    assert RateLearnt(HOST, "", rate, 20).advice == advice


async def test_the_end_of_a_run_says_what_would_spare_the_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the summary within 80 columns, and as a line of its own for programs."""
    world = World(tmp_path)
    world.seed("1")
    plan = await world.plan()
    kinds = "begins of uploads and parts of uploads and manifest writes"
    learnt = RateLearnt(NEW, kinds, 9.731, 312)
    monkeypatch.setattr(MemoryStores, "rates", lambda _: (learnt,))
    result = await world.apply(plan)
    text = result_text(plan, result, style=Style(80))
    said = f"{NEW} refused 312 requests for their rate and let about 9.73 {kinds} a second through"
    assert f"{said}; rate_limit: 9.7 in its entry of registries" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 80
    lines: list[str] = []
    JsonStream(lines.append).emit(result)
    found = json.loads(lines[-2])
    assert (found["type"], found["registry"], found["advice"]) == (
        "rate_limit",
        NEW,
        "rate_limit: 9.7",
    )
    assert (found["kinds"], found["rate"], found["refused"]) == (kinds, 9.731, 312)
    await world.plan()
    assert [each for each in world.sink.events if isinstance(each, RateLearnt)] == [learnt]
