"""Attempts at what only a transfer can repeat."""

from __future__ import annotations

import asyncio

import pytest
import stamina

from imgmigrate.errors import ImgmigrateError, RateLimited, Rejected, TransientError
from imgmigrate.events import NoSink, Retrying
from imgmigrate.stores.retries import ATTEMPTS, attempts
from tests.support.world import Recorder


def broken(side: str = "source", *, spent: bool = False) -> TransientError:
    error = TransientError("r/a", "broke")
    error.side = "source" if side == "source" else "destination"
    error.is_spent = spent
    return error


async def tried(*outcomes: Exception | None, sink: Recorder | None = None) -> list[int]:
    """Fail as told, and list the attempts; what they end with is raised."""
    numbers, left = [], iter(outcomes)
    async for attempt in attempts(sink or NoSink(), "source"):
        with attempt:
            numbers.append(attempt.num)
            error = next(left)
            if error is not None:
                raise error
            break
    return numbers


async def test_first_attempt_needs_nothing_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machinery of retries is set up after the first failure."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(stamina, "retry_context", refuse)
    assert await tried(None) == [1]
    with pytest.raises(AssertionError):
        await tried(broken(), None)


async def test_transient_errors_of_the_side_are_tried_again() -> None:
    """Every retry is an event, and attempts are counted from one."""
    sink = Recorder()
    assert await tried(broken(), broken(), None, sink=sink) == [1, 2, 3]
    assert [type(event) for event in sink.events] == [Retrying, Retrying]


async def test_last_attempt_raises_its_error() -> None:
    """Five attempts are made, and not one more."""
    errors = [broken() for _ in range(ATTEMPTS)]
    with pytest.raises(TransientError) as caught:
        await tried(*errors)
    assert caught.value is errors[-1]


async def test_what_is_tried_no_more_is_spent_and_not_announced() -> None:
    """Five attempts have four announcements, and whoever is further out makes no sixth."""
    sink, last = Recorder(), broken()
    with pytest.raises(TransientError):
        await tried(*(broken() for _ in range(ATTEMPTS - 1)), last, sink=sink)
    assert last.is_spent
    assert len(sink.events) == ATTEMPTS - 1


async def test_refusals_for_the_pace_cost_no_attempt_even_after_a_failure() -> None:
    """However often limits hold it back, five real failures are needed to give it up."""
    refusals = [RateLimited.paced(broken()) for _ in range(2 * ATTEMPTS)]
    for each in refusals:
        each.side = "source"
    sink = Recorder()
    assert len(await tried(broken(), *refusals, broken(), None, sink=sink)) == 2 * ATTEMPTS + 3
    assert len(sink.events) == 2


@pytest.mark.parametrize(
    "error",
    [
        Rejected("r/a", "no"),
        broken("destination"),
        broken(spent=True),
        ImgmigrateError("x"),
        ValueError(),
    ],
)
async def test_what_trying_again_cannot_heal_is_raised_at_once(error: Exception) -> None:
    """Other errors, those of the other side and those tried often enough come out as they are."""
    with pytest.raises(type(error)) as caught:
        await tried(error, None)
    assert caught.value is error


async def test_cancellation_travels_on() -> None:
    """It is no failure that an attempt takes up."""
    with pytest.raises(asyncio.CancelledError):
        await tried(asyncio.CancelledError())  # type: ignore[arg-type]  # no Exception on purpose


async def test_attempts_end_after_one_that_went_well() -> None:
    """Whoever does not leave the loop is not given another."""
    numbers = []
    async for attempt in attempts(NoSink(), "source"):
        with attempt:
            numbers.append(attempt.num)
    assert numbers == [1]
