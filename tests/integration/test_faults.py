"""Bad networks between us and real registries: everything arrives, nothing is sent in vain."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from imgmigrate import apply_plan, load_config, make_plan
from imgmigrate.events import Outcome, Retrying, Waiting
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.workspace import open_workspace
from tests.fakes.faults import Break, FaultProxy, Refusal, Storm
from tests.support import docker_registry as real
from tests.support import images, registries
from tests.support.cli import write_config
from tests.support.moves import assert_says, run
from tests.support.world import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from imgmigrate.events import RunFinished
    from tests.conftest import StartRegistry
    from tests.fakes.faults import Fault, Relayed
    from tests.support.docker_registry import DockerRegistry
    from tests.support.images import Image

pytestmark = pytest.mark.integration

IMAGES, REPOSITORIES = 200, 8
# Bytes of a layer: of the two that all images share, and of the one that each has alone.
SHARED, OWN = 300_000, 20_000
# What stands still is given up soon; a real server answers within milliseconds.
IMPATIENT = Timeouts(read=2, stall=2, commit=2)
# The same of a source, before a destination that a busy machine may make slow to store.
IMPATIENT_READER = Timeouts(read=2)
# On a clock that runs ahead nothing may be given up.
PATIENT = Timeouts(connect=1e6, read=1e6, stall=1e6, commit=1e6)
# Seconds that a registry asks for, after it has answered so many requests.
PAUSE, ENOUGH = 30, 60
# Seconds that a held clock goes on with every turn of the loop.
TICK = 0.001


@pytest.fixture(scope="module")
def made() -> Mapping[tuple[str, str], Image]:
    """The images by repository and tag: two layers are everywhere, one is each one's own."""
    base = [images.layer(f"base/{number}", SHARED) for number in range(2)]
    return {
        (f"team/r{number % REPOSITORIES}", f"t{number}"): images.image(
            f"i{number}", layers=[*base, images.layer(f"own/{number}", OWN)]
        )
        for number in range(IMAGES)
    }


@pytest.fixture(scope="module")
def old(
    tmp_path_factory: pytest.TempPathFactory, made: Mapping[tuple[str, str], Image]
) -> Iterator[DockerRegistry]:
    """A registry that has them all."""
    folder = tmp_path_factory.mktemp("old")
    for (repo, tag), image in made.items():
        real.put_on_disk(folder, repo, tag, image)
    with real.serve(folder) as registry:
        yield registry


@pytest.fixture
def sink() -> Recorder:
    """What the runs of a test report."""
    return Recorder()


@asynccontextmanager
async def running_clock(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Let the loop's time run ahead while others work or wait: minutes take a moment."""
    loop = asyncio.get_running_loop()
    real_time, ahead, over = loop.time, 0.0, False
    monkeypatch.setattr(loop, "time", lambda: real_time() + ahead)

    async def run_ahead() -> None:
        nonlocal ahead
        while not over:
            ahead += TICK
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(run_ahead())
        try:
            yield
        finally:
            over = True


async def migrate(
    folder: Path, here: str, there: str, sink: Recorder, timeouts: Timeouts = IMPATIENT
) -> RunFinished:
    """Plan and apply every repository from one host to another."""
    rules = [
        f"  - {{source: {here}/team/r{number}, destination: {there}/team/r{number}}}"
        for number in range(REPOSITORIES)
    ]
    config = load_config(write_config(folder, "\n".join(rules), here, there))
    workspace = open_workspace(config, sink=sink, timeouts=timeouts)
    return await apply_plan(workspace, await make_plan(workspace))


def must_be_reported(request: Relayed) -> bool:
    """Tell a fault that only a new attempt of ours can have healed.

    A refused mount is an upload, and aiohttp repeats by itself what an idle connection loses.
    Refusals set the pace and cost no attempt: who is refused asks again later.
    """
    if request.method in ("POST", "DELETE"):
        return False
    return isinstance(request.fault, Break) and request.fault.part == "body"


async def test_a_stormy_source_costs_no_upload(
    tmp_path: Path,
    old: DockerRegistry,
    made: Mapping[tuple[str, str], Image],
    docker_registry: StartRegistry,
    sink: Recorder,
) -> None:
    """Whatever the source does, each blob reaches the destination in one upload, unbroken."""
    new = docker_registry("new")
    async with FaultProxy(old.host, Storm(1)) as source:
        finished = await migrate(tmp_path, source.host, new.host, sink, IMPATIENT_READER)
    assert finished.counts == {Outcome.APPLIED: IMAGES}
    assert_storm(source, "body")
    assert len(retries(sink)) >= sum(must_be_reported(request) for request in source.requests)
    assert_all_there(new, made)
    digests = {digest for image in made.values() for digest in image.blobs}
    puts = [line for line in new.access_log() if line.method == "PUT" and "digest=" in line.target]
    assert new.uploads() == dict.fromkeys(digests, 1)
    assert len(puts) == len(digests)


async def test_everything_arrives_through_storms_on_both_sides(
    tmp_path: Path,
    old: DockerRegistry,
    made: Mapping[tuple[str, str], Image],
    docker_registry: StartRegistry,
    sink: Recorder,
) -> None:
    """Two hundred images that share layers are all there, byte for byte; retries are events."""
    new = docker_registry("new")
    async with (
        FaultProxy(old.host, Storm(2)) as source,
        FaultProxy(new.host, Storm(3)) as destination,
    ):
        finished = await migrate(tmp_path, source.host, destination.host, sink)
    assert finished.counts == {Outcome.APPLIED: IMAGES}
    assert_storm(source, "body")
    assert_storm(destination, "request")
    reported = [*filter(must_be_reported, [*source.requests, *destination.requests])]
    assert len(retries(sink)) >= len(reported)
    assert_all_there(new, made)


async def test_a_registry_that_asks_for_a_pause_is_left_alone(
    tmp_path: Path, docker_registry: StartRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 429 with Retry-After nothing is asked of that host before its time, by no image."""
    for number, image in enumerate(images.sharing(24)):
        real.put_on_disk(tmp_path / "old", f"team/r{number % REPOSITORIES}", f"t{number}", image)
    old, new = docker_registry("old"), docker_registry("new")
    loop = asyncio.get_running_loop()
    asked: list[float] = []
    refused: list[float] = []

    def refuse_one(request: Relayed) -> Fault | None:
        asked.append(loop.time())
        if refused or "/blobs/" not in request.path or len(asked) < ENOUGH:
            return None
        refused.append(loop.time())
        return Refusal(429, PAUSE)

    sink = Recorder()
    async with running_clock(monkeypatch), FaultProxy(old.host, refuse_one) as source:
        finished = await migrate(tmp_path, source.host, new.host, sink, PATIENT)
    assert finished.counts == {Outcome.APPLIED: 24}
    assert PAUSE in [event.delay for event in sink.events if isinstance(event, Waiting)]
    then = refused[0]
    # What was on its way still arrives.
    assert [at - then for at in asked if then + 1 < at < then + PAUSE] == []
    assert [at for at in asked if at >= then + PAUSE]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Refusal(503), "503"),
        (Break("reset", "body", 0.5), "broke"),
        (Break("close", "body", 0.5), "broke"),
    ],
    ids=["refused", "reset", "truncated"],
)
async def test_one_image_whose_source_never_heals_fails_alone(
    tmp_path: Path, docker_registry: StartRegistry, fault: Fault, cause: str
) -> None:
    """It says why, all others land, exit 3; once the source heals the same plan finishes."""
    old, new = docker_registry("old"), docker_registry("new")
    shared = images.sharing(6)
    for number, image in enumerate(shared):
        registries.push(old.remote, "app", f"t{number}", image)
    own = set(shared[3].blobs) - {digest for one in shared[:3] for digest in one.blobs}
    config_or_layer = sorted(own)[0]

    def never(request: Relayed) -> Fault | None:
        return fault if request.path.endswith(f"/blobs/{config_or_layer}") else None

    async with FaultProxy(old.host) as source:
        rule = f"  - {{source: {source.host}/app, destination: {new.host}/app}}"
        write_config(tmp_path, rule, source.host, new.host)
        await run(tmp_path, "plan", "--out", "plan.out")
        source.script = never
        ran = await run(tmp_path, "apply", "plan.out", code=3, impatient=True)
        assert_says(ran.out, f"{new.host}/app:t3", f"source {source.host}/app@", cause)
        assert registries.list_tags(new.host, "app") == ["t0", "t1", "t2", "t4", "t5"]
        source.script = None
        await run(tmp_path, "apply", "plan.out")
    for number, image in enumerate(shared):
        registries.assert_holds(new.host, "app", f"t{number}", image)


def assert_all_there(new: DockerRegistry, made: Mapping[tuple[str, str], Image]) -> None:
    """Check every manifest and, once for each repository, every blob, byte for byte."""
    seen = set()
    for (repo, tag), image in made.items():
        found = registries.get_manifest(new.host, repo, tag)
        assert found is not None
        assert (found.raw, found.media_type) == (image.raw, image.media_type)
        for digest, data in image.blobs.items():
            if (repo, digest) not in seen:
                assert registries.get_blob(new.host, repo, digest) == data
                seen.add((repo, digest))


def retries(sink: Recorder) -> list[Retrying]:
    """What was tried again."""
    return [event for event in sink.events if isinstance(event, Retrying)]


def assert_storm(proxy: FaultProxy, part: str) -> None:
    """Check that the storm has had something of everything; bodies break in `part`."""
    struck = {
        f"{fault.how} {fault.part}" if isinstance(fault, Break) else str(fault.status)
        for fault in proxy.faults
    }
    assert {"503", "429", "reset answer", f"reset {part}", f"close {part}"} <= struck, struck
    assert any(each.startswith("stall") for each in struck), struck
