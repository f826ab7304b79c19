"""A state in real object stores: SeaweedFS speaks S3, Azurite speaks Azure's Blob Storage."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgmigrate.clock import now
from imgmigrate.config.values.backends import Backend
from imgmigrate.errors import StateAway, StateError, StateLocked, StateLost
from imgmigrate.state.base import SightingsKeeper, open_state
from imgmigrate.state.shared import clouds, held, sightings
from imgmigrate.state.shared.depot import Missing, Overtaken
from imgmigrate.state.shared.objects import open_objects
from imgmigrate.state.shared.store import SharedState
from tests.fakes.faults import Break, FaultProxy, Refusal
from tests.state.samples import NOON, SOURCE, address, claim, digest, draft, sighting
from tests.support import azurite, seaweed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.faults import Fault
    from tests.support.azurite import Azurite
    from tests.support.seaweed import Seaweed

pytestmark = [pytest.mark.heavy, pytest.mark.integration]

# Seconds; Last-Modified has no parts of one, so a shorter lease would say little.
LEASE = 3.0


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One S3 server for all tests here."""
    with seaweed.serve(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One imitation of Azure for all tests here."""
    with azurite.serve(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(params=["s3", pytest.param("az", marks=pytest.mark.azure)])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """An empty place, found as the cloud's own tools find it."""
    name, bucket = ("s3", seaweed.BUCKET) if request.param == "s3" else ("azure", azurite.CONTAINER)
    server: Seaweed | Azurite = request.getfixturevalue(name)
    for each, value in server.environment().items():
        monkeypatch.setenv(each, value)
    return Backend(f"{request.param}://{bucket}/{secrets.token_hex(8)}/team", Path.cwd(), LEASE)


@pytest.fixture
def in_s3(s3: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """An empty place in S3."""
    for each, value in s3.environment().items():
        monkeypatch.setenv(each, value)
    return Backend(f"s3://{seaweed.BUCKET}/{secrets.token_hex(8)}", Path.cwd(), LEASE)


async def test_swaps_are_what_they_must_be(backend: Backend) -> None:
    """Proven by the probe, and seen: first, later, overtaken, files, ages, lost files."""
    depot = open_objects(backend)
    await depot.prove()
    assert await depot.fetch() is None
    first = await depot.swap(None, b"1", {"journal/1": b"lines"})
    assert await depot.swap(None, b"1") == first  # its answer was lost
    with pytest.raises(Overtaken):
        await open_objects(backend).swap(None, b"2")
    second = await depot.swap(first, b"2", {"journal/2": b"more"}, drop=["journal/1"])
    with pytest.raises(Overtaken):
        await depot.swap(first, b"3")
    assert await open_objects(backend).fetch() == second
    assert await depot.read("journal/2") == b"more"
    with pytest.raises(Missing):
        await depot.read("journal/1")
    await asyncio.sleep(2.5)
    assert 0.4 < (await open_objects(backend).age(second) or 0) < 10
    assert [await open_objects(backend).age(first)] == [0]


async def test_large_files_go_in_parts(backend: Backend) -> None:
    """A snapshot of many records is more than one request may carry."""
    depot, data = open_objects(backend), secrets.token_bytes(20 * 1024 * 1024)
    seen = await depot.swap(None, b"1", {"snapshot/1": data})
    assert await depot.read("snapshot/1") == data
    await depot.swap(seen, b"2", drop=["snapshot/1"])


async def test_what_was_written_is_there_for_others(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several runs, compacted after each; the ends of all of them are remembered."""
    monkeypatch.setattr(held, "SHORTEST_JOURNAL", 1)
    ends = []
    for number in range(4):
        async with open_state(backend).writer(command="first") as writer:
            await writer.begin(f"run-{number}", "plan", [claim(number)])
            await writer.record(draft(number))
            await writer.end({})
            ends.append((writer.state.sequence, writer.state.head))
    state = await open_state(backend).look()
    assert [record.address for record in state.every()] == [address(n) for n in range(4)]
    assert [await open_state(backend).remembers(*end) for end in ends] == [True] * 4
    assert len(await open_state(backend).backups()) == 3


async def test_what_sources_showed_is_kept_beside_it(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever adds at once, also while it is held; its holder makes one object of many."""
    monkeypatch.setattr(sightings, "MOST_FILES", 3)
    depot = open_objects(backend)

    async def add(number: int) -> None:
        state = open_state(backend)
        assert isinstance(state, SightingsKeeper)
        await state.add_sightings([sighting(number, NOON)])
        assert (await state.sightings()).first_seen(SOURCE, digest(number)) == NOON

    await asyncio.gather(*(add(number) for number in range(6)))
    assert len(await depot.names("sightings")) == 6
    async with open_state(backend).writer(command="first") as writer:
        await writer.begin("run-1", "plan", ())
        await add(6)
        await writer.end({})
        await add(7)
    assert len(await depot.names("sightings")) == 2
    state = open_state(backend)
    assert isinstance(state, SightingsKeeper)
    assert len(list(await state.sightings())) == 8


async def test_two_that_race_do_not_both_get_it(backend: Backend) -> None:
    """One holds it, the others are told by whom; then it is free for the next."""
    until, refusals = asyncio.Event(), []

    async def hold() -> str:
        try:
            async with open_state(backend).writer(command="the one"):
                await until.wait()
                return "held"
        except StateLocked as error:
            refusals.append(str(error))
            if len(refusals) % 5 == 0:
                until.set()
            return "locked"

    for _ in range(3):
        until.clear()
        got = await asyncio.gather(*(hold() for _ in range(6)))
        assert sorted(got) == ["held", *["locked"] * 5]
    assert all("running 'the one'" in refusal for refusal in refusals)


async def test_a_holder_that_was_killed_is_followed(backend: Backend) -> None:
    """Not before its lease has run out by the store's clock; all that it said is there."""
    with holding(backend) as process:
        lines = await said(process, 3)
        process.kill()
        killed = time.monotonic()
        with pytest.raises(StateLocked, match="running 'holder'"):
            async with open_state(backend).writer(command="second"):
                pass
        hour = timedelta(hours=1)
        state = SharedState(open_objects(backend), lease=LEASE, clock=lambda: now() + hour)
        async with state.writer(command="second", lock_timeout=60) as writer:
            assert LEASE - 1.5 < time.monotonic() - killed < LEASE + 10
            assert writer.state.live_count >= lines
            await writer.begin("run-2", "plan", ())
            await writer.end({})
    assert [run.run for run in (await open_state(backend).look()).runs] == ["run-held", "run-2"]


async def test_a_holder_that_was_stopped_writes_nothing_more(backend: Backend) -> None:
    """SIGSTOP past its lease: it says that it lost the state, and no line of its came after."""
    with holding(backend) as process:
        await said(process, 3)
        process.send_signal(signal.SIGSTOP)
        async with open_state(backend).writer(command="second", lock_timeout=60) as writer:
            before = writer.state.live_count
            await writer.begin("run-2", "plan", [claim("mine")])
            process.send_signal(signal.SIGCONT)
            out, err = await asyncio.to_thread(process.communicate, timeout=60)
            assert out.split()[-1] == "lost", err
            assert "running 'second'" in err
            await writer.record(draft("mine"))
            await writer.end({})
    assert (await open_state(backend).look()).live_count == before + 1


async def test_a_holder_that_slept_is_fenced(backend: Backend) -> None:
    """By its own clock, which runs through sleep, it asks before the next tag, and is told."""
    boottime = 0.0

    async def run() -> None:
        state = SharedState(open_objects(backend), lease=LEASE, counts=lambda: boottime)
        async with state.writer(command="sleepy") as writer:
            nonlocal boottime
            await writer.begin("run-1", "plan", [claim("a"), claim("b")])
            await writer.record(draft("a"))
            await writer.sync()
            async with open_state(backend).writer(command="second", lock_timeout=60) as second:
                await second.begin("run-2", "plan", ())
                boottime += 10 * LEASE
                with pytest.raises(StateLost, match="running 'second'"):
                    await writer.hold()
                with pytest.raises(StateLost):
                    await writer.record(draft("b"))
                await second.end({})

    await run()
    state = await open_state(backend).look()
    assert [record.address for record in state.every()] == [address("a")]


async def test_a_broken_lock_is_fenced(backend: Backend) -> None:
    """Whoever was thought gone writes no more."""
    with holding(backend) as process:
        await said(process, 1)
        broken = await SharedState(open_objects(backend), lease=LEASE).break_lock()
        assert broken.holder is not None
        assert broken.holder.command == "holder"
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
        assert out.split()[-1] == "lost", err
    assert not (await open_state(backend).lock()).is_held


@pytest.mark.parametrize(
    "fault",
    [
        Refusal(503),
        Break("reset", "request", 0.5),
        Break("reset", "answer"),
        Break("close", "body"),
    ],
    ids=["unavailable", "cut off", "no answer", "half an answer"],
)
async def test_a_network_that_breaks_loses_and_doubles_nothing(
    s3: Seaweed, in_s3: Backend, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """Every third request is lost, or carried out and its answer lost; the state is whole."""
    monkeypatch.setattr(clouds, "FIRST_PAUSE", timedelta(milliseconds=10))
    direct = open_state(in_s3)
    await direct.look()
    async with FaultProxy(s3.host) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{proxy.host}")
        proxy.script = lambda _: fault if len(proxy.requests) % 3 == 0 else None
        async with open_state(in_s3).writer(command="first") as writer:
            await writer.begin("run-1", "plan", [claim(number) for number in range(10)])
            for number in range(10):
                await writer.hold()
                await writer.record(draft(number))
                await writer.sync()
            await writer.end({})
        assert len(proxy.faults) >= 10
    state = await direct.look()
    assert [record.address for record in state.every()] == [address(n) for n in range(10)]
    assert [run.run for run in state.runs] == ["run-1"]


async def test_a_wrong_bucket_is_named(in_s3: Backend) -> None:
    """It is not taken for an empty state, and none is made."""
    wrong = Backend(in_s3.url.replace(seaweed.BUCKET, "nobodys"), Path.cwd())
    with pytest.raises(StateError, match=r"nobodys.*no such bucket \(404 NoSuchBucket\)"):
        await open_state(wrong).look()
    with pytest.raises(StateError, match="no such bucket"):
        async with open_state(wrong).writer(command="first"):
            pass


@pytest.mark.azure
async def test_a_wrong_container_is_named(azure: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is with buckets."""
    for each, value in azure.environment().items():
        monkeypatch.setenv(each, value)
    with pytest.raises(StateError, match=r"no such container \(404 ContainerNotFound\)"):
        await open_state("az://nobodys/team").look()
    key = azurite.KEY.replace("E", "F")
    named = azure.environment()["AZURE_STORAGE_CONNECTION_STRING"].replace(azurite.KEY, key)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", named)
    with pytest.raises(StateError, match="credentials were refused") as refused:
        await open_state(f"az://{azurite.CONTAINER}/team").look()
    assert key not in str(refused.value)


async def test_who_may_only_read_is_told_so(
    in_s3: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading goes on, also of the lock; writing is refused before anything moves."""
    async with open_state(in_s3).writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        await writer.record(draft("a"))
        await writer.sync()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.READER_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.READER_SECRET)
        assert (await open_state(in_s3).look()).live_count == 1
        assert (await open_state(in_s3).lock()).is_held
        await writer.end({})
    with pytest.raises(StateError, match=r"no right to write there \(403 AccessDenied\)"):
        async with open_state(in_s3).writer(command="second"):
            pass


@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
async def test_refused_credentials_are_not_shown(
    in_s3: Backend, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """The message says how to log in."""
    monkeypatch.setenv(wrong, "Tr0ub4dor-and-3")
    with pytest.raises(StateError, match=r"credentials were refused.*AWS_PROFILE") as refused:
        await open_state(in_s3).look()
    assert "Tr0ub4dor" not in str(refused.value)


async def test_a_profile_is_read_as_aws_does(
    in_s3: Backend, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """From `~/.aws`, the one that AWS_PROFILE names."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        f"[team]\naws_access_key_id = {seaweed.ACCESS_KEY}\n"
        f"aws_secret_access_key = {seaweed.SECRET_KEY}\n"
    )
    (home / ".aws" / "config").write_text("[profile team]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_PROFILE", "team")
    async with open_state(in_s3).writer(command="first") as writer:
        await writer.begin("run-1", "plan", ())
        await writer.end({})
    assert len((await open_state(in_s3).look()).runs) == 1
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StateError, match="nobody"):
        await open_state(in_s3).look()


async def test_a_store_that_is_gone_is_away(
    in_s3: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody listens, and where nobody answers: the host is named, and it takes no age."""
    monkeypatch.setattr(clouds, "RETRIES", 1)
    monkeypatch.setattr(clouds, "REQUEST_TIMEOUT", timedelta(seconds=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StateAway, match=r"no connection to it came about \(127\.0\.0\.1:9\)"):
        await open_state(in_s3).look()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
        with pytest.raises(StateAway, match=f"no answer in time .{host}"):
            await open_state(in_s3).look()


@contextmanager
def holding(backend: Backend) -> Iterator[subprocess.Popen[str]]:
    """Run `holder.py` on a state; it does not outlive the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.state.shared.holder", backend.url, str(LEASE)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def said(process: subprocess.Popen[str], lines: int) -> int:
    """Wait until it has recorded so many."""
    assert process.stdout is not None
    for _ in range(lines):
        line = await asyncio.to_thread(process.stdout.readline)
        assert line == "+\n", line or process.communicate()
    return lines
