"""Run a fake registry in its own thread, for tests that block."""

from __future__ import annotations

import asyncio
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tests.fakes.registry.server import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

AnyRegistry = TypeVar("AnyRegistry", bound=FakeRegistry)


@contextmanager
def in_thread(registry: AnyRegistry) -> Iterator[AnyRegistry]:
    """Serve `registry` from another thread until the block ends.

    Its switches and storage may be used from the test. A `Stall` is not thread-safe:
    release it through `registry.clear()` on leaving, or use the fake in the test's own loop.
    """
    ready: Future[asyncio.AbstractEventLoop] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with registry:
            ready.set_result(asyncio.get_running_loop())
            await stop.wait()

    with ThreadPoolExecutor(1, "fake registry") as pool:
        served = pool.submit(lambda: asyncio.run(serve()))
        either: list[Future[Any]] = [ready, served]
        wait(either, return_when=FIRST_COMPLETED)
        if served.done():
            served.result()
        try:
            yield registry
        finally:
            ready.result().call_soon_threadsafe(stop.set)
        served.result()
