"""The recipes for pull requests: what their workflows run, in that order, on a stand-in forge."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.branches import Upstream, git, upstream
from tests.support.forges import Forge, serve
from tests.support.images import image
from tests.support.moves import run
from tests.support.recipes import EXAMPLES, Team

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry
    from tests.support.recipes import Job

# Seconds; the shortest that a busy machine is sure to renew.
LEASE = 5
SCRIPTS = {"apply.sh", "common.sh", "drift.sh", "fork.sh", "install.sh", "plan.sh"}


@pytest.fixture(params=["github", "gitlab"])
def team(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    fake_registry: FakeRegistry,
    other_fake_registry: FakeRegistry,
) -> Iterator[Team]:
    """A repository with a recipe and the config of one image, which nobody has applied."""
    with serve(Forge(request.param)) as forge:
        made = Team(forge, upstream(tmp_path / "server"), tmp_path)
        made.install()
        fake_registry.put_image("app", "1", image("1"))
        made.push("main", config=config(fake_registry, other_fake_registry, app="1"))
        git(made.author, "fetch", "-q")
        yield made


def config(old: FakeRegistry, new: FakeRegistry, **repositories: str) -> str:
    """The config that moves these tags, parted by blanks, of repositories."""
    rules = "".join(
        f'  - {{source: "{old.host}/{name}", destination: "{new.host}/{name}", '
        f"tags: [{', '.join(repr(tag) for tag in tags.split())}]}}\n"
        for name, tags in repositories.items()
    )
    plain = "".join(f'  "{each.host}": {{plain_http: true}}\n' for each in (old, new))
    state = f"state: {{backend: git, lease: {LEASE}s}}\n"
    return f"version: 1\n{state}registries:\n{plain}images:\n{rules}"


async def ran(job: Job, code: int = 0) -> str:
    """Run a job to its end; its log."""
    done = await asyncio.to_thread(job.run, code)
    return done.out + done.err


async def test_a_change_is_reviewed_and_then_done(
    team: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """One comment a pull request, renewed; what was reviewed is applied once, elsewhere."""
    old, new, forge = fake_registry, other_fake_registry, team.forge
    for repository, tags in {"app": "2 3", "lib": "1"}.items():
        for tag in tags.split():
            old.put_image(repository, tag, image(f"{repository}{tag}"))
    # Nobody reviewed the push to main that brought the recipe.
    log = await ran(team.apply(), 2)
    told = log if not team.is_github else (team.folder / "runner-1/summary.md").read_text()
    assert "No plan was reviewed" in told
    assert not new.repositories
    (first,) = set(re.findall("sha256:[0-9a-f]{64}(?=`)", told))
    await ran(team.apply(plan=first))
    assert set(new.tags("app")) == {"1"}

    one = team.open("one", config(old, new, app="1 2"))
    await ran(team.plan(one))
    text, plan = forge.comment(1), forge.reviewed(one.head)
    assert plan in text
    assert f"{new.host}/app:2" in text
    team.update(one, config(old, new, app="1 2 3"))
    forge.refusals = 1
    await ran(team.plan(one))
    assert forge.comment(1) != text
    assert f"{new.host}/app:3" in forge.comment(1)
    assert forge.reviewed(one.head) != plan
    # Another one meanwhile.
    two = team.open("two", config(old, new, app="1", lib="1"))
    await ran(team.plan(two))
    assert "app" not in new.repositories or set(new.tags("app")) == {"1"}

    team.merge(one, config(old, new, app="1 2 3"))
    await ran(team.apply(one.merged or ""))
    assert set(new.tags("app")) == {"1", "2", "3"}
    assert "lib" not in new.repositories
    assert "**Applied.**" in forge.comment(1)
    assert forge.reviewed(one.head) in forge.comment(1)
    team.merge(two, config(old, new, app="1 2 3", lib="1"))
    await ran(team.apply(two.merged or ""))
    assert set(new.tags("lib")) == {"1"}
    assert "**Applied.**" in forge.comment(2)
    # The job again: nothing is left to do. A merge queue pushes several at once, on GitHub.
    written = new.count("PUT", "")
    log = await ran(team.apply(one.merged or "", two.merged or ""))
    assert log.count("already done") == (2 if team.is_github else 1)
    assert new.count("PUT", "") == written


def test_recipes_share_their_scripts() -> None:
    """Only the workflows differ; each script is called by those of both, or is what they share."""
    there = {each.name for each in (EXAMPLES / "pull-requests").iterdir() if each.is_file()}
    assert there == {*SCRIPTS, "forge.py", "github.py", "gitlab.py"}
    for recipe in ("github-actions", "gitlab-ci"):
        files = [each for each in (EXAMPLES / recipe).rglob("*") if each.is_file()]
        assert {each.suffix for each in files} == {".yml"}
        called = re.findall(r"/imgmigrate/(\w+\.sh)", "".join(each.read_text() for each in files))
        assert {*called, "common.sh"} == SCRIPTS


@pytest.fixture
async def settled(
    team: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> Team:
    """The same, where its author has applied what main's config says."""
    await run(team.author, "apply", "--auto-approve")
    assert set(other_fake_registry.tags("app")) == {"1"}
    return team


async def test_an_overtaken_plan_is_refused_and_made_anew(
    settled: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """Nothing of it is written, the comment says so, and has a plan that may be applied by hand."""
    team, old, new, forge = settled, fake_registry, other_fake_registry, settled.forge
    old.put_image("web", "1", image("web"))
    old.put_image("lib", "1", image("lib"))
    one = team.open("one", config(old, new, web="1"))
    await ran(team.plan(one))
    # Images that the other one does not ask for any more.
    two = team.open("two", config(old, new, app="1", lib="1"))
    old.put_image("app", "1", image("moved"))
    await ran(team.plan(two))
    stale = forge.reviewed(two.head)
    team.merge(one, config(old, new, web="1"))
    await ran(team.apply(one.merged or ""))
    team.merge(two, config(old, new, web="1", lib="1"))
    await ran(team.apply(two.merged or ""), 4)
    text = forge.comment(2)
    assert f"`{stale}` was **refused**" in text
    assert "lib" not in new.repositories
    assert f"{new.host}/lib:1" in text
    await ran(team.apply(plan=by_hand(text, stale)))
    assert set(new.tags("lib")) == {"1"}
    assert new.image("app", "1").raw == image("1").raw


async def test_what_was_overtaken_is_left_to_another_plan(
    settled: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """An image that another pull request moved meanwhile stays; the rest is applied: exit 7."""
    team, old, new, forge = settled, fake_registry, other_fake_registry, settled.forge
    old.put_image("app", "2", image("app2"))
    old.put_image("lib", "1", image("lib"))
    one = team.open("one", config(old, new, app="1 2"))
    two = team.open("two", config(old, new, app="1", lib="1"))
    old.put_image("app", "1", image("moved"))
    await ran(team.plan(one))
    old.put_image("app", "1", image("moved again"))
    await ran(team.plan(two))
    team.merge(one, config(old, new, app="1 2"))
    await ran(team.apply(one.merged or ""))
    both = config(old, new, app="1 2", lib="1")
    team.merge(two, both)
    await ran(team.apply(two.merged or ""), 7)
    assert set(new.tags("lib")) == {"1"}
    assert new.image("app", "1").raw == image("moved").raw
    text = forge.comment(2)
    assert "**applied in part**" in text
    assert f"{new.host}/app:1" in text
    await ran(team.apply(plan=by_hand(text, forge.reviewed(two.head))))
    assert new.image("app", "1").raw == image("moved again").raw


def by_hand(text: str, other: str) -> str:
    """The plan that a comment says to apply by hand, which is another one."""
    (fresh,) = set(re.findall("(?<=this sha256: `)sha256:[0-9a-f]{64}", text))
    assert fresh != other
    return str(fresh)


async def test_every_end_of_a_plan_is_told(
    settled: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """Nothing to do, changes, what cannot be read, a guard: each renews the comment."""
    team, old, new, forge = settled, fake_registry, other_fake_registry, settled.forge
    old.put_image("lib", "1", image("lib"))
    one = team.open("one", f"# the same\n{config(old, new, app='1')}")
    await ran(team.plan(one))
    assert "exit code 0" in forge.comment(1)
    both = config(old, new, app="1", lib="1")
    for text, code, state in (
        (both, 2, "success"),
        (config(old, new, app="1 9"), 3, "failure"),
        (f"{config(old, new, lib='1')}max_delete: 0\n", 6, "failure"),
        (both + "nonsense: 1\n", 64, "failure"),
    ):
        team.update(one, text)
        # Deletes are asked for by whoever sets up the job.
        team.env["IMGMIGRATE_PLAN_OPTIONS"] = "--allow-delete" if code == 6 else ""
        await ran(team.plan(one), 0 if code == 2 else code)
        assert f"exit code {code}" in forge.comment(1)
        plan = forge.reviewed(one.head)
        assert (plan if code < 64 else "No plan") in forge.comment(1)
        status = forge.statuses[-1]["state"].replace("failed", "failure")
        assert status == state
    # Of the commit that has no plan nothing is applied: what is planned instead is shown.
    team.merge(one, both)
    await ran(team.apply(one.merged or ""), 2)
    assert "No plan was reviewed" in forge.comment(1)
    assert "lib" not in new.repositories


async def test_conflicts_are_told_after_an_apply(
    settled: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """Somebody else's tag stays, the rest is applied, and the comment calls a person: exit 7."""
    team, old, new, forge = settled, fake_registry, other_fake_registry, settled.forge
    for tag in ("2", "3"):
        old.put_image("app", tag, image(tag))
    new.put_image("app", "2", image("theirs"))
    text = config(old, new, app="1 2 3")
    one = team.open("one", text)
    await ran(team.plan(one))
    # What others wrote into the pull request is not taken for ours.
    forge.write(forge.comments, forge.comment(1), number=1)["author"] = {"login": "x", "id": 1}
    team.merge(one, text)
    await ran(team.apply(one.merged or ""), 7)
    assert "**applied in part**" in forge.comment(1)
    assert f"{new.host}/app:2" in forge.comment(1)
    assert new.image("app", "2").raw == image("theirs").raw
    assert "3" in new.tags("app")


async def test_a_killed_job_is_run_again(
    settled: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """It goes on where it was; a cancelled one ends cleanly, and one that came meanwhile waits."""
    team, old, new, forge = settled, fake_registry, other_fake_registry, settled.forge
    for tag in ("2", "3"):
        old.put_image("app", tag, image(tag))
    text = config(old, new, app="1 2 3")
    one = team.open("one", text)
    await ran(team.plan(one))
    team.merge(one, text)
    for end, code in (("cancel", 143), ("kill", -9)):
        stall = new.stall("PUT", "/manifests/3")
        job = team.apply(one.merged or "")
        running = asyncio.create_task(ran(job, code))
        waiting = asyncio.create_task(stall.reached.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        assert not running.done(), running
        if end == "cancel":
            team.env["IMGMIGRATE_LOCK_TIMEOUT"] = "0"
            await ran(team.apply(one.merged or ""), 5)
            assert "**Not applied**: another run held the state." in forge.comment(1)
            del team.env["IMGMIGRATE_LOCK_TIMEOUT"]
        getattr(job, end)()
        await running
        new.clear()
        if end == "cancel":
            assert "**Interrupted.**" in forge.comment(1)
    await ran(team.apply(one.merged or ""))
    assert "**Applied.**" in forge.comment(1)
    assert set(new.tags("app")) == {"1", "2", "3"}
    assert new.count("PUT", "/manifests/2") == 1


async def test_a_fork_is_planned_without_secrets(
    settled: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry, tmp_path: Path
) -> None:
    """By the base's scripts, state and trusted file; the summary shows it, nothing is written."""
    team, old, new = settled, fake_registry, other_fake_registry
    old.put_image("app", "2", image("2"))
    plain = "".join(f'  "{each.host}": {{plain_http: true}}\n' for each in (old, new))
    git(team.author, "checkout", "-q", "-B", "main", "origin/main")
    trusted = f"version: 1\nstate: {{backend: git}}\nregistries:\n{plain}"
    team.push("main", trusted=trusted)
    git(tmp_path, "clone", "-q", "--bare", team.server.url, "stranger.git")
    stranger = Upstream(tmp_path / "stranger.git", str(tmp_path / "stranger.git"))
    theirs = stranger.clone(tmp_path / "theirs")
    script = theirs / (".github" if team.is_github else ".gitlab") / "imgmigrate/fork.sh"
    for number, more in enumerate(("", 'defaults: {tags: ["${SECRET}"]}\n')):
        (theirs / "imgmigrate.yaml").write_text(config(old, new, app="1 2") + more)
        script.write_text("#!/bin/sh\nexit 99\n")
        git(theirs, "commit", "-qam", f"patch {number}")
        git(theirs, "push", "-q", "origin", "HEAD:patch")
        before = team.server.commits()
        job = team.fork(stranger, "patch")
        log = await ran(job, 64 if more else 0)
        assert team.server.commits() == before
        told = job.workspace / "imgmigrate-comment.md"
        if more:
            assert "SECRET" in log
            assert not told.exists()
        else:
            assert f"{new.host}/app:2" in told.read_text()
            assert "1 to copy, 1 unchanged" in told.read_text()
            assert not team.is_github or job.summary == told.read_text()
    assert team.forge.comments == []


async def test_drift_is_one_issue(
    settled: Team, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> None:
    """It is renewed from night to night, and closed when all is as it was recorded."""
    team, new, forge = settled, other_fake_registry, settled.forge
    await ran(team.drift())
    assert forge.issues == []
    new.put_image("app", "1", image("theirs"))
    await ran(team.drift())
    (issue,) = forge.issues
    assert f"{new.host}/app:1" in issue["body"]
    was = issue["body"]
    await ran(team.drift())
    assert len(forge.issues) == 1
    assert issue["body"] != was
    new.put_image("app", "1", image("1"))
    await ran(team.drift())
    assert not issue["open"]
