"""Plans are kept beside a state, by the sha256 of their bytes, until their time is over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgmigrate.concurrency import together
from imgmigrate.errors import StateAway, StateError, UsageError
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.saved import SavedPlan, find_plan
from imgmigrate.state.shared.store import SharedState
from tests.fakes.depot import Bucket, MemoryDepot
from tests.state.plan_suite import PlanBehaviour, PlanPlace
from tests.state.samples import NOON, claim, draft

if TYPE_CHECKING:
    from collections.abc import Callable


class Folder(PlanPlace):
    """A state in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "state"

    @property
    def state(self) -> LocalState:
        """The state, opened anew."""
        return LocalState(self.folder, clock=lambda: self.now)

    def bytes_of(self) -> list[str]:
        """The files of plans."""
        return sorted(path.stem for path in self.folder.rglob("*.plan"))

    def spoil(self, sha256: str, data: bytes | None) -> None:
        """Write another file, or take it away."""
        path = self.folder / "plans" / f"{sha256}.plan"
        path.unlink()
        if data is not None:
            path.write_bytes(data)


class InBucket(PlanPlace):
    """A state that machines share."""

    def __init__(self) -> None:
        self.bucket = Bucket()

    @property
    def state(self) -> SharedState:
        """The state, opened anew."""
        return SharedState(MemoryDepot(self.bucket), lease=60, clock=lambda: self.now)

    def bytes_of(self) -> list[str]:
        """The objects of plans."""
        names = (name for name in self.bucket.files if name.endswith(".plan"))
        return sorted(Path(name).stem for name in names)

    def spoil(self, sha256: str, data: bytes | None) -> None:
        """Write another object, or take it away."""
        name = f"plans/{sha256}.plan"
        del self.bucket.files[name]
        self.bucket.files |= {} if data is None else {name: data}


class TestInAFolder(PlanBehaviour):
    """Those of a folder."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Folder:
        """Nothing is there yet."""
        return Folder(tmp_path)


class TestInABucket(PlanBehaviour):
    """Those of a state that machines share."""

    @pytest.fixture
    def place(self) -> InBucket:
        """Nothing is there yet."""
        return InBucket()


def test_a_short_key_has_to_be_one_plans_alone() -> None:
    """Of two that begin so, none is taken."""
    plans = [
        SavedPlan(sha256="a" * 20 + digit * 44, plan_id="p" * 16, saved_at="2026-03-01T12:00:00Z")
        for digit in "bc"
    ]
    with pytest.raises(UsageError, match="2 plans begin with sha256:aaaaaaaaaaaa"):
        find_plan(plans, "a" * 12, "state")
    assert find_plan(plans, "a" * 20 + "c", "state") == plans[1]


async def test_a_plan_is_private_in_a_folder(tmp_path: Path) -> None:
    """What is written for it only its owner reads; a file of somebody else's is no plan."""
    place = Folder(tmp_path)
    saved = await place.save(b"plan")
    folder = place.folder / "plans"
    (folder / "notes.json").write_text("{}")
    (folder / "other.json").write_text((folder / f"{saved}.json").read_text())
    assert await place.kept() == [saved]
    assert folder.stat().st_mode & 0o077 == 0
    assert place.folder.stat().st_mode & 0o077 == 0
    assert (folder / f"{saved}.plan").stat().st_mode & 0o077 == 0
    assert (folder / f"{saved}.json").stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """It is a file, or the disk is mounted to be read."""
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        await Folder(tmp_path).save(b"plan")


class Holder:
    """A bucket, and what happens in it in the middle of somebody's run."""

    def __init__(self) -> None:
        self.bucket = Bucket()

    def state(self) -> SharedState:
        """The state, opened anew."""
        return SharedState(MemoryDepot(self.bucket), lease=60, clock=lambda: NOON)

    async def save(self, data: bytes) -> str:
        """Save a plan from another machine."""
        return await self.state().save_plan(data, plan_id="p" * 16, config=None)


async def test_a_plan_saved_in_the_middle_of_a_run_disturbs_nothing() -> None:
    """Not a line of the run is lost, it is not ended, and what it writes next keeps the plan."""
    there, names = Holder(), [f"image-{number}" for number in range(6)]
    saved = [await there.save(b"before")]
    async with there.state().writer(command="imgmigrate apply") as writer:
        await writer.begin("run-1", "plan", [claim(name) for name in names])
        for number, name in enumerate(names):
            saved.append(await there.save(name.encode()))
            assert (await there.state().lock()).is_held
            await writer.record(draft(name))
            if number % 2:
                await writer.sync()
                assert len(await there.state().plans()) == len(saved)
            await writer.hold()
        await writer.end({"applied": len(names)})
        saved.append(await there.save(b"after"))
    state = await there.state().look()
    assert state.live_count == len(names)
    assert state.runs[-1].done == len(names)
    assert {plan.sha256 for plan in await there.state().plans()} == set(saved)
    for each in saved:
        await there.state().read_plan(each)
    assert not (await there.state().lock()).is_held


async def test_a_plan_outlives_a_compaction() -> None:
    """A snapshot in the place of all lines leaves the plans where they are."""
    there = Holder()
    async with there.state().writer(command="imgmigrate apply") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        await writer.record(draft("a"))
        await writer.sync()
        saved = await there.save(b"plan")
        await writer.end({"applied": 1})
    view = await there.state().load()
    async with there.state().writer(command="imgmigrate state push") as writer:
        await writer.restore(view)
    assert await there.state().read_plan(saved) == b"plan"
    assert (await there.state().look()).live_count == 1


async def test_two_that_save_at_once_both_do() -> None:
    """Whoever is overtaken looks again; the list that is left is the only one."""
    there = Holder()
    saved = await together(there.save(f"plan {number}".encode()) for number in range(8))
    assert {plan.sha256 for plan in await there.state().plans()} == set(saved)
    assert len([name for name in there.bucket.files if name.endswith(".json")]) == 1


def _away(bucket: Bucket) -> None:
    bucket.is_away = True


def _mute(bucket: Bucket) -> None:
    bucket.mute = 1


@pytest.mark.parametrize("trouble", [_away, _mute])
async def test_a_place_that_gives_no_answer_says_so(trouble: Callable[[Bucket], None]) -> None:
    """The plan may be there or not; saving it again is right in any case."""
    there = Holder()
    await there.save(b"before")
    trouble(there.bucket)
    with pytest.raises(StateAway):
        await there.save(b"plan")
    there.bucket.is_away = False
    await there.save(b"plan")
    assert len(await there.state().plans()) == 2


async def test_a_list_of_plans_that_is_gone_or_damaged_is_told() -> None:
    """The state itself goes on."""
    there = Holder()
    await there.save(b"plan")
    (name,) = (name for name in there.bucket.files if name.endswith(".json"))
    there.bucket.files[name] = b"{"
    with pytest.raises(StateError, match="list of plans is damaged"):
        await there.state().plans()
    del there.bucket.files[name]
    with pytest.raises(StateError, match="list of plans is not there"):
        await there.state().plans()
    with pytest.raises(StateError, match="list of plans is not there"):
        await there.save(b"other")
    await there.state().look()
