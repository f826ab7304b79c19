"""A team whose state is a branch of its repository: runners are clones, nothing else is kept."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.branches import BRANCH, Upstream, bytes_of, daemon, free_port, git, upstream
from tests.support.cli import imgmigrate, write_config
from tests.support.images import image
from tests.support.moves import ended, reach, run, start
from tests.support.registries import assert_holds, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.fakes.registry import FakeRegistry
    from tests.support.cli import Ran

# Seconds; the shortest that a busy machine is sure to renew.
LEASE = 5


@dataclass(frozen=True, slots=True)
class Runner:
    """A machine with a clone and a cache of its own."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """Where it keeps what it has read."""
        return {f"IMGMIGRATE_{name}_DIR": f"{self.folder}-{name}" for name in ("CACHE", "MACHINE")}

    def __call__(self, *arguments: str, code: int = 0) -> Ran:
        """Run the command."""
        return imgmigrate(self.folder, *arguments, code=code, env=self.env)


def configured(server: Upstream, folder: Path, rule: str, *hosts: str) -> None:
    """Commit a config with its state on the branch."""
    clone = server.clone(folder)
    path = write_config(clone, rule, *hosts)
    path.write_text(f"{path.read_text()}state: {{backend: git, lease: {LEASE}s}}\n")
    (clone / ".gitignore").write_text("*.out\n")
    for words in (("add", "."), ("commit", "-qm", "images"), ("push", "-q", "origin", "HEAD:main")):
        git(clone, *words)


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
    configured(server, tmp_path / "author", rule, old.host, new.host)
    one, two, three = (
        Runner(server.clone(tmp_path / name, "--depth=1")) for name in ("one", "two", "three")
    )
    one("plan", "--out", "plan.out", "--detailed-exitcode", code=2)
    shutil.copy(one.folder / "plan.out", two.folder)
    before = bytes_of(two.folder)
    assert "2 copied" in two("apply", "plan.out").out
    assert bytes_of(two.folder) == before
    for tag in ("1", "2"):
        assert_holds(new.host, "app", tag, image(tag))
    # Nobody else is told of conflicts, or has anything left to do.
    for runner in (one, three):
        runner("plan", "--detailed-exitcode")
    push(old.host, "app", "2", image("newer"))
    three("apply", "--auto-approve")
    runs = [json.loads(line) for line in one("state", "log", "--json").out.splitlines()]
    runs = [each for each in runs if each["type"] == "run"]
    assert len(runs) == 2
    assert f"git:{BRANCH}@origin" in one("status").out
    assert f"git:{BRANCH}@origin: not locked" in two("state", "lock").out
    run_id = max(each["run"] for each in runs)
    one("rollback", run_id, "--out", "back.out")
    one("apply", "back.out")
    assert_holds(new.host, "app", "2", image("2"))
    # Every version is a commit on the one before, of one author.
    commits = git(server.folder, "rev-list", "--first-parent", BRANCH).split()
    assert len(commits) == len(server.commits()) > 6
    assert git(server.folder, "log", "--format=%an", BRANCH).split()[0] == "imgmigrate"


@pytest.mark.integration
async def test_a_runner_that_dies_is_followed(
    server: Upstream, tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """Another finishes the same plan once the lease has run out; every image moves once."""
    old, new = fake_registry, other_fake_registry
    for tag in ("first", "second"):
        old.put_image("app", tag, image(tag))
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    configured(server, tmp_path / "author", rule, old.host, new.host)
    one, two = (Runner(server.clone(tmp_path / name)) for name in ("one", "two"))
    await run(one.folder, "plan", "--out", "plan.out", env=one.env)
    shutil.copy(one.folder / "plan.out", two.folder)
    stall = new.stall("PUT", "/manifests/second")
    with start(one.folder, "apply", "plan.out", env=one.env) as process:
        await reach(process, stall)
        told = await run(
            two.folder, "apply", "plan.out", "--lock-timeout", "0", code=5, env=two.env
        )
        assert f"state git:{BRANCH}@origin" in told.err
        assert "running 'imgmigrate apply plan.out'" in told.err
        process.send_signal(signal.SIGKILL)
        await ended(process, -signal.SIGKILL)
    new.clear()
    await run(two.folder, "apply", "plan.out", "--lock-timeout", "120s", env=two.env)
    await run(one.folder, "plan", "--detailed-exitcode", env=one.env)
    assert set(new.tags("app")) == {"first", "second"}
    log = await run(one.folder, "state", "log", "--json", env=one.env)
    runs = [line for line in map(json.loads, log.out.splitlines()) if line["type"] == "run"]
    assert len(runs) == 2
    assert len({each["plan_id"] for each in runs}) == 1


@pytest.mark.integration
async def test_a_lock_of_a_runner_that_is_gone_is_broken(
    server: Upstream, tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """Nobody needs to wait for it; should it live after all, it writes nothing more: exit 5."""
    old, new = fake_registry, other_fake_registry
    old.put_image("app", "first", image("first"))
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    configured(server, tmp_path / "author", rule, old.host, new.host)
    one, two = (Runner(server.clone(tmp_path / name)) for name in ("one", "two"))
    stall = new.stall("PUT", "/manifests/first")
    with start(one.folder, "apply", "--auto-approve", env=one.env) as process:
        await reach(process, stall)
        told = await run(two.folder, "state", "lock", env=two.env)
        assert "imgmigrate apply" in told.out
        await run(two.folder, "state", "lock", "--break", env=two.env)
        stall.release()
        ran = await ended(process, 5)
    assert "the hold on it was lost" in ran.err
