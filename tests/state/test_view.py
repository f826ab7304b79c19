"""What each journal line does to the view; above all, when a claim ends."""

from __future__ import annotations

import pytest

from imgmigrate.state.entries import Begin, Claims, Conflict, End, Entry, Intent, Remove
from imgmigrate.state.record import Status
from imgmigrate.state.view import KEPT_RUNS, View
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
