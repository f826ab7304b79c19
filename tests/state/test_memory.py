"""A state that is in memory: what it answers, from an index that follows every change."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.state.memory import Records, StateInMemory
from imgmigrate.state.record import ImageRecord, Source, Status
from tests.state.samples import digest
from tests.support.records import make_record

NAMES = [
    f"registry.new/{repository}{target}"
    for repository in ("a", "a/b", "a-b", "b")
    for target in (":1", ":2", f"@{digest(1)}")
] + ["oci:disk/app:1"]

# Ends of a repository's name, of a tag, and of neither.
ENDS = ("a/", "a:", "a:1", "a@sha", "a-", "b:2x")


def made(name: str, source: str = "registry.old/a:1", status: Status = Status.LIVE) -> ImageRecord:
    """A record at an address."""
    origin = Reference.parse(source)
    return make_record(Reference.parse(name), origin, digest(name), status=status)


def state(*records: ImageRecord) -> StateInMemory:
    """A state of these records."""
    return StateInMemory(records={str(record.address): record for record in records})


def names(records: object) -> list[str]:
    """The addresses of records."""
    assert isinstance(records, (list, tuple)) or hasattr(records, "__iter__")
    return [str(record.address) for record in records]


@pytest.mark.parametrize(
    "prefix",
    ["", "x", "oci:", *(f"registry.new/{end}" for end in ("", *"ab", *ENDS))],
)
def test_records_come_in_the_order_of_their_addresses(prefix: str) -> None:
    """Whatever the prefix: those that begin with it, and no other."""
    found = state(*map(made, reversed(NAMES)))
    assert names(found.every(prefix)) == sorted(n for n in NAMES if n.startswith(prefix))
    assert names(found.live(prefix)) == names(found.every(prefix))


def test_tombstones_are_told_apart() -> None:
    """They are there by their address and among all, and nothing else counts them."""
    live, gone = made("registry.new/a:1"), made("registry.new/a:2", status=Status.FORGOTTEN)
    lost = made("registry.new/b:1", "registry.old/b:1", Status.DELETED)
    found = state(live, gone, lost)
    a, b = (Repository("registry.new", name) for name in "ab")
    assert (found.live_count, found.record_count) == (1, 3)
    assert (list(found.of(a)), list(found.of(a, tombstones=True))) == ([live], [live, gone])
    assert (found.holds(a), found.holds(b)) == (True, False)
    assert (list(found.repositories()), set(found.repositories(tombstones=True))) == ([a], {a, b})
    assert list(found.from_source(Repository("registry.old", "a"))) == [live]
    assert list(found.sources()) == [Repository("registry.old", "a")]
    assert not found.has_source(Repository("registry.old", "b"))
    assert found.record(gone.address) == gone
    assert list(found.written_by("r")) == list(found.written_by("p")) == [live, gone, lost]


def test_layouts_at_either_end_are_found() -> None:
    """Also under a tombstone: it may have another name by now."""
    to = made("oci:disk/app:1", status=Status.DELETED)
    from_ = made("registry.new/a:1", "oci:disk/app:1")
    assert list(state(made("registry.new/b:1"), to, from_).with_layouts()) == [to, from_]


def _told(found: StateInMemory) -> list[object]:
    """All that a state answers from its index."""
    repositories = sorted(found.repositories(tombstones=True))
    return [
        found.live_count,
        [names(found.of(each)) for each in repositories],
        sorted(found.sources()),
        [names(found.from_source(each)) for each in sorted(found.sources())],
        repositories,
        names(found.with_layouts()),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_index_follows_every_change(seed: int) -> None:
    """After puts and drops it answers what one would that is made anew."""
    chance, records = random.Random(seed), Records()
    found = StateInMemory(records=records)
    for _ in range(200):
        name = chance.choice(NAMES)
        if chance.random() < 0.3:
            records.drop(name)
        else:
            source = Reference.parse(f"registry.old/{chance.choice('abc')}:1")
            record = made(name, status=chance.choice(list(Status)))
            origin = Source(reference=source, digest=digest(1))
            records.put(replace(record, source=origin))
        if chance.random() < 0.2:
            assert _told(found) == _told(StateInMemory(records=dict(records)))
    assert found == StateInMemory(records=dict(records))
