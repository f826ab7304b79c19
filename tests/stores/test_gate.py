"""Who may begin a blob: all, or few, and then image by image."""

from __future__ import annotations

import asyncio

import pytest

from imgmigrate.stores.gate import Gate, image_rank
from tests.support.clock import settle


class Crowd:
    """Blobs before one gate, each in a task of its own that passes, and stays until told to go."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._leave: dict[int, asyncio.Event] = {}

    async def come(self, *sizes: int) -> None:
        """Have blobs of images of these sizes arrive in this order."""
        for size in sizes:
            self.tasks.append(asyncio.create_task(self._pass(size)))
            await settle()

    async def go(self, size: int) -> None:
        """Have one leave."""
        self._leave[size].set()
        await settle()

    async def _pass(self, size: int) -> None:
        image_rank.set((size, 0))
        leave = self._leave[size] = asyncio.Event()
        async with self.gate:
            self.inside.append(size)
            try:
                await leave.wait()
            finally:
                self.inside.remove(size)

    async def end(self) -> None:
        """End those that are left."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_open_gate_lets_all_pass() -> None:
    """Nobody waits where nobody watches a line."""
    crowd = Crowd(Gate("a"))
    await crowd.come(*range(30))
    assert crowd.inside == list(range(30))
    await crowd.end()


async def test_narrow_gate_lets_the_smallest_images_pass_first() -> None:
    """Whoever came first."""
    crowd = Crowd(Gate("a"))
    crowd.gate.narrow(2)
    await crowd.come(1, 2, 90, 30, 60)
    assert crowd.inside == [1, 2]
    await crowd.go(1)
    await crowd.go(2)
    assert crowd.inside == [30, 60]
    await crowd.end()


async def test_smaller_image_need_not_wait_for_larger_ones_that_pause() -> None:
    """What went in before it has no turn before it, so it is no reason to wait."""
    crowd = Crowd(Gate("a"))
    await crowd.come(70, 80, 90)
    crowd.gate.narrow(2)
    await crowd.come(75, 10, 20, 30)
    assert crowd.inside == [70, 80, 90, 75, 10, 20]
    await crowd.go(10)
    assert crowd.inside[-1] == 30
    await crowd.end()


async def test_gate_before_a_line_that_nobody_knows_counts_all() -> None:
    """Else those who come from the largest to the smallest would all pass."""
    crowd = Crowd(Gate("a"))
    crowd.gate.narrow(2, is_known=False)
    await crowd.come(40, 30, 20, 10)
    assert crowd.inside == [40, 30]
    await crowd.go(40)
    assert crowd.inside == [30, 10]
    crowd.gate.open()
    await settle()
    assert crowd.inside == [30, 10, 20]
    await crowd.end()


@pytest.mark.parametrize("is_let_in", [False, True])
async def test_who_gives_up_at_the_gate_leaves_the_count_right(is_let_in: bool) -> None:
    """While waiting, or just as it is let in."""
    crowd = Crowd(Gate("a"))
    crowd.gate.narrow(1)
    await crowd.come(1, 2, 3)
    if is_let_in:
        crowd.gate.open()
        crowd.gate.narrow(1)
    crowd.tasks[1].cancel()
    await settle()
    await crowd.go(1)
    assert crowd.inside == [3]
    await crowd.end()
    await crowd.come(4)
    assert crowd.inside == [4]
    await crowd.end()
