"""Conflicts that are known: told apart, as long as they are what was seen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.known import KnownConflict
from imgmigrate.events import Outcome
from imgmigrate.matching import parse_pattern
from imgmigrate.planning.passes.known_conflicts import mark_known, marked
from tests.fakes.memory import image
from tests.render import samples
from tests.support.world import NEW, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest

THEIRS = samples.digest("theirs")
TODAY = date(2026, 12, 1)
CONFLICT = samples.change(f"{NEW}/app:1", "conflict", "foreign", before=THEIRS)
COPY = samples.change(f"{NEW}/app:2", "copy", "new")


def known(
    address: str = f"{NEW}/app:1",
    digest: Digest = THEIRS,
    until: date = TODAY,
    because: str = "so",
) -> KnownConflict:
    return KnownConflict(parse_pattern(address), digest, until, because)


def test_a_known_conflict_is_counted_apart() -> None:
    """It is no conflict in the summary, no danger, and carries its day and reason."""
    rows = mark_known([CONFLICT, COPY], [known(because="hotfix")], TODAY)
    plan = samples.plan(*rows)
    assert (plan.summary.conflict, plan.summary.known_conflict) == (0, 1)
    row = next(change for change in plan.changes if change.known)
    assert row.is_known
    assert not row.is_dangerous
    assert row.line()["known"] == {"until": "2026-12-01", "because": "hotfix"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (known(until=TODAY - timedelta(days=1)), "known until 2026-11-30, which is past"),
        (known(digest=samples.digest("older")), "another image is known there"),
    ],
)
def test_an_entry_that_does_not_hold_any_more_says_why(entry: KnownConflict, told: str) -> None:
    """The conflict is an ordinary one."""
    (row,) = mark_known([CONFLICT], [entry], TODAY)
    assert not row.is_known
    assert told in (row.detail or "")


def test_of_several_entries_the_longest_holds() -> None:
    """One that renews another stands below it."""
    later = TODAY + timedelta(days=9)
    entries = [known(), known(until=later, because="renewed"), known(f"{NEW}/**")]
    (row,) = mark_known([CONFLICT], entries, TODAY)
    assert row.known is not None
    assert row.known.because == "renewed"


def test_only_conflicts_are_marked() -> None:
    """An entry for the digest of a copy changes nothing."""
    assert mark_known([COPY], [known(f"{NEW}/**")], TODAY) == [COPY]


def test_a_saved_plan_is_asked_anew() -> None:
    """A day has passed, or an entry was taken out: what the plan says of it holds no more."""
    plan = samples.plan(*mark_known([CONFLICT, COPY], [known()], TODAY), unchanged=7)
    later = marked(plan, [known()], TODAY + timedelta(days=1))
    assert (later.summary.conflict, later.summary.known_conflict) == (1, 0)
    assert marked(plan, [], TODAY).summary.conflict == 1
    assert marked(plan, [known()], TODAY).changes == plan.changes
    assert (later.plan_id, later.summary.unchanged) == (plan.plan_id, 7)


def test_what_a_rollback_cannot_undo_is_no_known_conflict() -> None:
    """The entries are about what the config asks for."""
    plan = samples.plan(CONFLICT, undoes="run")
    assert marked(plan, [known()], TODAY) is plan


async def test_a_known_conflict_is_left_alone_and_done_with(tmp_path: Path) -> None:
    """Its receipt is one of its own, the state counts it, and the tag is never touched."""
    world = World(tmp_path)
    world.seed("1")
    world.seed("2")
    manifest, blobs = image(b"theirs")
    theirs = world.new.seed("team/api", "1", manifest, blobs)
    day = datetime.now(UTC).date() + timedelta(days=30)
    world.extra = (
        f"known_conflicts: [{{address: '{NEW}/team/api:1', digest: '{theirs}', "
        f"until: {day}, because: hotfix}}]"
    )
    finished = await world.migrate()
    assert finished.counts == {Outcome.KNOWN: 1, Outcome.APPLIED: 1}
    assert finished.unfinished == ()
    assert world.new.tags["team/api", "1"] == theirs
    assert world.state.runs[-1].counts == {"known_conflict": 1, "applied": 1}
    assert world.state.record(CONFLICT.address) is None


async def test_another_image_at_the_address_is_a_conflict_again(tmp_path: Path) -> None:
    """What was acknowledged was that one image."""
    world = World(tmp_path)
    world.seed("1")
    theirs = world.new.seed("team/api", "1", *image(b"theirs"))
    world.extra = (
        f"known_conflicts: [{{address: '{NEW}/**', digest: '{theirs}', "
        "until: 9999-12-31, because: hotfix}]"
    )
    assert (await world.plan()).summary.known_conflict == 1
    world.new.seed("team/api", "1", *image(b"theirs again"))
    plan = await world.plan()
    assert (plan.summary.known_conflict, plan.summary.conflict) == (0, 1)
