"""The state, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.render.reports.state import record_lines, records_lines, state_lines
from imgmigrate.state.memory import StateInMemory
from tests.render import samples

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion


def test_a_state_is_summarised(snapshot: SnapshotAssertion) -> None:
    """Images, repositories, tombstones, open claims and the last runs are told."""
    assert list(state_lines(samples.state(), "state/prod")) == snapshot


def test_no_state_yet_is_no_error() -> None:
    """Before the first apply there is nothing to show, and that is said."""
    assert list(state_lines(StateInMemory(), "state/prod")) == [
        "No state yet in state/prod: nothing has been applied."
    ]


def test_a_list_has_one_line_a_record(snapshot: SnapshotAssertion) -> None:
    """Each record is one line for grep; a tombstone says what it is."""
    assert list(records_lines(samples.state().records.values())) == snapshot


def test_one_record_is_shown_whole(snapshot: SnapshotAssertion) -> None:
    """A record's digests are shown in full."""
    record = samples.state().records["harbor.new/team/web:1"]
    assert list(record_lines(record)) == snapshot
