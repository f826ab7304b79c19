"""What sources were seen to show is kept beside a state, whoever adds it, and how often."""

from __future__ import annotations

import asyncio
import itertools
import random
import stat
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateAway, StateError
from imgmigrate.oci.reference import Repository
from imgmigrate.state.lines.sealing import seal
from imgmigrate.state.local import sightings as local_sightings
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.shared import sightings as shared_sightings
from imgmigrate.state.shared.depot import Missing
from imgmigrate.state.shared.store import SharedState
from imgmigrate.state.sightings import (
    BEFORE,
    MOST_FILES,
    Sightings,
    key_of,
    news,
    print_sightings,
    read_files,
)
from tests.fakes.depot import Bucket, MemoryDepot
from tests.state.samples import NOON, SOURCE, claim, digest, draft, sighting

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from imgmigrate.state.shared.depot import Seen
    from imgmigrate.state.sightings import Sighting

DAY, HOUR = timedelta(days=1), timedelta(hours=1)

# A process that adds what it sees, one file after the other.
ADDING = """
import asyncio, sys
from pathlib import Path
from tests.state.samples import NOON, local, sighting
async def work(name):
    for number in range(40):
        await local(Path(sys.argv[1])).add_sightings([sighting(f"{name}-{number}", NOON)])
asyncio.run(work(sys.argv[2]))
"""


class Place:
    """A state of either kind at noon, and the files of sightings that are there."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.bucket = kind, folder / "state", Bucket()

    @property
    def state(self) -> LocalState | SharedState:
        """The state, opened anew."""
        if self.kind == "folder":
            return LocalState(self.folder, clock=lambda: NOON)
        return SharedState(MemoryDepot(self.bucket), lease=60, clock=lambda: NOON)

    def files(self) -> list[str]:
        """What is there, by name."""
        if self.kind == "folder":
            return sorted(path.name for path in (self.folder / "sightings").glob("*.jsonl"))
        return sorted(name for name in self.bucket.files if name.startswith("sightings/"))

    def spoil(self, change: Mapping[bytes, bytes]) -> None:
        """Change bytes of every file."""
        for name in self.files():
            path = self.folder / "sightings" / name
            data = path.read_bytes() if self.kind == "folder" else self.bucket.files[name]
            for old, new in change.items():
                data = data.replace(old, new)
            if self.kind == "folder":
                path.write_bytes(data)
            else:
                self.bucket.files[name] = data

    async def run(self) -> None:
        """A run that does nothing."""
        async with self.state.writer(command="c") as writer:
            await writer.begin("run-1", "plan", ())
            await writer.end({})


@pytest.fixture(params=("folder", "bucket"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Nothing is there yet."""
    return Place(request.param, tmp_path)


# What lines say together


def test_the_order_of_lines_does_not_matter() -> None:
    """Nor how often one comes: the earliest first sighting, the latest of everything else."""
    lines = [
        sighting("a", NOON - DAY, NOON - DAY, asked=NOON - 2 * HOUR),
        sighting("a", NOON - HOUR, NOON, is_planned=True),
        sighting("a", NOON - 2 * HOUR, NOON - HOUR, asked=NOON - HOUR),
    ]
    expected = sighting("a", NOON - DAY, NOON, asked=NOON - HOUR, is_planned=True)
    for order in itertools.permutations([*lines, lines[0]]):
        assert list(Sightings.of(order, NOON)) == [expected]


def test_a_time_in_the_future_is_the_present() -> None:
    """Some machine's clock is ahead; nothing has to wait longer for it than what is seen now."""
    ahead = sighting("a", NOON + DAY, NOON + 2 * DAY, asked=NOON + DAY)
    found = Sightings.of([ahead], NOON)
    assert found.first_seen(SOURCE, digest("a")) == NOON
    assert found.asked(SOURCE, digest("a")) == NOON
    assert list(found) == [sighting("a", NOON, NOON, asked=NOON)]


def test_a_time_is_a_moment_wherever_it_was_written() -> None:
    """A line with another zone says when that was in UTC."""
    data = print_sightings([sighting("a", NOON.astimezone(), NOON)], NOON)
    assert read_files({"a": data}, NOON).first_seen(SOURCE, digest("a")) == NOON


def test_what_was_there_before_has_no_time_to_wait_for() -> None:
    """It was seen first before any time, and that is read back."""
    data = print_sightings([sighting("a", BEFORE)], NOON)
    first = read_files({"a": data}, NOON).first_seen(SOURCE, digest("a"))
    assert first == BEFORE == datetime(1, 1, 1, tzinfo=UTC)
    assert NOON - first > timedelta(days=365 * 2000)


def test_a_layout_of_any_name_is_found_again() -> None:
    """Also by a path that is no UTF-8."""
    layout = Repository("oci", b"disk/caf\xe9".decode(errors="surrogateescape"))
    source, shown = key_of(layout, digest("a"))
    line = sighting("a", NOON).model_copy(update={"source": source, "digest": shown})
    found = read_files({"a": print_sightings([line], NOON)}, NOON)
    assert found.first_seen(layout, digest("a")) == NOON


def test_what_is_known_is_no_news() -> None:
    """But once a month it is said that a digest is still seen, and what changes is always said."""
    known = Sightings.of([sighting("a", NOON - DAY, NOON - DAY)], NOON)
    assert not news([sighting("a", NOON), sighting("a", NOON - HOUR)], known)
    for each in (
        sighting("b", NOON),
        sighting("a", NOON - 2 * DAY, NOON - 2 * DAY),
        sighting("a", BEFORE),
        sighting("a", NOON, asked=NOON),
        sighting("a", NOON, is_planned=True),
    ):
        assert news([each], known) == [each]
    old = Sightings.of([sighting("a", NOON - 40 * DAY, NOON - 31 * DAY)], NOON)
    assert news([sighting("a", NOON)], old) == [sighting("a", NOON)]


def test_what_nobody_sees_any_more_is_forgotten() -> None:
    """After 400 days; however long ago it was seen first, what is still seen stays."""
    lines = [
        sighting("gone", NOON - 500 * DAY, NOON - 401 * DAY),
        sighting("old", NOON - 500 * DAY, NOON - 399 * DAY),
        sighting("before", BEFORE, NOON),
    ]
    found = read_files({"a": print_sightings(lines, NOON)}, NOON)
    assert found.first_seen(SOURCE, digest("gone")) is None
    assert found.first_seen(SOURCE, digest("old")) == NOON - 500 * DAY
    assert found.first_seen(SOURCE, digest("before")) == BEFORE


def test_a_line_of_a_later_version_is_read() -> None:
    """A minor version may add fields."""
    data = seal({**sighting("a", NOON).model_dump(mode="json"), "by": "somebody"})[0]
    assert read_files({"a": data}, NOON).first_seen(SOURCE, digest("a")) == NOON


# Damage


async def test_damage_is_told_and_what_follows_is_unseen(place: Place) -> None:
    """What stands before it, and every other file, is believed; merging mends it."""
    names = sorted("abc", key=lambda name: digest(name))
    await place.state.add_sightings([sighting(name, NOON) for name in names])
    place.spoil({digest(names[1]).encode(): digest("z").encode()})
    await place.state.add_sightings([sighting("other", NOON)])
    found = await place.state.sightings()
    assert found.trouble is not None
    assert "is damaged at line 2: its hash does not match its bytes" in found.trouble
    seen = [found.first_seen(SOURCE, digest(name)) for name in (*names, "z", "other")]
    assert seen == [NOON, None, None, None, NOON]
    for number in range(MOST_FILES):
        await place.state.add_sightings([sighting(number, NOON)])
    await place.run()
    found = await place.state.sightings()
    assert found.trouble is None
    assert found.first_seen(SOURCE, digest(names[0])) == NOON


@pytest.mark.parametrize("cut", [1, 40])
async def test_a_torn_line_is_unseen(place: Place, cut: int) -> None:
    """Whatever tore it: the lines before it count, and what is added afterwards."""
    names = sorted("ab", key=lambda name: digest(name))
    await place.state.add_sightings([sighting(name, NOON) for name in names])
    (name,) = place.files()
    if place.kind == "folder":
        path = place.folder / "sightings" / name
        path.write_bytes(path.read_bytes()[:-cut])
    else:
        place.bucket.files[name] = place.bucket.files[name][:-cut]
    await place.state.add_sightings([sighting("c", NOON)])
    found = await place.state.sightings()
    assert [found.first_seen(SOURCE, digest(each)) for each in (*names, "c")] == [NOON, None, NOON]
    assert found.trouble is not None


# Files


async def test_files_stay_few(place: Place) -> None:
    """They are merged, in a place that machines share by whoever holds it; nothing is lost."""
    for number in range(3 * MOST_FILES):
        await place.state.add_sightings([sighting(number, NOON)])
    if place.kind == "bucket":
        assert len(place.files()) == 3 * MOST_FILES
        await place.run()
        assert len(place.files()) == 1
    assert len(place.files()) <= MOST_FILES
    assert len(list(await place.state.sightings())) == 3 * MOST_FILES
    await place.run()
    assert len(list(await place.state.sightings())) == 3 * MOST_FILES


async def test_files_in_a_folder_are_private_and_whole(tmp_path: Path) -> None:
    """What a process left that died on the way is none of them."""
    state = LocalState(tmp_path / "deep" / "state", clock=lambda: NOON)
    await state.add_sightings([sighting("a", NOON)])
    folder = state.folder / "sightings"
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for each in (folder, folder.parent):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700
    (folder / f".{path.name}.x1").write_bytes(b'{"source":')
    found = await state.sightings()
    assert found.trouble is None
    assert len(list(found)) == 1


async def test_processes_that_add_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each merges what it finds, and so may the other at the same moment."""
    command = (sys.executable, "-c", ADDING, str(tmp_path / "state"))
    started = [await asyncio.create_subprocess_exec(*command, name) for name in "abc"]
    state = LocalState(tmp_path / "state", clock=lambda: NOON)
    monkeypatch.setattr(local_sightings, "READ_ATTEMPTS", 1000)
    seen = 0
    while any(each.returncode is None for each in started):
        found = await state.sightings()
        assert found.trouble is None
        assert len(list(found)) >= seen  # what was there once is there for every reader
        seen = len(list(found))
        await asyncio.sleep(0)
    assert [each.returncode for each in started] == [0, 0, 0]
    assert len(list(await state.sightings())) == 120


async def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """What it is about, and why."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "sightings").write_bytes(b"")
    state = LocalState(tmp_path / "state", clock=lambda: NOON)
    with pytest.raises(StateError, match=r"state .*sightings: cannot be written"):
        await state.add_sightings([sighting("a", NOON)])


# Where machines share


class Depot(MemoryDepot):
    """A depot that keeps what was done in it, in order, and dies before it takes away a file."""

    dies = False

    async def swap(
        self,
        seen: Seen | None,
        head: bytes,
        add: Mapping[str, bytes] | None = None,
        drop: Collection[str] = (),
    ) -> Seen:
        """Swap, and maybe drop nothing."""
        return await super().swap(seen, head, add, () if self.dies else drop)


async def test_old_files_go_once_the_merged_one_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that dies in between leaves both, which say the same; the next one merges all."""
    monkeypatch.setattr(shared_sightings, "MOST_FILES", 2)
    bucket = Bucket()
    depot = Depot(bucket)
    state = SharedState(depot, lease=60, clock=lambda: NOON)
    for name in "abc":
        await state.add_sightings([sighting(name, NOON)])
    for dies, files in ((True, 4), (False, 1)):
        depot.dies = dies
        async with state.writer(command="c") as writer:
            await writer.begin("run-1", "plan", ())
            await writer.end({})
        names = [name for name in bucket.files if name.startswith("sightings/")]
        assert len(names) == files
        assert len(list(await state.sightings())) == 3


async def test_what_is_added_in_the_middle_of_a_run_disturbs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No swap, no word of the holder's is spoiled, and what comes after the merging stays."""
    monkeypatch.setattr(shared_sightings, "MOST_FILES", 2)
    bucket = Bucket()

    def state() -> SharedState:
        return SharedState(MemoryDepot(bucket), lease=60, clock=lambda: NOON)

    async with state().writer(command="c") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        await writer.sync()
        swaps = bucket.swaps
        for number in range(5):
            await state().add_sightings([sighting(number, NOON)])
        assert bucket.swaps == swaps
        await writer.record(draft("a"))
        await writer.end({})
        await state().add_sightings([sighting("after", NOON)])
    assert len(list(await state().sightings())) == 6
    assert sum(name.startswith("sightings/") for name in bucket.files) == 2
    assert (await state().look()).live_count == 1


class Replaced(MemoryDepot):
    """A depot whose files are merged at the moment that somebody has listed them."""

    times = 1

    async def names(self, folder: str) -> list[str]:
        """List what goes before it is read."""
        names = await super().names(folder)
        if self.times:
            self.times -= 1
            for number, name in enumerate(names):
                self.bucket.files[f"{folder}/{self.times}-{number}.jsonl"] = self.bucket.files.pop(
                    name
                )
        return names


async def test_a_reader_that_meets_a_merging_looks_again() -> None:
    """It is unlucky so often only where somebody else takes files away."""
    depot = Replaced(Bucket())
    state = SharedState(depot, lease=60, clock=lambda: NOON)
    await state.add_sightings([sighting("a", NOON)])
    assert len(list(await state.sightings())) == 1
    depot.times = 100
    with pytest.raises(StateError, match="its sightings are replaced all the time"):
        await state.sightings()
    with pytest.raises(Missing):
        await depot.read("sightings/none")


async def test_a_place_that_is_away_says_so() -> None:
    """Whoever asks decides what becomes of it."""
    bucket = Bucket(is_away=True)
    state = SharedState(MemoryDepot(bucket), lease=60)
    with pytest.raises(StateAway):
        await state.sightings()
    with pytest.raises(StateAway):
        await state.add_sightings([sighting("a", NOON)])


async def test_a_merging_that_fails_costs_only_tidiness(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends well, and says what stays."""
    monkeypatch.setattr(shared_sightings, "MOST_FILES", 2)
    depot = Replaced(Bucket())
    state = SharedState(depot, lease=60, clock=lambda: NOON)
    for name in "abc":
        await state.add_sightings([sighting(name, NOON)])
    said: list[str] = []
    async with state.writer(command="c") as writer:
        writer.listen(lambda warned: said.append(warned.message))
        await writer.begin("run-1", "plan", ())
        depot.times = 1
        await writer.end({})
    assert any("its sightings stay in as many files" in each for each in said)
    assert len(list(await state.sightings())) == 3


def test_many_lines_are_read_soon() -> None:
    """A file of thousands is joined line by line, in whatever order."""
    lines: list[Sighting] = [sighting(number, NOON - HOUR) for number in range(3000)]
    random.Random(1).shuffle(lines)
    found = read_files({"a": print_sightings(lines, NOON), "b": print_sightings(lines, NOON)}, NOON)
    assert len(list(found)) == 3000
