"""What every kind of state promises, and that a new kind is one class and one row."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from obstore.store import MemoryStore

from imgmigrate.applying.apply import apply_plan
from imgmigrate.errors import PlanRefused, StateLocked, UsageError
from imgmigrate.events import Outcome, Waiting
from imgmigrate.plan import Action
from imgmigrate.planning.planner import PlanOptions, make_plan
from imgmigrate.planning.rollback.rollback import make_rollback
from imgmigrate.state import base
from imgmigrate.state.base import Repairable, open_state
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.shared import held
from imgmigrate.state.shared.clouds import CLOUDS
from imgmigrate.state.shared.objects import ObjectDepot
from imgmigrate.state.shared.store import SharedState
from imgmigrate.state.writer import run_name
from tests.fakes.depot import Bucket, MemoryDepot
from tests.fakes.elsewhere import Kept, StateElsewhere
from tests.fakes.objects import Faulty
from tests.state.samples import NOON, draft
from tests.state.suite import SharedBehaviour
from tests.support.branches import backend, upstream
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.values.backends import Backend
    from imgmigrate.state.base import StateStore

NAME = "memory://team"


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> dict[str, Kept]:
    """The states in memory, after the kind got its row."""
    found: dict[str, Kept] = {}
    monkeypatch.setitem(base.KINDS, "memory", partial(StateElsewhere, everything=found))
    return found


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Bucket]:
    """The buckets in memory, after the kind got its row: what a team shares."""
    found: defaultdict[str, Bucket] = defaultdict(Bucket)

    def kind(place: Backend) -> SharedState:
        return SharedState(MemoryDepot(found[place.url], place.url), lease=place.lease)

    monkeypatch.setitem(base.KINDS, "bucket", kind)
    return found


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> dict[str, MemoryStore]:
    """The object stores in memory, after the kind got its row."""
    found: defaultdict[str, MemoryStore] = defaultdict(MemoryStore)

    def kind(place: Backend) -> SharedState:
        url, s3 = place.url, CLOUDS["s3"]
        return SharedState(
            ObjectDepot(url, s3, lambda: Faulty(found[url]), identity=url), lease=place.lease
        )

    monkeypatch.setitem(base.KINDS, "objects", kind)
    return found


@pytest.fixture(params=["path", "memory", "bucket", "objects", "git"])
def opened(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    everything: dict[str, Kept],
    buckets: dict[str, Bucket],
    stores: dict[str, MemoryStore],
) -> Callable[[], StateStore]:
    """Open the same state, of each kind, as often as asked."""
    places: dict[str, Path | Backend | str] = {"path": tmp_path / "state", "memory": NAME}
    if request.param == "git":
        checkout = upstream(tmp_path / "server").clone(tmp_path / "checkout")
        places["git"] = backend(checkout)
    return partial(open_state, places.get(request.param, f"{request.param}://team/prod"))


class TestBothKinds(SharedBehaviour):
    """What is in files, and what is elsewhere."""


async def test_compacting_keeps_what_was_there(
    opened: Callable[[], StateStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state reads the same after each run, and the ones before are kept."""
    monkeypatch.setattr(held, "SHORTEST_JOURNAL", 1)
    for number in range(3):
        async with opened().writer(command="c") as writer:
            await writer.begin(run_name(NOON), "plan", ())
            await writer.record(draft(number))
            await writer.end({})
    assert (await opened().look()).live_count == 3
    assert len(await opened().backups()) >= 2


def test_an_unknown_kind_is_named() -> None:
    """A folder's path is no scheme, whatever it holds."""
    with pytest.raises(UsageError, match="state s4://bucket/team: s4 is no kind of state"):
        open_state("s4://bucket/team")
    for place in ("state/team", Path("s4:/bucket"), Path("/state")):
        assert isinstance(open_state(place), LocalState)


def test_only_files_are_repaired(everything: dict[str, Kept], tmp_path: Path) -> None:
    """What is not in files of ours is mended where it is kept."""
    assert isinstance(open_state(tmp_path), Repairable)
    assert not isinstance(open_state(NAME), Repairable)
    assert list(everything) == [NAME]


async def test_a_whole_migration_over_another_kind(
    tmp_path: Path, everything: dict[str, Kept]
) -> None:
    """Plan, apply, plan again, delete and roll back: nothing else knows where the state is."""
    world = World(tmp_path)
    world.seed("1")
    world.seed("2")
    folder = world.config.state

    world.kind = NAME
    plan = await world.plan()
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 2}
    assert (await world.plan()).changes == ()
    assert (await open_state(NAME).look()).live_count == 2
    world.seed("1", b"new")
    updated = await world.plan(target=("**:1",))
    assert [change.action for change in updated.changes] == [Action.UPDATE]
    finished = await world.apply(updated)
    back = await make_rollback(world.workspace, finished.run)
    assert [change.reason for change in back.changes] == ["rollback"]
    assert (await world.apply(back)).counts == {Outcome.APPLIED: 1}
    world.rules = world.rules.replace("}", ", tags: ['1']}")
    gone = await world.plan(allow_delete=True)
    assert {change.action for change in gone.changes} == {Action.UPDATE, Action.DELETE}
    await world.apply(gone)
    assert not folder.exists()
    other = replace(world.workspace, state=open_state("memory://other"))
    world.seed("9")
    first = await make_plan(world.workspace, PlanOptions())
    with pytest.raises(PlanRefused, match="lineage"):
        await apply_plan(other, first)
    assert [kept.holder for kept in everything.values()] == [None, None]
    # A group of lines is one write: far fewer than lines.
    kept = everything[NAME]
    assert kept.durable == len(kept.lines)
    assert kept.flushes < len(kept.lines)


async def test_a_run_waits_for_another_kind_too(
    tmp_path: Path, everything: dict[str, Kept]
) -> None:
    """It says for whom and on which state; when nobody lets go it has changed nothing."""
    world = World(tmp_path, kind=NAME)
    world.seed("1")
    plan = await world.plan()
    async with open_state(NAME).writer(command="imgmigrate apply other.out"):
        with pytest.raises(StateLocked):
            await world.apply(plan, lock_timeout=0.01)
    (waiting,) = [event for event in world.sink.events if isinstance(event, Waiting)]
    assert waiting.subject == f"state {NAME}"
    assert "imgmigrate apply other.out" in waiting.cause
    assert not world.new.tags
    assert not everything[NAME].lines
