"""What every kind of state promises, as tests that a kind's own file takes over.

A kind makes a class of `SharedBehaviour`, with a fixture `opened` that opens one and the same
state as often as it is called.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateLocked
from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.state.base import SightingsKeeper
from imgmigrate.state.holder import Progress
from imgmigrate.state.local import sightings as local_sightings
from imgmigrate.state.record import Claim, Owner, Status
from imgmigrate.state.shared import sightings as shared_sightings
from imgmigrate.state.sightings import BEFORE, key_of
from imgmigrate.state.writer import run_name
from tests.state.samples import NOON, SOURCE, address, claim, digest, draft, sighting

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.state.base import StateStore
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["SharedBehaviour", "answers"]

APP = Repository("registry.new", "team/app")
OTHER = Reference.parse("oci:disk/app:1")


def other_end(record: ImageRecord) -> ImageRecord:
    """The same record at an address in a layout, from another repository."""
    source = replace(record.source, reference=Reference.parse("registry.old/team/other:1"))
    return replace(record, address=OTHER, source=source)


def answers(state: State) -> dict[str, object]:
    """Ask a state everything, in a form in which two answers can be compared."""
    sources = [Repository("registry.old", f"team/{name}") for name in ("app", "other", "none")]
    repositories = [APP, OTHER.repository, Repository("registry.new", "none")]
    return {
        "point": (state.lineage, state.sequence, state.head, state.name, state.place),
        "runs": list(state.runs),
        "claims": dict(state.claims),
        "stand_ins": {key: dict(each) for key, each in state.stand_ins.items()},
        "companions": dict(state.companions),
        "counts": (state.live_count, state.record_count),
        "every": [
            list(state.every(prefix)) for prefix in ("", "registry.new/", f"{APP}:1", "oci:", "x")
        ],
        "live": list(state.live()),
        "of": [list(state.of(each, tombstones=t)) for each in repositories for t in (True, False)],
        "holds": [state.holds(each) for each in repositories],
        "from": [list(state.from_source(each)) for each in sources],
        "has": [state.has_source(each) for each in sources],
        "repositories": [
            sorted(state.repositories(tombstones=True)),
            sorted(state.repositories()),
            sorted(state.sources()),
        ],
        "layouts": list(state.with_layouts()),
        "written": [list(state.written_by(each)) for each in ("run-1", "plan-2", "none")],
        "record": [state.record(address(n)) for n in range(8)],
        "owns": [state.owns(address(n), digest("1")) for n in range(8)],
    }


async def write_much(opened: Callable[[], StateStore]) -> dict[str, object]:
    """Write lines of every kind in two runs, and tell what the writer's state said at last."""
    async with opened().writer(command="c") as writer:
        owner = Owner("team", "state")
        await writer.begin("run-1", "plan-1", [claim(n) for n in range(6)], owner=owner)
        for n in range(5):
            await writer.record(draft(n))
        await writer.record(other_end(draft(9)))
        await writer.conflict(address(5))
        await writer.end({"applied": 6})
    async with opened().writer(command="c") as writer:
        stands_in = Claim(address=address(6), after=digest("s"), before=digest("b"), stands_in=True)
        signed = claim(7).model_copy(update={"companions": (("a-tag.sig", digest("sig")),)})
        await writer.begin("run-2", "plan-2", [signed, stands_in])
        await writer.record(draft(0, "2"))
        await writer.record(replace(draft(1), status=Status.FORGOTTEN))
        await writer.record(replace(draft(2), status=Status.DELETED))
        await writer.failed(address(7), "no room")
        await writer.remove([address(3)])
        await writer.move([(address(4), address(14)), (address(7), address(17))])
        await writer.protect([address(0), address(14)])
        await writer.unprotect([address(0)])
        return answers(writer.state)


def keeper(opened: Callable[[], StateStore]) -> SightingsKeeper:
    """Open the state as what keeps sightings."""
    state = opened()
    assert isinstance(state, SightingsKeeper)
    return state


class SharedBehaviour:
    """The promises of `base.StateStore`."""

    async def test_a_state_that_does_not_exist_is_empty(
        self, opened: Callable[[], StateStore]
    ) -> None:
        """It has no lineage, nobody holds it, and its history is nothing."""
        state = await opened().look()
        assert (state.lineage, state.sequence, state.head, list(state.every())) == (None, 0, "", [])
        assert not (await opened().lock()).is_held
        assert await opened().remembers(0, "")
        assert not await opened().remembers(1, "0" * 32)
        assert not await opened().backups()

    async def test_what_was_written_is_there_for_others(
        self, opened: Callable[[], StateStore]
    ) -> None:
        """Records, claims and the run; every point of its history is known, and no other is."""
        points = []
        async with opened().writer(command="imgmigrate apply") as writer:
            await writer.begin("run-1", "plan", [claim("a"), claim("b")])
            record = await writer.record(draft("a"))
            points.append((writer.state.sequence, writer.state.head))
            await writer.sync()
            beside = await opened().look()
            assert beside.record(address("a")) == record
            assert beside.owns(address("b"), digest("1"))
            await writer.end({"applied": 1})
            points.append((writer.state.sequence, writer.state.head))
        state = await opened().look()
        assert (state.sequence, state.head) == points[-1]
        assert [run.run for run in state.runs] == ["run-1"]
        assert list(state.of(record.address.repository)) == [record]
        assert list(state.written_by("run-1")) == [record]
        assert answers((await opened().load()).state()) == answers(state)
        assert [await opened().remembers(*each) for each in points] == [True, True]
        assert not await opened().remembers(points[0][0], "f" * 32)

    async def test_every_kind_of_line_is_read_back(self, opened: Callable[[], StateStore]) -> None:
        """Whatever is asked, the writer, a look and a load say the same."""
        said = await write_much(opened)
        assert answers(await opened().look()) == said
        assert answers((await opened().load()).state()) == said
        async with opened().writer(command="c") as writer:
            assert answers(writer.state) == said

    async def test_one_writes_at_a_time(self, opened: Callable[[], StateStore]) -> None:
        """The other is told who does; whoever fails lets go, and what was recorded stays."""

        async def fail() -> None:
            async with opened().writer(command="imgmigrate apply plan.out") as writer:
                await writer.begin("run-1", "plan", ())
                await writer.record(draft("a"))
                lock = await opened().lock()
                assert lock.is_held
                assert lock.holder is not None
                assert lock.holder.command == "imgmigrate apply plan.out"
                with pytest.raises(StateLocked, match=r"running 'imgmigrate apply plan\.out'"):
                    async with opened().writer(command="second"):
                        pass
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert not (await opened().lock()).is_held
        async with opened().writer(command="third", lock_timeout=1) as writer:
            assert writer.state.live_count == 1

    async def test_of_two_that_race_each_writes_whole_runs(
        self, opened: Callable[[], StateStore]
    ) -> None:
        """They wait for each other; no line is lost, doubled or between those of another."""

        async def run(name: str) -> None:
            for number in range(3):
                async with opened().writer(command=name, lock_timeout=60) as writer:
                    await writer.begin(run_name(NOON), "plan", ())
                    await writer.record(draft(f"{name}-{number}"))
                    await writer.hold()
                    await writer.end({})

        await asyncio.gather(run("a"), run("b"))
        state = await opened().look()
        assert state.sequence == 3 * 6
        assert state.live_count == 6
        assert len(state.runs) == 6
        assert all(run.done == 1 for run in state.runs)

    async def test_who_is_cancelled_lets_go(self, opened: Callable[[], StateStore]) -> None:
        """What it had recorded is there, and the next one writes behind it."""
        begun = asyncio.Event()

        async def work() -> None:
            async with opened().writer(command="c") as writer:
                await writer.begin("run-1", "plan", ())
                await writer.record(draft("a"))
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await opened().look()).live_count == 1
        async with opened().writer(command="c") as writer:
            await writer.record(draft("b"))
        assert (await opened().look()).live_count == 2

    async def test_a_look_stays_what_it_was(self, opened: Callable[[], StateStore]) -> None:
        """What is written later is not in it, whenever it is asked for."""
        said = await write_much(opened)
        before = await opened().look()
        async with opened().writer(command="c") as writer:
            await writer.record(draft(0, "later"))
            await writer.remove([address(14)])
        assert answers(before) == said
        assert answers(await opened().look()) != said

    async def test_a_first_sighting_stays_the_first(self, opened: Callable[[], StateStore]) -> None:
        """Whoever adds what, and in which order; what was asked for last is the latest."""
        day, hour = timedelta(days=1), timedelta(hours=1)
        assert not list(await keeper(opened).sightings())
        await keeper(opened).add_sightings([sighting("a", NOON), sighting("b", NOON)])
        await keeper(opened).add_sightings(
            [sighting("a", NOON - day, asked=NOON), sighting("b", BEFORE, is_planned=True)]
        )
        await keeper(opened).add_sightings(
            [sighting("a", NOON + hour), sighting("a", NOON - hour, asked=NOON - hour)]
        )
        found = await keeper(opened).sightings()
        assert found.first_seen(SOURCE, digest("a")) == NOON - day
        assert found.asked(SOURCE, digest("a")) == NOON
        assert found.first_seen(SOURCE, digest("b")) == BEFORE
        assert found.asked(SOURCE, digest("b")) is None
        assert found.first_seen(SOURCE, digest("c")) is None
        assert found.first_seen(APP, digest("a")) is None
        assert found.is_planned
        assert found.trouble is None
        keys = [key_of(SOURCE, digest(name)) for name in ("a", "c")]
        some = await keeper(opened).sightings(keys)
        assert some.first_seen(SOURCE, digest("a")) == NOON - day
        assert some.first_seen(SOURCE, digest("c")) is None
        assert some.is_planned

    async def test_sightings_are_outside_of_the_history(
        self, opened: Callable[[], StateStore]
    ) -> None:
        """None makes a state where there is none, and they come and go beside one that is held."""
        await keeper(opened).add_sightings([sighting("a", NOON)])
        assert answers(await opened().look())["point"] == (None, 0, "", None, None)
        async with opened().writer(command="c") as writer:
            await writer.begin("run-1", "plan", [claim("a")])
            await writer.sync()
            point = (writer.state.sequence, writer.state.head)
            await keeper(opened).add_sightings([sighting("b", NOON)])
            assert (await opened().lock()).is_held
            found = await opened().look()
            assert (found.sequence, found.head) == point
            await writer.record(draft("a"))
            await writer.end({})
        assert len(list(await keeper(opened).sightings())) == 2
        assert (await opened().look()).live_count == 1

    async def test_all_that_add_sightings_at_once_survive(
        self, opened: Callable[[], StateStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody waits for a turn, and none is lost where they are merged meanwhile."""
        for kind in (local_sightings, shared_sightings):
            monkeypatch.setattr(kind, "MOST_FILES", 2)
        await keeper(opened).add_sightings([sighting("first", NOON)])

        async def add(name: str) -> None:
            for number in range(5):
                await keeper(opened).add_sightings([sighting(f"{name}-{number}", NOON)])
                assert (await keeper(opened).sightings()).trouble is None

        async def work() -> None:
            for number in range(2):
                async with opened().writer(command="c") as writer:
                    await writer.begin(run_name(NOON), "plan", ())
                    await writer.record(draft(number))
                    await writer.end({})

        await asyncio.gather(add("a"), add("b"), work())
        assert len(list(await keeper(opened).sightings())) == 11
        assert (await opened().look()).live_count == 2

    async def test_progress_is_told(self, opened: Callable[[], StateStore]) -> None:
        """It stands beside the holder, once something was written."""
        async with opened().writer(command="c") as writer:
            writer.tell(Progress(run="run-1", moved=7))
            await writer.begin("run-1", "plan", ())
            holder = (await opened().lock()).holder
            assert holder is not None
            assert holder.progress == Progress(run="run-1", moved=7)
