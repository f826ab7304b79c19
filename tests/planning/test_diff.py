"""The three-way diff: every row of the table in DESIGN section 5."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imgmigrate.oci.manifest import OCI_MANIFEST, Descriptor
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import Action
from imgmigrate.planning.diff import Exceptions, Wish, decide, decide_unwanted
from imgmigrate.rules.rule import Overwrite
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import ImageRecord, State, Status
from tests.support.records import make_record

S, OLD, ALIEN = (Digest.of(text) for text in (b"s", b"old", b"alien"))
ADDRESS = Reference.parse("new.example/team/api:1")
SOURCE = Reference.parse("old.example/team/api:1")


def record(digest: Digest, status: Status = Status.LIVE) -> ImageRecord:
    return make_record(ADDRESS, SOURCE, digest, status=status)


def state(*records: ImageRecord, claims: frozenset[Digest] = frozenset()) -> State:
    return StateInMemory(
        lineage="l",
        sequence=7,
        records={str(each.address): each for each in records},
        claims={str(ADDRESS): claims} if claims else {},
    )


def wish(
    found: Digest | None = S, overwrite: Overwrite = Overwrite.OWNED, *, explicit: bool = True
) -> Wish:
    descriptor = Descriptor(OCI_MANIFEST, found, 2) if found else None
    return Wish(ADDRESS, SOURCE, descriptor, overwrite, explicit)


LIVE_S, LIVE_OLD = record(S), record(OLD)
GONE_OLD, GONE_S = record(OLD, Status.FORGOTTEN), record(S, Status.FORGOTTEN)
DELETED_OLD = record(OLD, Status.DELETED)


@pytest.mark.parametrize(
    ("destination", "known", "action", "reason"),
    [
        (None, state(), Action.COPY, "new"),
        (None, state(GONE_OLD), Action.COPY, "new"),
        (None, state(LIVE_OLD), Action.COPY, "destination_lost"),
        (None, state(LIVE_S), Action.COPY, "destination_lost"),
        (S, state(), Action.ADOPT, "already_there"),
        (S, state(GONE_S), Action.ADOPT, "already_there"),
        (S, state(LIVE_OLD), Action.ADOPT, "already_there"),
        (OLD, state(LIVE_OLD), Action.UPDATE, "source_moved"),
        (OLD, state(GONE_OLD), Action.UPDATE, "source_moved"),
        (OLD, state(claims=frozenset({OLD})), Action.UPDATE, "source_moved"),
        (OLD, state(LIVE_S, claims=frozenset({OLD})), Action.UPDATE, "source_moved"),
        (OLD, state(DELETED_OLD), Action.CONFLICT, "foreign"),
        (ALIEN, state(), Action.CONFLICT, "foreign"),
        (ALIEN, state(GONE_OLD), Action.CONFLICT, "foreign"),
        (ALIEN, state(LIVE_OLD), Action.CONFLICT, "changed_here"),
        (ALIEN, state(LIVE_S), Action.CONFLICT, "changed_here"),
    ],
)
def test_source_present_decides_by_destination_and_record(
    destination: Digest | None, known: State, action: Action, reason: str
) -> None:
    """A present source is copied, adopted, updated where it is ours, else a conflict."""
    change = decide(wish(), destination, known, Exceptions())
    assert change is not None
    assert (change.action, change.reason) == (action, reason)
    assert change.before == destination
    assert change.after == (None if action is Action.CONFLICT else S)
    found = known.record(ADDRESS)
    assert change.recorded == (found.digest if found else None)


@pytest.mark.parametrize(
    ("undid", "there", "reason"),
    [
        (S, OLD, "rolled_back"),
        (ALIEN, OLD, "source_moved"),
        (None, OLD, "source_moved"),
        (S, ALIEN, "source_moved"),
    ],
)
def test_what_a_rollback_undid_is_not_a_moved_source(
    undid: Digest | None, there: Digest, reason: str
) -> None:
    """Only where the rules ask for just what was undone, and the destination shows what came back.

    In the last row a begun run has written something else since.
    """
    known = state(replace(LIVE_OLD, undid=undid), claims=frozenset({there}))
    change = decide(wish(), there, known, Exceptions())
    assert change is not None
    assert (change.action, change.reason) == (Action.UPDATE, reason)


def test_equal_everywhere_is_unchanged() -> None:
    """Source, destination and a live record that agree need nothing."""
    assert decide(wish(), S, state(LIVE_S), Exceptions()) is None


def test_replace_updates_what_looks_equal() -> None:
    """--replace turns an unchanged address into an update, and only that."""
    change = decide(wish(), S, state(LIVE_S), Exceptions(replace=True))
    assert change is not None
    assert (change.action, change.reason) == (Action.UPDATE, "replace")
    assert change.before == change.after == S


@pytest.mark.parametrize("known", [state(), state(LIVE_S), state(GONE_S)])
def test_what_has_lost_parts_is_written_again(known: State) -> None:
    """The destination shows the wanted digest, recorded or not, and that is not enough."""
    change = decide(wish(), S, known, Exceptions(incomplete=True))
    assert change is not None
    assert (change.action, change.reason) == (Action.UPDATE, "incomplete")
    assert change.before == change.after == S


@pytest.mark.parametrize(
    ("overwrite", "exceptions", "action", "reason"),
    [
        (Overwrite.ALWAYS, Exceptions(), Action.UPDATE, "overwrite_always"),
        (Overwrite.NEVER, Exceptions(), Action.KEEP, "overwrite_never"),
        (Overwrite.OWNED, Exceptions(allow_overwrite=True), Action.UPDATE, "overwrite_allowed"),
        (Overwrite.NEVER, Exceptions(allow_overwrite=True), Action.UPDATE, "overwrite_allowed"),
        (Overwrite.OWNED, Exceptions(equivalent=True), Action.CONFLICT, "equivalent"),
        (Overwrite.EQUIVALENT, Exceptions(), Action.CONFLICT, "foreign"),
        (
            Overwrite.EQUIVALENT,
            Exceptions(equivalent=True),
            Action.UPDATE,
            "overwrite_equivalent",
        ),
    ],
)
def test_policy_decides_about_what_is_not_ours(
    overwrite: Overwrite, exceptions: Exceptions, action: Action, reason: str
) -> None:
    """What is not ours is replaced or kept only as the policy or the command line says."""
    change = decide(wish(overwrite=overwrite), ALIEN, state(), exceptions)
    assert change is not None
    assert (change.action, change.reason) == (action, reason)


def test_never_keeps_even_our_own_older_image() -> None:
    """`overwrite: never` replaces nothing, not even what we wrote."""
    change = decide(wish(overwrite=Overwrite.NEVER), OLD, state(LIVE_OLD), Exceptions())
    assert change is not None
    assert (change.action, change.reason) == (Action.KEEP, "overwrite_never")


@pytest.mark.parametrize("destination", [None, S, ALIEN])
def test_source_gone_keeps_what_we_recorded(destination: Digest | None) -> None:
    """A vanished source tag never touches a destination that we filled."""
    change = decide(wish(None), destination, state(LIVE_S), Exceptions())
    assert change is not None
    assert (change.action, change.reason) == (Action.KEEP, "source_gone")
    assert change.after is None


def test_named_source_that_never_was_is_an_error() -> None:
    """A tag that the config names and nobody ever copied must exist."""
    change = decide(wish(None), None, state(GONE_S), Exceptions())
    assert change is not None
    assert (change.action, change.reason) == (Action.ERROR, "source_missing")
    assert change.detail is not None
    assert str(SOURCE) in change.detail


def test_matched_source_that_vanished_is_no_row() -> None:
    """A tag that only a pattern selected and that vanished before the HEAD says nothing."""
    assert decide(wish(None, explicit=False), None, state(), Exceptions()) is None


@pytest.mark.parametrize(
    ("still_selected", "rule_exists", "action", "reason"),
    [
        (True, True, Action.KEEP, "source_gone"),
        (False, True, Action.FORGET, "deselected"),
        (False, False, Action.FORGET, "rule_removed"),
    ],
)
def test_unwanted_record_is_kept_or_forgotten_never_deleted(
    still_selected: bool, rule_exists: bool, action: Action, reason: str
) -> None:
    """Out of the config is forgotten, out of the source is kept; nothing is deleted."""
    change = decide_unwanted(LIVE_S, still_selected=still_selected, rule_exists=rule_exists)
    assert (change.action, change.reason) == (action, reason)
    assert (change.recorded, change.after) == (S, None)


@pytest.mark.parametrize(
    ("overwrite", "exceptions", "action", "reason"),
    [
        (Overwrite.OWNED, Exceptions(), Action.UNKNOWN, "no_state"),
        (Overwrite.OWNED, Exceptions(equivalent=True), Action.UNKNOWN, "no_state"),
        (Overwrite.EQUIVALENT, Exceptions(), Action.UNKNOWN, "no_state"),
        (
            Overwrite.EQUIVALENT,
            Exceptions(equivalent=True),
            Action.UPDATE,
            "overwrite_equivalent",
        ),
        (Overwrite.ALWAYS, Exceptions(), Action.UPDATE, "overwrite_always"),
        (Overwrite.NEVER, Exceptions(), Action.KEEP, "overwrite_never"),
        (Overwrite.OWNED, Exceptions(allow_overwrite=True), Action.UPDATE, "overwrite_allowed"),
    ],
)
def test_without_a_state_what_differs_is_unknown(
    overwrite: Overwrite, exceptions: Exceptions, action: Action, reason: str
) -> None:
    """Never a conflict: it may well be ours; what the policy alone decides is decided."""
    change = decide(wish(overwrite=overwrite), ALIEN, StateInMemory(is_known=False), exceptions)
    assert change is not None
    assert (change.action, change.reason, change.before) == (action, reason, ALIEN)


def test_without_a_state_what_is_as_wanted_is_no_row() -> None:
    """Whether it is recorded too is for the state to tell; what is not there is new."""
    nobody = StateInMemory(is_known=False)
    assert decide(wish(), S, nobody, Exceptions()) is None
    replaced = decide(wish(), S, nobody, Exceptions(replace=True))
    assert replaced is not None
    assert (replaced.action, replaced.reason) == (Action.UPDATE, "replace")
    new = decide(wish(), None, nobody, Exceptions())
    assert new is not None
    assert (new.action, new.reason) == (Action.COPY, "new")


def test_without_a_state_a_missing_source_may_be_one_that_is_kept() -> None:
    """Where something is at the destination; else it is a mistake in any case."""
    nobody = StateInMemory(is_known=False)
    kept = decide(wish(None), ALIEN, nobody, Exceptions())
    assert kept is not None
    assert (kept.action, kept.reason) == (Action.UNKNOWN, "source_missing")
    missing = decide(wish(None), None, nobody, Exceptions())
    assert missing is not None
    assert missing.action is Action.ERROR
