"""Plans are kept beside a state, by the sha256 of their bytes, until their time is over."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from imgmigrate.concurrency import together
from imgmigrate.errors import StateAway, StateError, UsageError
from imgmigrate.state.base import PlanKeeper
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.saved import SavedPlan, find_plan, with_runs
from imgmigrate.state.shared.store import SharedState
from tests.fakes.depot import Bucket, MemoryDepot
from tests.state.samples import NOON, claim, draft

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Place:
    """A state of either kind, whose clock a test sets, and the files that are there."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.bucket = kind, folder / "state", Bucket()
        self.now: datetime = NOON

    @property
    def state(self) -> LocalState | SharedState:
        """The state, opened anew."""
        if self.kind == "folder":
            return LocalState(self.folder, clock=lambda: self.now)
        return SharedState(MemoryDepot(self.bucket), lease=60, clock=lambda: self.now)

    def files(self) -> list[str]:
        """The files of plans, without those that say what is known of them."""
        names = self.bucket.files if self.kind == "bucket" else map(str, self.folder.rglob("*"))
        return sorted(name.rsplit("/", 1)[1] for name in names if name.endswith(".plan"))

    def spoil(self, sha256: str, data: bytes | None) -> None:
        """Write other bytes, or take the file away."""
        if self.kind == "bucket":
            name = f"plans/{sha256}.plan"
            del self.bucket.files[name]
            self.bucket.files |= {} if data is None else {name: data}
            return
        path = self.folder / "plans" / f"{sha256}.plan"
        path.unlink()
        if data is not None:
            path.write_bytes(data)

    async def save(self, data: bytes, *, days: float = 0, plan_id: str = "p" * 16) -> str:
        """Save a plan, so many days after noon."""
        self.now = NOON + timedelta(days=days)
        return await self.state.save_plan(data, plan_id=plan_id, config="imgmigrate.yaml")

    async def kept(self) -> list[str]:
        """The plans that are listed."""
        return [plan.sha256 for plan in await self.state.plans()]


@pytest.fixture(params=("folder", "bucket"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Nothing is there yet."""
    return Place(request.param, tmp_path)


async def test_a_plan_comes_back_by_its_sha256(place: Place) -> None:
    """Before any state is there, and it makes none: what is listed says of what it is."""
    assert isinstance(place.state, PlanKeeper)
    assert not await place.state.plans()
    saved = await place.save(b"plan", plan_id="0123456789abcdef")
    assert saved == hashlib.sha256(b"plan").hexdigest()
    for key in (saved, f"sha256:{saved}", saved[:12], f"SHA256:{saved[:20].upper()}"):
        assert await place.state.read_plan(key) == b"plan"
    (plan,) = await place.state.plans()
    assert (plan.plan_id, plan.config) == ("0123456789abcdef", "imgmigrate.yaml")
    assert (plan.saved_at, plan.run) == ("2026-03-01T12:00:00Z", None)
    assert (await place.state.look()).lineage is None


async def test_a_plan_saved_twice_is_kept_once(place: Place) -> None:
    """It counts as saved when it was saved last."""
    await place.save(b"one")
    await place.save(b"two", days=1)
    await place.save(b"one", days=2)
    assert len(await place.kept()) == 2
    assert (await place.state.plans())[-1].saved_at == "2026-03-03T12:00:00Z"


@pytest.mark.parametrize(
    ("key", "cause"),
    [
        ("sha256:0123456789abcdef", "no plan sha256:0123456789abcdef is kept"),
        ("0123456789a", "no sha256 of a plan, nor the first 12 digits"),
        ("plan.out", "no sha256 of a plan"),
        ("../../../etc/passwd", "no sha256 of a plan"),
        ("sha256:" + "a" * 65, "no sha256 of a plan"),
    ],
)
async def test_a_key_that_names_no_plan_is_refused(place: Place, key: str, cause: str) -> None:
    """And the words say what lists them."""
    await place.save(b"plan")
    with pytest.raises(UsageError, match=cause) as caught:
        await place.state.read_plan(key)
    assert "state plans" in str(caught.value.hint)


def test_a_short_key_has_to_be_one_plans_alone() -> None:
    """Of two that begin so, none is taken."""
    plans = [
        SavedPlan(sha256="a" * 20 + digit * 44, plan_id="p" * 16, saved_at="2026-03-01T12:00:00Z")
        for digit in "bc"
    ]
    with pytest.raises(UsageError, match="2 plans begin with sha256:aaaaaaaaaaaa"):
        find_plan(plans, "a" * 12, "state")
    assert find_plan(plans, "a" * 20 + "c", "state") == plans[1]


@pytest.mark.parametrize(
    ("data", "cause"), [(b"edited", "not those that were saved"), (None, "file is not there")]
)
async def test_a_plan_whose_bytes_are_others_is_refused(
    place: Place, data: bytes | None, cause: str
) -> None:
    """Whoever can write there cannot have another plan applied."""
    saved = await place.save(b"plan")
    place.spoil(saved, data)
    with pytest.raises(StateError, match=cause) as caught:
        await place.state.read_plan(saved)
    assert "plan again" in str(caught.value.hint)


async def test_an_overtaken_plan_is_kept_for_30_days(place: Place) -> None:
    """From when the next was saved, not from when it was saved itself; then its file goes too."""
    old = await place.save(b"old")
    middle = await place.save(b"middle", days=100)
    assert await place.kept() == [old, middle]
    new = await place.save(b"new", days=129)
    assert await place.kept() == [old, middle, new]
    last = await place.save(b"last", days=130)
    assert await place.kept() == [middle, new, last]
    assert place.files() == sorted(f"{each}.plan" for each in (middle, new, last))


async def test_the_newest_plan_stays(place: Place) -> None:
    """However long ago it was saved and applied."""
    only = await place.save(b"only")
    await place.state.note_run(only, "run-1")
    place.now = NOON + timedelta(days=1000)
    assert await place.state.read_plan(only) == b"only"
    new = await place.save(b"new", days=1000)
    assert await place.kept() == [new]


async def test_an_applied_plan_is_kept_for_30_days(place: Place) -> None:
    """Also where it was overtaken later."""
    old = await place.save(b"old")
    await place.state.note_run(old, "run-1")
    (plan,) = await place.state.plans()
    assert (plan.run, plan.applied_at) == ("run-1", "2026-03-01T12:00:00Z")
    other = await place.save(b"other", days=29)
    assert await place.kept() == [old, other]
    await place.save(b"new", days=30)
    assert old not in await place.kept()
    assert other in await place.kept()
    await place.state.note_run(old, "run-2")
    assert old not in await place.kept()


async def test_the_runs_of_a_state_say_what_applied_a_plan(place: Place) -> None:
    """Also a run that was killed, or was given the plan in a file."""
    await place.save(b"plan", plan_id="0123456789abcdef")
    async with place.state.writer(command="imgmigrate apply plan.out") as writer:
        await writer.begin("run-1", "0123456789abcdef", [claim("a")])
    (plan,) = with_runs(await place.state.plans(), (await place.state.look()).runs)
    assert plan.run == "run-1"
    assert plan.applied_at


async def test_a_plan_is_private_in_a_folder(tmp_path: Path) -> None:
    """What is written for it only its owner reads; a file of somebody else's is no plan."""
    place = Place("folder", tmp_path)
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
        await Place("folder", tmp_path).save(b"plan")


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
