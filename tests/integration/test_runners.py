"""Pull requests of a team: planned on two runners, applied on a third, which may die of it."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.branches import upstream
from tests.support.images import image
from tests.support.moves import assert_says, ended, reach
from tests.support.registries import assert_equal
from tests.support.runners import Runner, commit_config, runner
from tests.support.states.kinds import HEAVY, SHARED, Branches, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry
    from tests.support.cli import Ran
    from tests.support.states.kinds import States

# Seconds; the shortest that a busy machine is sure to renew.
LEASE = 5
REPOS = ("app", "lib")
TAGS = [f"v{number}" for number in range(6)]


@pytest.fixture(
    params=[
        pytest.param(kind, marks=[pytest.mark.heavy] if kind in HEAVY else []) for kind in SHARED
    ]
)
def states(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[States]:
    """Where the team's state is."""
    with serve(request.param, tmp_path / "servers") as served:
        yield served.fresh(tmp_path / "nobodys")


async def plan(here: Runner, target: str) -> tuple[str, str]:
    """Plan a part on one runner, and keep it where the state is; how others name that plan."""
    lines = (await run(here, "plan", "--target", target, "--json", "--save")).out.splitlines()
    (told,) = (each for each in map(json.loads, lines) if each["type"] == "change_summary")
    return "--plan", told["file_sha256"]


async def run(on: Runner, *arguments: str, code: int = 0) -> Ran:
    """Run a command on a runner, while the registries of this loop answer."""
    return await asyncio.to_thread(on.run, *arguments, code=code)


async def test_what_two_planned_a_third_applies_and_another_resumes(
    states: States, tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """One is killed in it and its lease runs out; each image is moved once, none is a conflict."""
    old, new = fake_registry, other_fake_registry
    for repo in REPOS:
        for tag in TAGS:
            old.put_image(repo, tag, image(f"{repo}{tag}"))
    server = states.server if isinstance(states, Branches) else upstream(tmp_path / "team")
    rules = "\n".join(
        f"  - {{source: {old.host}/{repo}, destination: {new.host}/{repo}}}" for repo in REPOS
    )
    state = states.config("prod", LEASE)
    commit_config(server, tmp_path / "author", rules, state, old.host, new.host)
    names = ("one", "two", "three", "four")
    one, two, three, four = (runner(server, tmp_path / name, states) for name in names)
    first = await plan(one, f"{new.host}/app:**")
    second = await plan(two, f"{new.host}/lib:**")

    assert f"{len(TAGS)} copied" in (await run(three, "apply", *first)).out
    # The tag is written, and who wrote it dies before it knows.
    stall = new.stall("PUT", "/lib/manifests/", when="answer", skip=3)
    with three.start("apply", *second, "--parallelism", "1") as process:
        await reach(process, stall)
        held = await run(one, "apply", *second, "--lock-timeout", "0", code=5)
        process.send_signal(signal.SIGKILL)
        await ended(process, -signal.SIGKILL)
    # Who logs in is not shown.
    place = states.place("prod").rpartition("@")[2]
    assert_says(held.err, place, "running 'imgmigrate apply", "taken over", "state lock --break")
    new.clear()
    assert len(new.tags("lib")) == 4
    await run(one, "apply", *second, "--lock-timeout", "120s")

    for repo in REPOS:
        for tag in TAGS:
            assert_equal(new.image(repo, tag), image(f"{repo}{tag}"))
    # The one that had no answer is in no log.
    writes = [new.count("PUT", f"/{repo}/manifests/{tag}$") for repo in REPOS for tag in TAGS]
    assert sorted(writes)[1:] == [1] * (len(REPOS) * len(TAGS) - 1)
    blobs = {blob for repo in REPOS for tag in TAGS for blob in image(f"{repo}{tag}").blobs}
    assert {new.uploads_of(blob) for blob in blobs} == {1}
    await run(four, "plan", "--detailed-exitcode")
    app, killed, resumed = await asyncio.to_thread(four.runs)
    assert app["plan_id"] != killed["plan_id"] == resumed["plan_id"]
    phases = [each["phase"] for each in (app, killed, resumed)]
    assert phases == ["finished", "interrupted", "finished"]
    assert [each["conflicts"] + each["failed"] for each in (app, killed, resumed)] == [0, 0, 0]
    assert app["done"] == resumed["plan_done"] == len(TAGS)
