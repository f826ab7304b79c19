"""What each journal line does to the view; above all, when a claim ends."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest

from imgmigrate.state.entries import (
    Begin,
    Claims,
    Conflict,
    End,
    Entry,
    Failed,
    Intent,
    Remove,
)
from imgmigrate.state.lines.snapshot import print_snapshot, read_snapshot
from imgmigrate.state.record import Filter, Former, Source, Status
from imgmigrate.state.view import KEPT_FAILURES, KEPT_RUNS, View
from tests.state.samples import address, digest, draft


def view_of(*entries: Entry) -> View:
    """Apply entries as lines 1, 2, ..."""
    view = View()
    for sequence, entry in enumerate(entries, 1):
        view.apply(sequence, f"hash-{sequence}", entry)
    return view


def claims(run: str, content: str, name: str = "a") -> Claims:
    """A claims line for one address."""
    intent = Intent(address=str(address(name)), after=digest(content))
    return Claims(run=run, claims=(intent,))


def begin(run: str, lineage: str | None = None) -> Begin:
    """A begin line."""
    return Begin(run=run, plan_id="p", at="t", command="c", pid=1, host="h", lineage=lineage)


A = str(address("a"))


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (draft("a", "other"), set()),
        (draft("a", "new", Status.DELETED), set()),
        (draft("a", "new", Status.FORGOTTEN), {"one", "two"}),
        (draft("b", "one"), {"one", "two"}),
        (Remove(address=A), set()),
        (Conflict(run="run-1", address=A), {"two"}),
        (Conflict(run="run-3", address=A), {"one", "two"}),
        (Conflict(run="run-1", address="registry.new/team/app:b"), {"one", "two"}),
        (End(run="run-2", at="t", counts={}), {"one", "two"}),
        (Failed(run="run-1", address=A, cause="denied"), {"one", "two"}),
    ],
)
def test_a_claim_ends_with(line: Entry, left: set[str]) -> None:
    """A later write, delete or removal ends every claim, a conflict only its own run's."""
    view = view_of(claims("run-1", "one"), claims("run-2", "two"), line)
    assert view.state().claims.get(A, frozenset()) == {digest(content) for content in left}
    assert (A in view.state().claims) == bool(left)


def test_an_open_claim_makes_a_digest_ours() -> None:
    """What a begun run was about to write is our own work, even without a record."""
    state = view_of(claims("run-1", "one")).state()
    assert state.owns(address("a"), digest("one"))
    assert not state.owns(address("a"), digest("two"))


def test_a_placeholder_tells_what_it_stands_in_for_while_its_claim_is_open() -> None:
    """Other digests of the address, and all once it is recorded, are what they are."""
    intent = Intent(address=A, after=digest("one"), before=digest("was"), stands_in=True)
    lines: list[Entry] = [Claims(run="run-1", claims=(intent,)), claims("run-2", "two")]
    state = view_of(*lines).state()
    assert state.behind(address("a"), digest("one")) == digest("was")
    assert state.behind(address("a"), digest("two")) == digest("two")
    assert state.behind(address("b"), digest("one")) == digest("one")
    state = view_of(*lines, draft("a", "new")).state()
    assert state.behind(address("a"), digest("one")) == digest("one")


def test_a_snapshot_keeps_placeholders_failures_and_former_sources() -> None:
    """Compaction loses none of what later plans and `status` ask for."""
    intent = Intent(
        address=A,
        after=digest("one"),
        before=digest("was"),
        stands_in=True,
        companions=(("a-tag.sig", digest("sig")),),
    )
    source = Source(reference=address("old"), digest=digest("index"))
    former = Former(source=source, filter=Filter(platforms=("linux/amd64",), version=1))
    view = view_of(
        begin("run-1", "lineage"),
        Claims(run="run-1", claims=(intent,)),
        replace(draft("b"), previous=digest("old"), former=former),
        Failed(run="run-1", address=A, cause="denied"),
    )
    again = read_snapshot(BytesIO(b"".join(print_snapshot(view)))).state()
    assert again == view.state()
    assert again.stand_ins == {A: {digest("one"): digest("was")}}
    assert again.companions == {A: frozenset({("a-tag.sig", digest("sig"))})}
    assert again.records[str(address("b"))].former == former
    assert again.runs[0].failures[0].cause == "denied"


def test_a_run_counts_its_failures_and_keeps_the_latest() -> None:
    """Only those of the run that goes on, and only a few: they are in every snapshot."""
    failures = [
        Failed(run="run-2", address=f"{A}{n}", cause=f"why {n}") for n in range(KEPT_FAILURES + 2)
    ]
    other = Failed(run="run-1", address=A, cause="long ago")
    (first, run) = view_of(begin("run-1"), begin("run-2"), *failures, other).state().runs
    assert (first.failed, run.failed) == (0, KEPT_FAILURES + 2)
    assert [each.cause for each in run.failures] == [f"why {n}" for n in range(2, 7)]


def test_a_removed_record_is_gone() -> None:
    """`state rm` erases; it leaves no tombstone."""
    state = view_of(draft("a"), Remove(address=A)).state()
    assert state.record(address("a")) is None
    assert not state.owns(address("a"), digest("1"))


def test_a_run_remembers_the_history_it_began_with_and_ended_with() -> None:
    """A plan made just before a run, or just after it, is recognised by these."""
    state = view_of(
        draft("a"), begin("run-1"), draft("b"), End(run="run-1", at="e", counts={"applied": 1})
    ).state()
    (run,) = state.runs
    assert (run.sequence, run.head) == (1, "hash-1")
    assert (run.end_sequence, run.end_head, run.counts) == (4, "hash-4", {"applied": 1})


def test_only_the_last_runs_are_kept() -> None:
    """The list of runs does not grow for ever."""
    state = view_of(*(begin(f"run-{number}") for number in range(KEPT_RUNS + 5))).state()
    assert [run.run for run in state.runs] == [f"run-{n}" for n in range(5, KEPT_RUNS + 5)]


def test_the_first_lineage_stays() -> None:
    """A state is one lineage for life."""
    assert view_of(begin("run-1", "first"), begin("run-2", "second")).lineage == "first"
