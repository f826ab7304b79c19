"""What every kind of state promises of the plans beside it, as tests that a kind's file takes over.

A kind makes a class of `PlanBehaviour`, with a fixture `place` of its own `PlanPlace`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Protocol

import pytest

from imgmigrate.errors import StateError, UsageError
from imgmigrate.state.base import PlanKeeper, StateStore
from imgmigrate.state.saved import with_runs
from tests.state.samples import NOON, claim

__all__ = ["KeepingState", "PlanBehaviour", "PlanPlace"]


class KeepingState(StateStore, PlanKeeper, Protocol):
    """A state with plans beside it."""


class PlanPlace:
    """A state whose clock a test sets, and the bytes of plans that are there."""

    now: datetime = NOON

    @property
    def state(self) -> KeepingState:
        """The state, opened anew."""
        raise NotImplementedError

    def bytes_of(self) -> list[str]:
        """The plans whose bytes are there, by their sha256, sorted."""
        raise NotImplementedError

    def spoil(self, sha256: str, data: bytes | None) -> None:
        """Write other bytes, or take them away."""
        raise NotImplementedError

    async def save(self, data: bytes, *, days: float = 0, plan_id: str = "p" * 16) -> str:
        """Save a plan, so many days after noon."""
        self.now = NOON + timedelta(days=days)
        return await self.state.save_plan(data, plan_id=plan_id, config="imgmigrate.yaml")

    async def kept(self) -> list[str]:
        """The plans that are listed."""
        return [plan.sha256 for plan in await self.state.plans()]


class PlanBehaviour:
    """The promises of `base.PlanKeeper`."""

    async def test_a_plan_comes_back_by_its_sha256(self, place: PlanPlace) -> None:
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

    async def test_a_plan_saved_twice_is_kept_once(self, place: PlanPlace) -> None:
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
    async def test_a_key_that_names_no_plan_is_refused(
        self, place: PlanPlace, key: str, cause: str
    ) -> None:
        """And the words say what lists them."""
        await place.save(b"plan")
        with pytest.raises(UsageError, match=cause) as caught:
            await place.state.read_plan(key)
        assert "state plans" in str(caught.value.hint)

    @pytest.mark.parametrize(
        ("data", "cause"), [(b"edited", "not those that were saved"), (None, "is not there")]
    )
    async def test_a_plan_whose_bytes_are_others_is_refused(
        self, place: PlanPlace, data: bytes | None, cause: str
    ) -> None:
        """Whoever can write there cannot have another plan applied."""
        saved = await place.save(b"plan")
        place.spoil(saved, data)
        with pytest.raises(StateError, match=cause) as caught:
            await place.state.read_plan(saved)
        assert "plan again" in str(caught.value.hint)

    async def test_an_overtaken_plan_is_kept_for_30_days(self, place: PlanPlace) -> None:
        """From when the next was saved, not from when it was itself; then its bytes go too."""
        old = await place.save(b"old")
        middle = await place.save(b"middle", days=100)
        assert await place.kept() == [old, middle]
        new = await place.save(b"new", days=129)
        assert await place.kept() == [old, middle, new]
        last = await place.save(b"last", days=130)
        assert await place.kept() == [middle, new, last]
        assert place.bytes_of() == sorted((middle, new, last))

    async def test_the_newest_plan_stays(self, place: PlanPlace) -> None:
        """However long ago it was saved and applied."""
        only = await place.save(b"only")
        await place.state.note_run(only, "run-1")
        place.now = NOON + timedelta(days=1000)
        assert await place.state.read_plan(only) == b"only"
        new = await place.save(b"new", days=1000)
        assert await place.kept() == [new]

    async def test_an_applied_plan_is_kept_for_30_days(self, place: PlanPlace) -> None:
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

    async def test_the_runs_of_a_state_say_what_applied_a_plan(self, place: PlanPlace) -> None:
        """Also a run that was killed, or was given the plan in a file."""
        await place.save(b"plan", plan_id="0123456789abcdef")
        async with place.state.writer(command="imgmigrate apply plan.out") as writer:
            await writer.begin("run-1", "0123456789abcdef", [claim("a")])
        (plan,) = with_runs(await place.state.plans(), (await place.state.look()).runs)
        assert plan.run == "run-1"
        assert plan.applied_at
