"""A thread that asks the database, for code that cannot wait.

It has an event loop and one connection, and nothing else of the program may use either. Under a
look all questions are answered in one transaction, as of one moment; under a writer, as of now.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from imgmigrate.errors import StateAway, StateError
from imgmigrate.state.postgres.database import Session
from imgmigrate.state.postgres.rows import point

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imgmigrate.state.postgres.database import Database

__all__ = ["Reader"]

T = TypeVar("T")

# Seconds that a question waits for a database that is away; whoever asks does nothing meanwhile.
PATIENCE = 30.0
PAUSE = 0.5


class Reader:
    """The thread that asks the database; it ends with `stop`, or with the process."""

    def __init__(self, database: Database, *, is_snapshot: bool) -> None:
        self._database, self._is_snapshot = database, is_snapshot
        self._session = Session(database)
        self._transaction: Any = None
        self._point: tuple[int, str] | None = None
        self._is_stopped = False
        self._loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        self._thread = threading.Thread(target=self._serve, name="state-reader", daemon=True)
        self._thread.start()

    def ask(self, question: Callable[[Session], Awaitable[T]]) -> T:
        """Ask and wait; StateAway after `PATIENCE`, StateError if a snapshot is lost."""
        self._refuse_stopped()
        answer = asyncio.run_coroutine_threadsafe(self._answer(question, PATIENCE), self._loop)
        return answer.result()

    async def answer(self, question: Callable[[Session], Awaitable[T]]) -> T:
        """Ask without blocking the loop of who asks, and once: this is the first question."""
        self._refuse_stopped()
        answer = asyncio.run_coroutine_threadsafe(self._answer(question, 0), self._loop)
        return await asyncio.wrap_future(answer)

    def stop(self) -> None:
        """End the thread and its connection; does not wait, so whoever collects garbage may ask."""
        if not self._is_stopped:
            self._is_stopped = True
            with suppress(RuntimeError):  # the loop has ended with the process
                self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self) -> None:
        """Wait until it has ended. Blocking."""
        self._thread.join()

    def _refuse_stopped(self) -> None:
        if self._is_stopped:
            raise StateError(f"state {self._database.place}: it is no longer looked at")

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _answer(self, question: Callable[[Session], Awaitable[T]], patience: float) -> T:
        async with self._turn:
            deadline = self._loop.time() + patience
            while True:
                try:
                    return await self._once(question)
                except StateAway:
                    await self._close()
                    if self._loop.time() >= deadline:
                        raise
                except BaseException:
                    await self._close()
                    raise
                await asyncio.sleep(PAUSE)

    async def _once(self, question: Callable[[Session], Awaitable[T]]) -> T:
        if not self._is_snapshot:
            async with self._session.transaction():
                return await question(self._session)
        with self._database.explained():
            if self._transaction is None:
                await self._begin()
            return await question(self._session)

    async def _begin(self) -> None:
        """Open the snapshot; where an earlier one was lost, only if nothing was written since."""
        transaction = self._session.transaction(snapshot=True)
        await transaction.__aenter__()
        self._transaction = transaction
        found = await point(self._session)
        if self._point not in (None, found):
            raise StateError(
                f"state {self._database.place}: it was written while it was looked at, and the"
                " connection that showed it as it was is lost",
                hint="run the same command again",
            )
        self._point = found

    async def _end(self) -> None:
        """Drop the question of whoever no longer waits for the answer, and say goodbye."""
        asking = asyncio.all_tasks() - {asyncio.current_task()}
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            with suppress(StateError):
                await transaction.__aexit__(None, None, None)
        await self._session.close()
