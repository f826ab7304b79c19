"""Wait for several things at once; a failure comes out as itself, not as a group of one."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

__all__ = ["both", "together", "ungrouped"]

A = TypeVar("A")
B = TypeVar("B")


async def together(jobs: Iterable[Coroutine[object, object, A]]) -> list[A]:
    """Await all; the first failure cancels the others and is raised."""
    with ungrouped():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    return [task.result() for task in tasks]


async def both(
    one: Coroutine[object, object, A], other: Coroutine[object, object, B]
) -> tuple[A, B]:
    """Await two jobs of different kinds."""
    with ungrouped():
        async with asyncio.TaskGroup() as group:
            first, second = group.create_task(one), group.create_task(other)
    return first.result(), second.result()


@contextmanager
def ungrouped() -> Iterator[None]:
    """Let the first failure of a task group within come out as itself."""
    try:
        yield
    except BaseExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
