"""Counting a run."""

from __future__ import annotations

from typing import Literal

import pytest

from imgmigrate.events import (
    BlobFinished,
    BlobMoved,
    BlobStarted,
    ImageFinished,
    ImageStarted,
    Listed,
    Observed,
    Outcome,
    Receipt,
    Retrying,
    RunFinished,
    RunStarted,
)
from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.render.changes.tally import Tally
from tests.render import samples

REPOSITORY = Repository("harbor.new", "team/api")
BLOB = samples.digest("blob")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def receipt(tag: str, outcome: Outcome) -> ImageFinished:
    return ImageFinished(Receipt(REPOSITORY.at(tag), outcome))


def test_images_are_counted_by_what_became_of_them() -> None:
    """Done and not done add up to the images of the run."""
    tally = Tally()
    tally.emit(RunStarted("run", "plan", images=4, size=None))
    for tag, outcome in (("a", Outcome.APPLIED), ("b", Outcome.FAILED), ("c", Outcome.ALREADY)):
        tally.emit(ImageStarted(REPOSITORY.at(tag)))
        tally.emit(receipt(tag, outcome))
    tally.emit(ImageStarted(REPOSITORY.at("d")))
    assert (tally.images, tally.done, tally.undone, len(tally.open)) == (4, 2, 1, 1)


@pytest.mark.parametrize(
    ("outcome", "images"),
    [
        (Outcome.ALREADY, 2),
        (Outcome.CONFLICT, 2),
        (Outcome.FAILED, 2),
        (Outcome.APPLIED, 1),
        (Outcome.CANCELLED, 1),
    ],
)
def test_rows_settled_from_the_start_add_to_the_images(outcome: Outcome, images: int) -> None:
    """A resumed run counts what earlier runs did: such rows end without having begun."""
    tally = Tally()
    tally.emit(RunStarted("run", "plan", images=1, size=None))
    tally.emit(receipt("a", outcome))
    assert tally.images == images


def test_bytes_follow_the_blobs_and_their_restarts() -> None:
    """A blob that starts over takes its bytes back."""
    tally = Tally()
    tally.emit(BlobStarted(REPOSITORY, BLOB, 100))
    tally.emit(BlobMoved(REPOSITORY, BLOB, 60))
    tally.emit(BlobMoved(REPOSITORY, BLOB, -60))
    tally.emit(BlobMoved(REPOSITORY, BLOB, 10))
    (blob,) = tally.blobs.values()
    assert (tally.moved, blob.moved, blob.size) == (10, 10, 100)
    tally.emit(BlobFinished(REPOSITORY, BLOB, 100, "uploaded"))
    assert not tally.blobs


@pytest.mark.parametrize("how", ["mounted", "exists", "uploaded", "failed"])
def test_the_end_of_a_blob_moves_nothing(
    how: Literal["uploaded", "mounted", "exists", "failed"],
) -> None:
    """What moved was told while it did."""
    tally = Tally()
    tally.emit(BlobFinished(REPOSITORY, BLOB, 100, how))
    assert (tally.moved, tally.blobs) == (0, {})


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """A slow start is forgotten, and the time left follows the present rate."""
    clock = Clock()
    tally = Tally(clock)
    tally.emit(RunStarted("run", "plan", images=1, size=10_000))
    assert (tally.rate, tally.seconds_left) == (None, None)
    for _ in range(30):
        clock.now += 1
        tally.emit(BlobMoved(REPOSITORY, BLOB, 100))
    assert tally.rate == 100
    assert tally.seconds_left == 70
    assert tally.seconds == 30


@pytest.mark.parametrize("there", [0, 5_000])
def test_the_time_left_is_right_from_the_tenth_second_on(there: int) -> None:
    """Over a line of known rate, within 20 %, also where a part turns out to be there already."""
    clock = Clock()
    tally = Tally(clock)
    each, rate = 10_000, 1_000
    rows = [REPOSITORY.at(str(number)) for number in range(4)]
    loads = dict.fromkeys(rows, (each, 2000))
    tally.emit(RunStarted("run", "plan", images=4, size=4 * each, loads=loads))
    to_send, sent, done = 4 * each - there, 0, 0
    # What the plan knew of is found as well, and is no news.
    for size in (8_000, there):
        tally.emit(BlobFinished(REPOSITORY, samples.digest(str(size)), size, "exists"))
    ends = [each - there, 2 * each - there, 3 * each - there, to_send]
    while sent < to_send:
        clock.now += 1
        sent += rate
        tally.emit(BlobMoved(REPOSITORY, BLOB, rate))
        while done < 4 and sent >= ends[done]:
            tally.emit(ImageFinished(Receipt(rows[done], Outcome.APPLIED)))
            done += 1
        really = (to_send - sent) / rate
        if clock.now >= 110:
            assert tally.seconds_left == pytest.approx(really, rel=0.2)
    assert tally.left == 0


def test_what_a_row_did_not_need_is_not_left() -> None:
    """A row that ended without its bytes leaves none, and one that failed none to this run."""
    tally = Tally(Clock())
    rows = [REPOSITORY.at("a"), REPOSITORY.at("b")]
    loads = dict.fromkeys(rows, (100, 0))
    tally.emit(RunStarted("run", "plan", images=2, size=200, loads=loads))
    assert tally.left == 200
    tally.emit(ImageFinished(Receipt(rows[0], Outcome.ALREADY)))
    assert tally.left == 100
    tally.emit(ImageFinished(Receipt(rows[1], Outcome.FAILED)))
    assert tally.left == 0


def test_who_stands_still_for_a_minute_has_no_time_left() -> None:
    """The rate is that of the last minute, also where nothing came in it."""
    clock = Clock()
    tally = Tally(clock)
    tally.emit(RunStarted("run", "plan", images=1, size=1_000))
    for _ in range(3):
        clock.now += 1
        tally.emit(BlobMoved(REPOSITORY, BLOB, 100))
    clock.now += 61
    assert (tally.rate, tally.seconds_left) == (0, None)


def test_a_run_of_unknown_size_has_no_time_left() -> None:
    """What is not known is not guessed."""
    clock = Clock()
    tally = Tally(clock)
    for _ in range(3):
        clock.now += 1
        tally.emit(BlobMoved(REPOSITORY, BLOB, 100))
    assert tally.rate == 100
    assert tally.seconds_left is None


def test_planning_and_trouble_are_counted_too() -> None:
    """Listings, observations and retries each have their count."""
    tally = Tally()
    tally.emit(Listed(REPOSITORY, 3))
    tally.emit(Observed(2, 5))
    tally.emit(Retrying("harbor.new", "503", 1.5))
    tally.emit(RunFinished("run", "plan", {}, 0, 1.0))
    assert (tally.repositories, tally.observed, tally.addresses) == (1, 2, 5)
    assert tally.retries == 1
    assert tally.last_retry == Retrying("harbor.new", "503", 1.5)
    assert tally.finished is not None


def test_addresses_are_told_apart_by_more_than_their_repository() -> None:
    """Two open tags of one repository are two images."""
    tally = Tally()
    tally.emit(ImageStarted(Reference.parse("a.b/c:1")))
    tally.emit(ImageStarted(Reference.parse("a.b/c:2")))
    assert len(tally.open) == 2
