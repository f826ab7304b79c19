"""How each thing that a run can have done at one address is undone: DESIGN section 5's rules."""

from __future__ import annotations

from typing import Any

import pytest

from imgmigrate.oci.manifest import OCI_INDEX, Descriptor
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import Action
from imgmigrate.planning.rollback.decide import Deed, decide_undo, overtaken
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import ImageRecord, Source, Status
from tests.support.records import make_record

ADDRESS = Reference.parse("new.example/team/api:1")
SOURCE = Reference.parse("old.example/team/api:1")
OURS, FORMER, THEIRS = (Digest.of(text) for text in (b"ours", b"former", b"theirs"))
FOUND = Descriptor(OCI_INDEX, FORMER, 7)


def record(action: str | None, **fields: Any) -> ImageRecord:
    """What a run recorded at the address."""
    address = fields.pop("address", ADDRESS)
    return make_record(
        address, SOURCE, OURS, media_type=OCI_INDEX, run="run-1", action=action, **fields
    )


def decided(found: ImageRecord, there: Digest | None, **options: Any) -> tuple[str, str] | None:
    """Undo it; the former image is there unless `former` says otherwise."""
    deed = Deed.of(found)
    former = options.pop("former", Descriptor(OCI_INDEX, deed.former, 7) if deed.former else None)
    state = StateInMemory(records={str(found.address): found})
    change = decide_undo(deed, there, former, state, **options)
    return (change.action.value, change.reason) if change else None


UPDATED = record("update", previous=FORMER)
DELETED = record("delete", previous=FORMER, status=Status.DELETED)
FORGOTTEN = record("forget", status=Status.FORGOTTEN)


@pytest.mark.parametrize(
    ("found", "there", "expected"),
    [
        (UPDATED, OURS, ("update", "rollback")),
        (UPDATED, None, ("copy", "rollback")),
        (UPDATED, FORMER, ("adopt", "rollback")),
        (UPDATED, THEIRS, ("conflict", "changed_here")),
        (record(None, previous=FORMER), OURS, ("update", "rollback")),
        (record("update"), OURS, None),  # replaced by itself
        (DELETED, None, ("copy", "rollback")),
        (DELETED, OURS, ("adopt", "rollback")),
        (DELETED, THEIRS, ("conflict", "foreign")),
        (record("copy"), OURS, ("keep", "stays")),
        (record("move"), OURS, ("keep", "stays")),
        (record(None), OURS, ("keep", "stays")),
        (record("of a later version"), OURS, ("keep", "stays")),
        (record("adopt"), OURS, None),
        (FORGOTTEN, OURS, ("adopt", "rollback")),
        (FORGOTTEN, THEIRS, None),
        (FORGOTTEN, None, None),
    ],
)
def test_what_is_put_back_and_what_stays(
    found: ImageRecord, there: Digest | None, expected: tuple[str, str] | None
) -> None:
    """Only our own work is replaced, and nothing is deleted unless that is allowed."""
    assert decided(found, there) == expected


@pytest.mark.parametrize(
    ("found", "there", "protected", "expected"),
    [
        (record("copy"), OURS, False, ("delete", "rollback")),
        (record("move"), OURS, False, ("delete", "rollback")),
        (record("copy"), THEIRS, False, ("conflict", "changed_here")),
        (record("copy"), None, False, ("forget", "destination_gone")),
        (record("copy"), OURS, True, ("blocked", "protected")),
        (record("copy", protected=True), OURS, False, ("blocked", "protected")),
        (record("adopt"), OURS, False, None),
        (record(None), OURS, False, ("keep", "stays")),
        (
            record("copy", address=Reference.parse(f"new.example/team/api@{OURS}")),
            OURS,
            False,
            ("keep", "stays"),
        ),
        (UPDATED, OURS, True, ("update", "rollback")),
    ],
)
def test_what_was_new_goes_if_that_is_allowed(
    found: ImageRecord, there: Digest | None, protected: bool, expected: tuple[str, str] | None
) -> None:
    """A tag goes where it is still ours and unprotected; a digest would take other tags along."""
    assert decided(found, there, allow_delete=True, is_protected=protected) == expected


@pytest.mark.parametrize("found", [UPDATED, DELETED])
def test_an_image_that_is_gone_cannot_come_back(found: ImageRecord) -> None:
    """The row says which digest the destination does not have any more."""
    there = OURS if found.is_live else None
    assert decided(found, there, former=None) == ("error", "previous_gone")


def test_the_way_back_starts_from_the_destination_itself() -> None:
    """The source is the destination's repository by digest, and nothing has to be transferred."""
    change = decide_undo(
        Deed.of(UPDATED), OURS, FOUND, StateInMemory(records={str(ADDRESS): UPDATED})
    )
    assert change is not None
    assert change.source == Source(reference=ADDRESS.repository.at(FORMER), digest=FORMER)
    assert (change.before, change.after, change.recorded) == (OURS, FORMER, OURS)
    assert change.transfer_bytes == 0
    assert change.is_near


def test_a_plan_at_hand_tells_what_an_old_record_does_not() -> None:
    """Records of earlier versions do not name their action; the plan's row does."""
    assert Deed.of(record(None), Action.COPY).action is Action.COPY
    assert Deed.of(DELETED, Action.COPY).action is Action.DELETE


@pytest.mark.parametrize(
    ("found", "said"), [(UPDATED, f"recorded {OURS.short}"), (DELETED, "deleted it")]
)
def test_a_later_run_is_named(found: ImageRecord, said: str) -> None:
    """What another run has written since is a conflict that says which run to undo first."""
    change = overtaken(found)
    assert (change.action, change.reason) == (Action.CONFLICT, "written_since")
    assert change.detail is not None
    assert f"run run-1 {said}" in change.detail
