"""Who may send over a slow line: what is nearest to its end, and nobody waits on a fast one."""

from __future__ import annotations

import asyncio

import pytest

from imgmigrate.stores.gate import Gate, image_rank
from imgmigrate.stores.registry.pace.shares import (
    FAST,
    FIRST_LOOKS,
    LOOK,
    MANY_LOOKS,
    MANY_SMALL,
    Share,
    Shares,
)
from tests.support.clock import settle

MIB = 1024 * 1024


class Line:
    """A line of which the test says what it took."""

    def __init__(self) -> None:
        self.count = 0

    def taken(self) -> int:
        """Bytes."""
        return self.count


class World:
    """Bodies of one registry over one line, which the test moves."""

    def __init__(self, *left: int) -> None:
        self.gate = Gate("registry")
        self.shares = Shares(self.gate, 16)
        self.bodies: list[Share] = []
        self.lines: list[Line] = []
        for each in left:
            self.add(each)

    def add(self, left: int, *, size: int = 0) -> Share:
        """Begin a body of an image of so many bytes."""
        line = Line()
        image_rank.set((size, 0))
        share = self.shares.open(line, left)
        self.lines.append(line)
        self.bodies.append(share)
        return share

    def pass_by(self, looks: int, rate: float, among: list[int] | None = None) -> None:
        """Let time go by in which some bodies share so many bytes a second."""
        among = list(range(len(self.bodies))) if among is None else among
        for _ in range(looks):
            for each in among:
                self.lines[each].count += int(rate * LOOK / len(among))
                self.bodies[each].left -= int(rate * LOOK / len(among))
            self.shares.look()

    def going(self) -> list[int]:
        """Which bodies may go on."""
        return [number for number, each in enumerate(self.bodies) if self.shares.may(each)]


async def test_slow_line_is_the_body_that_is_nearest_to_its_end() -> None:
    """Of many that get little each one goes on, and few new ones are let in."""
    world = World(3 * MIB, MIB, 2 * MIB)
    world.pass_by(FIRST_LOOKS, 100_000)
    assert world.going() == [1]
    assert world.gate.is_narrow


async def test_images_go_one_after_another() -> None:
    """Not the body that ends first but the smallest image has the line, then the next one."""
    world = World()
    large, other, small = (
        world.add(MIB, size=30 * MIB),
        world.add(3 * MIB, size=5 * MIB),
        world.add(2 * MIB, size=5 * MIB),
    )
    world.pass_by(FIRST_LOOKS, 100_000)
    assert world.going() == [2]
    small.close()
    assert world.shares.may(other)
    other.close()
    assert world.shares.may(large)


async def test_body_that_ends_lets_the_next_one_go_at_once() -> None:
    """Nothing waits for the next look."""
    world = World(3 * MIB, MIB, 2 * MIB)
    world.pass_by(FIRST_LOOKS, 100_000)
    world.bodies[1].close()
    assert world.shares.may(world.bodies[2])
    assert not world.shares.may(world.bodies[0])


async def test_body_that_neither_moves_nor_wants_to_does_not_hold_the_line() -> None:
    """One whose source stands still, or that waits for its answer, keeps nobody."""
    world = World(3 * MIB, MIB, 2 * MIB)
    world.pass_by(FIRST_LOOKS, 100_000)
    world.pass_by(1, 100_000, among=[0, 2])
    assert world.going() == [2]


async def test_all_go_on_where_it_is_not_the_line() -> None:
    """A limit for each connection shows by what is lost when the others wait; it is remembered."""
    world = World(*[64 * MIB] * 8)
    world.pass_by(FIRST_LOOKS, 8 * 50_000)
    assert len(world.going()) < 8
    world.pass_by(MANY_LOOKS, 50_000, among=world.going()[:1])
    assert len(world.going()) == 8
    world.pass_by(MANY_LOOKS, 8 * 50_000)
    assert len(world.going()) == 8


async def test_line_that_keeps_its_rate_stays_with_few() -> None:
    """What one gets is what all had: so it is the line, however long it takes."""
    world = World(*[64 * MIB] * 8)
    world.pass_by(FIRST_LOOKS, 100_000)
    world.pass_by(5 * MANY_LOOKS, 100_000, among=world.going())
    assert len(world.going()) == 1


async def test_line_that_is_twice_as_fast_is_tried_by_all_again() -> None:
    """What was measured at first is not held for true for ever."""
    world = World(*[64 * MIB] * 8)
    world.pass_by(FIRST_LOOKS, 100_000)
    world.pass_by(MANY_LOOKS, 250_000, among=world.going())
    assert len(world.going()) == 8


async def test_line_that_recovers_is_everybodys() -> None:
    """A line that was slow for a while, or a disk that was busy, is not held for slow."""
    world = World(*[640 * MIB] * 8)
    world.pass_by(FIRST_LOOKS, 100_000)
    world.pass_by(FIRST_LOOKS, 50_000_000, among=world.going())
    assert len(world.going()) == 8


@pytest.mark.parametrize("way", ["bytes", "small", "time", "nobody"])
async def test_fast_line_gets_all_streams(way: str) -> None:
    """The first MiBs tell, or the first second; also where only small bodies are sent."""
    world = World() if way == "nobody" else World(64 * MIB, 64 * MIB)
    assert not world.gate.is_open
    if way == "bytes":
        world.bodies[0].sent(FAST)
    elif way == "small":
        for _ in range(MANY_SMALL):
            world.shares.landed()
    else:
        world.pass_by(
            FIRST_LOOKS, 10 * MIB if world.bodies else 0, among=[0] if world.bodies else []
        )
    assert world.gate.is_open
    assert world.shares.is_free
    assert await world.bodies[0].turn() if world.bodies else True


async def test_body_waits_until_it_is_its_turn() -> None:
    """It goes on as soon as it is the one nearest to its end."""
    world = World(2 * MIB, MIB)
    world.pass_by(FIRST_LOOKS, 100_000)
    turn = asyncio.create_task(world.bodies[0].turn())
    await settle()
    assert not turn.done()
    world.bodies[1].close()
    assert await turn


async def test_body_that_waits_long_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Front ends cut what is silent for a minute."""
    monkeypatch.setattr("imgmigrate.stores.registry.pace.shares.KEEP_ALIVE", 0)
    world = World(2 * MIB, MIB)
    world.pass_by(FIRST_LOOKS, 100_000)
    assert not await world.bodies[0].turn()
