"""A team whose state is a branch of its repository: runners are clones, nothing else is kept."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.branches import BRANCH, Upstream, bytes_of, daemon, git, upstream
from tests.support.images import image
from tests.support.moves import ended, reach, run, start
from tests.support.ports import free_port
from tests.support.registries import assert_holds, push
from tests.support.runners import commit_config, runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.fakes.registry import FakeRegistry

# Seconds; the shortest that a busy machine is sure to renew.
LEASE = 5
STATE = f"state: {{backend: git, lease: {LEASE}s}}\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Upstream]:
    """The team's repository, by `git daemon`."""
    with daemon(upstream(tmp_path / "server"), free_port()) as served:
        yield served


@pytest.mark.integration
def test_one_plans_and_another_applies(
    server: Upstream, tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Each from a fresh clone; then a third knows all of it, and can undo it."""
    old, new = docker_registry("old"), docker_registry("new")
    for tag in ("1", "2"):
        push(old.host, "app", tag, image(tag))
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    commit_config(server, tmp_path / "author", rule, STATE, old.host, new.host)
    names = ("one", "two", "three")
    one, two, three = (runner(server, tmp_path / name, None, "--depth=1") for name in names)
    one.run("plan", "--out", "plan.out", "--detailed-exitcode", code=2)
    shutil.copy(one.folder / "plan.out", two.folder)
    before = bytes_of(two.folder)
    assert "2 copied" in two.run("apply", "plan.out").out
    assert bytes_of(two.folder) == before
    for tag in ("1", "2"):
        assert_holds(new.host, "app", tag, image(tag))
    # Nobody else is told of conflicts, or has anything left to do.
    for each in (one, three):
        each.run("plan", "--detailed-exitcode")
    push(old.host, "app", "2", image("newer"))
    three.run("apply", "--auto-approve")
    runs = one.runs()
    assert len(runs) == 2
    assert f"git:{BRANCH}@origin" in one.run("status").out
    assert f"git:{BRANCH}@origin: not locked" in two.run("state", "lock").out
    run_id = max(each["run"] for each in runs)
    one.run("rollback", run_id, "--out", "back.out")
    one.run("apply", "back.out")
    assert_holds(new.host, "app", "2", image("2"))
    # Every version is a commit on the one before, of one author.
    commits = git(server.folder, "rev-list", "--first-parent", BRANCH).split()
    assert len(commits) == len(server.commits()) > 6
    assert git(server.folder, "log", "--format=%an", BRANCH).split()[0] == "imgmigrate"


@pytest.mark.integration
async def test_a_lock_of_a_runner_that_is_gone_is_broken(
    server: Upstream, tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """Nobody needs to wait for it; should it live after all, it writes nothing more: exit 5."""
    old, new = fake_registry, other_fake_registry
    old.put_image("app", "first", image("first"))
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    commit_config(server, tmp_path / "author", rule, STATE, old.host, new.host)
    one, two = (runner(server, tmp_path / name) for name in ("one", "two"))
    stall = new.stall("PUT", "/manifests/first")
    with start(one.folder, "apply", "--auto-approve", env=one.environment) as process:
        await reach(process, stall)
        told = await run(two.folder, "state", "lock", env=two.environment)
        assert "imgmigrate apply" in told.out
        await run(two.folder, "state", "lock", "--break", env=two.environment)
        stall.release()
        ran = await ended(process, 5)
    assert "the hold on it was lost" in ran.err
