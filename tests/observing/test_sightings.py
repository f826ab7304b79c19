"""Who records what sources were seen to show, and who says that he does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.resume.books import keep_books
from imgmigrate.clock import now
from imgmigrate.errors import PlanRefused, UsageError
from imgmigrate.events import Outcome, Warned
from imgmigrate.plan import Action, Plan, Reason
from imgmigrate.planning.adopting import sort_for_adoption
from imgmigrate.planning.planner import PlanOptions, make_plan
from imgmigrate.state.sightings import BEFORE
from tests.fakes.memory import image
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from imgmigrate.oci.reference import Digest
    from imgmigrate.state.sightings import Sightings

MANY = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, tags: ['*']}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A rule for every tag of one repository."""
    return World(tmp_path, rules=MANY)


async def seen(world: World) -> Sightings:
    """What is recorded."""
    keeper = world.workspace.sightings
    assert keeper is not None
    return await keeper.sightings()


async def first(world: World, digest: Digest, repo: str = "team/api") -> datetime | None:
    """When a digest was first seen in the old registry."""
    repository = replace(world.config.rules[0].source, path=repo)
    return (await seen(world)).first_seen(repository, digest)


def files(world: World) -> list[Path]:
    """The files of what was recorded."""
    return sorted((world.config.state / "sightings").glob("*.jsonl"))


def told(world: World) -> list[str]:
    """The codes of what was warned of."""
    return [each.code for each in world.sink.events if isinstance(each, Warned)]


async def there(world: World, tag: str) -> Digest:
    """Put an image at both ends."""
    manifest, blobs = image(tag.encode())
    world.new.seed("team/api", tag, manifest, blobs)
    return world.seed(tag)


# Plans


async def test_a_plan_that_is_asked_records_all_that_is_selected(world: World) -> None:
    """Also what needs nothing; what is to be copied was first seen now."""
    one, two = world.seed("1"), world.seed("2")
    began = now().replace(microsecond=0)
    await world.plan(record=True)
    for digest in (one, two):
        found = await first(world, digest)
        assert found is not None
        assert began <= found <= now()
    assert (await seen(world)).is_planned
    assert world.state.lineage is None


async def test_what_is_at_its_destination_does_not_wait(world: World) -> None:
    """It was there before anybody looked, adopted or not; what differs is new."""
    same, new = await there(world, "1"), world.seed("2")
    manifest, blobs = image(b"other")
    world.new.seed("team/api", "3", manifest, blobs)
    differs = world.seed("3")
    await world.plan(record=True)
    assert await first(world, same) == BEFORE
    for digest in (new, differs):
        assert await first(world, digest) not in (None, BEFORE)


@pytest.mark.parametrize("refresh", [True, False])
async def test_a_state_of_before_is_the_baseline(world: World, refresh: bool) -> None:
    """What it records, and its destinations show, was seen before; looked at or believed."""
    old = world.seed("1")
    await world.migrate()
    for path in files(world):
        path.unlink()
    new = world.seed("2")
    await world.plan(record=True, refresh=refresh)
    assert await first(world, old) == BEFORE
    assert await first(world, new) not in (None, BEFORE)


async def test_what_was_seen_once_keeps_its_time(world: World) -> None:
    """Once it is copied it is at its destination, which says nothing of before."""
    digest = world.seed("1")
    await world.plan(record=True)
    at = await first(world, digest)
    await world.migrate()
    await world.plan(record=True)
    assert await first(world, digest) == at != BEFORE


async def test_nothing_is_written_of_what_is_known(world: World) -> None:
    """A plan every night leaves a file only when a source shows something new."""
    world.seed("1")
    for _ in range(3):
        await world.plan(record=True)
    assert len(files(world)) == 1
    world.seed("2")
    await world.plan(record=True)
    assert len(files(world)) == 2


@pytest.mark.parametrize("record", [False, None])
async def test_other_plans_write_nothing(world: World, record: bool | None) -> None:
    """And say so only where somebody once recorded, and something is new."""
    world.seed("1")
    await world.plan(record=record)
    assert not world.config.state.exists()
    await world.migrate()
    world.seed("2")
    await world.plan(record=record)
    assert not told(world)
    await world.plan(record=True)
    await world.plan(record=record)
    assert not told(world)
    world.seed("3")
    count = len(files(world))
    await world.plan(record=record)
    assert told(world) == (["sightings_unrecorded"] if record is False else [])
    assert len(files(world)) == count


async def test_recording_changes_no_plan(world: World) -> None:
    """The rows and the notes of a plan are the same with and without."""
    world.seed("1")
    plans = [await world.plan(record=each) for each in (None, True, False)]
    world.seed("2")
    plans += [await world.plan(record=each) for each in (False, True)]
    assert plans[0].changes == plans[1].changes == plans[2].changes
    assert plans[3].changes == plans[4].changes
    assert {plan.header.notes for plan in plans} == {()}


@pytest.mark.parametrize("record", [False, True])
async def test_damage_stops_no_plan(world: World, record: bool) -> None:
    """It is said in one line, and what cannot be read counts as never seen."""
    digest = world.seed("1")
    await world.plan(record=True)
    (path,) = files(world)
    path.write_bytes(b"{}\n" + path.read_bytes())
    plan = await world.plan(record=record)
    assert rows(plan) == {f"{NEW}/team/api:1": ("copy", "new")}
    (said,) = (each for each in world.sink.events if isinstance(each, Warned))
    assert said.code == "sightings_damaged"
    assert f"{path.name} is damaged at line 1" in said.message
    assert (await first(world, digest) is None) is not record


async def test_what_cannot_be_read_stops_no_plan(world: World) -> None:
    """It counts as never seen; only who was asked to record has to fail."""
    world.seed("1")
    world.config.state.mkdir(parents=True)
    await world.plan(record=True)
    (path,) = files(world)
    path.unlink()
    path.mkdir()
    assert (await world.plan(record=False)).changes
    assert told(world) == ["sightings_unread"]


async def test_a_strangers_config_records_nothing(world: World) -> None:
    """Nor does one whose state is an exported file; neither says anything of it."""
    world.seed("1")
    await world.plan(record=True)
    await world.migrate()
    world.seed("2")
    stranger = world.over(replace(world.config, is_untrusted=True))
    away = world.over(replace(world.config, has_state=False))
    for workspace in (stranger, away):
        with pytest.raises(UsageError, match="`record`: there is no state of ours"):
            await make_plan(workspace, PlanOptions(record=True))
        await make_plan(workspace, PlanOptions(record=False))
    assert not told(world)


# Applies


async def test_an_apply_records_what_its_rows_show(world: World) -> None:
    """What was copied, what was there, and what it could do nothing about; with one file."""
    copied, adopted = world.seed("1"), await there(world, "2")
    manifest, blobs = image(b"other")
    world.new.seed("team/api", "3", manifest, blobs)
    conflict = world.seed("3")
    await world.migrate()
    assert await first(world, copied) not in (None, BEFORE)
    assert await first(world, adopted) == BEFORE
    assert await first(world, conflict) not in (None, BEFORE)
    assert not (await seen(world)).is_planned
    assert len(files(world)) == 1


async def test_an_apply_with_nothing_to_do_records_too(world: World) -> None:
    """What is a conflict today may wait from today on."""
    manifest, blobs = image(b"other")
    world.new.seed("team/api", "1", manifest, blobs)
    digest = world.seed("1")
    plan = await world.plan()
    await keep_books(world.workspace, plan, command="imgmigrate apply", lock_timeout=0)
    assert await first(world, digest) not in (None, BEFORE)


async def test_an_adoption_does_not_wait(world: World) -> None:
    """Not even if somebody saw the image before; what is taken over never was the source's."""
    adopted = await there(world, "1")
    manifest, blobs = image(b"other")
    world.new.seed("team/api", "2", manifest, blobs)
    world.seed("2")
    adoption = sort_for_adoption(await world.plan(), take_ownership=True)
    await world.apply(adoption.plan, takes_ownership=True)
    assert await first(world, adopted) == BEFORE
    assert len(list(await seen(world))) == 1


async def test_what_no_source_shows_is_not_recorded(world: World) -> None:
    """What its source lost, what a rollback brings back, what is let go."""
    gone = world.seed("1")
    world.seed("2")
    run = await world.migrate()
    for path in files(world):
        path.unlink()
    del world.old.tags["team/api", "1"]
    plan = await world.plan()
    assert {change.reason for change in plan.changes} == {Reason.SOURCE_GONE}
    await keep_books(world.workspace, plan, command="c", lock_timeout=0)
    back = await world.rollback(run.run, allow_delete=True)
    await world.apply(back)
    assert await first(world, gone) is None
    assert not files(world)


async def test_a_record_that_cannot_be_written_stops_no_apply(world: World) -> None:
    """All is done by then; the next one records it."""
    digest = world.seed("1")
    world.config.state.mkdir(parents=True)
    (world.config.state / "sightings").write_bytes(b"")
    result = await world.migrate()
    assert result.counts == {Outcome.APPLIED: 1}
    assert told(world) == ["sightings_unrecorded"]
    (world.config.state / "sightings").unlink()
    world.seed("2")
    plan = await world.plan()
    assert [change.action for change in plan.changes] == [Action.COPY]
    await world.apply(plan)
    assert await first(world, digest) is None


async def test_a_refused_plan_records_nothing(world: World) -> None:
    """It may say anything."""
    world.seed("1")
    plan = await world.plan()
    binding = plan.header.state.model_copy(update={"lineage": "other"})
    header = plan.header.model_copy(update={"state": binding})
    with pytest.raises(PlanRefused):
        await world.apply(Plan.of(header, plan.changes))
    assert not files(world)
