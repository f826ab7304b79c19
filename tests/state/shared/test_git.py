"""A branch of a git repository as the place of a shared state, on disk and over the network."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.values.backends import Backend
from imgmigrate.errors import StateAway, StateError, StateLocked, StateLost
from imgmigrate.state import base
from imgmigrate.state.groups import pusher
from imgmigrate.state.shared import store
from imgmigrate.state.shared.depot import Missing, Overtaken, Seen
from imgmigrate.state.shared.git import depot as module
from imgmigrate.state.shared.git.checkout import Checkout
from imgmigrate.state.shared.git.depot import GitDepot
from imgmigrate.state.shared.git.program import Git, Reader
from imgmigrate.state.shared.git.temporary import Temporary
from tests.state.samples import address, claim, draft
from tests.support.branches import (
    BRANCH,
    PLACE,
    Upstream,
    backend,
    bytes_of,
    daemon,
    git,
    http,
    upstream,
)
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

# Seconds: short enough to be waited for, long enough for a busy machine to renew it.
LEASE = 3.0
ONE, TWO, THREE = (f'{{"sequence":{number}}}\n'.encode() for number in (1, 2, 3))
# A process that holds the state of the checkout it is in, and says so.
HOLDER = f"""
import asyncio, sys
from pathlib import Path
from imgmigrate.config.values.backends import Backend
from imgmigrate.state.base import open_state
from tests.state.samples import claim, draft

async def main():
    state = open_state(Backend({PLACE!r}, Path(sys.argv[1]), {LEASE}))
    async with state.writer(command="first") as writer:
        await writer.begin("run-1", "plan", [claim("a")])
        await writer.sync()
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await writer.record(draft("late"))
        await writer.sync()

asyncio.run(main())
"""


@pytest.fixture
def on_disk(tmp_path: Path) -> Upstream:
    """A bare repository on disk."""
    return upstream(tmp_path / "server")


@pytest.fixture(params=["disk", "daemon"])
def server(request: pytest.FixtureRequest, on_disk: Upstream) -> Iterator[Upstream]:
    """The repository as clones reach it."""
    if request.param == "disk":
        yield on_disk
        return
    with daemon(on_disk, free_port()) as served:
        yield served


@pytest.fixture(autouse=True)
async def _readers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """End what depots read with, also of those that a test has no name for."""
    made: list[Reader] = []
    make = Git.reader

    def reader(git: Git) -> Reader:
        made.append(make(git))
        return made[-1]

    monkeypatch.setattr(Git, "reader", reader)
    yield
    for each in made:
        await each.close()


def opened(checkout: Path, lease: float = LEASE) -> base.StateStore:
    """Open the state of a checkout, as every command does."""
    return base.open_state(backend(checkout, lease))


def holder(checkout: Path) -> subprocess.Popen[str]:
    """Start a process that holds the state, and wait until it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(checkout)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for other processes, a minute at most."""
    async with asyncio.timeout(60):
        for _ in itertools.repeat(None):
            if await asyncio.to_thread(is_so):
                return
            await asyncio.sleep(0.05)


def is_over(pid: int) -> bool:
    """Tell whether a process has ended; whoever started it may not have looked yet."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()[:1] in ("", "Z")


async def test_a_version_is_a_commit_on_the_one_before(server: Upstream, tmp_path: Path) -> None:
    """Its tree is what there is: files come and go with the head; another clone reads the same."""
    one = GitDepot(backend(server.clone(tmp_path / "one")))
    two = GitDepot(backend(server.clone(tmp_path / "two")))
    assert await one.fetch() is None
    with pytest.raises(Missing):
        await one.read("journal/1.jsonl")
    first = await one.swap(None, ONE, {"journal/1.jsonl": b"a\n", "snapshot/1.jsonl": b"\0\n\n"})
    assert await two.fetch() == first == Seen(ONE, server.commits()[0])
    assert await two.read("journal/1.jsonl") == b"a\n"
    second = await two.swap(first, TWO, {"journal/2.jsonl": b"b\n"}, ["journal/1.jsonl"])
    # Whoever reads a version reads it to its end.
    assert await one.read("journal/1.jsonl") == b"a\n"
    assert await one.fetch() == second
    assert await one.read("snapshot/1.jsonl") == b"\0\n\n"
    for name in ("journal/1.jsonl", "journal", "../README.md", "head.json\nx"):
        with pytest.raises(Missing):
            await one.read(name)
    assert await one.age(second) is None
    for each in (one, two):
        await each.close()
    assert server.commits() == [second.version, first.version]
    shown = git(server.folder, "log", "--format=%an <%ae>|%cn|%s", BRANCH).splitlines()
    assert shown[0] == "imgmigrate <imgmigrate@localhost>|imgmigrate|imgmigrate state: sequence 2"
    told = git(server.folder, "log", "-1", "--format=%b", first.version)
    assert "whoever can read the repository can read the\naddresses" in told
    assert git(server.folder, "ls-tree", "-r", "--name-only", BRANCH).split() == [
        "head.json",
        "journal/2.jsonl",
        "snapshot/1.jsonl",
    ]


async def test_one_of_many_swaps_wins(server: Upstream, tmp_path: Path) -> None:
    """The server decides, for the first commit as for every other; nothing is forced."""
    depots = [GitDepot(backend(server.clone(tmp_path / str(number)))) for number in range(4)]

    async def swap(number: int, seen: Seen | None) -> Seen | None:
        try:
            # No two heads have the same bytes.
            head = f'{{"sequence":{number},"after":"{seen and seen.version}"}}\n'
            return await depots[number].swap(seen, head.encode())
        except Overtaken:
            return None

    seen: Seen | None = None
    for length in (1, 2):
        seens = [await each.fetch() for each in depots]
        assert seens == [seen] * len(depots)
        done = await asyncio.gather(*(swap(number, seen) for number in range(len(depots))))
        (seen,) = filter(None, done)
        assert server.commits()[0] == seen.version
        assert len(server.commits()) == length
    for each in depots:
        await each.close()


def test_a_condition_is_no_force(on_disk: Upstream, tmp_path: Path) -> None:
    """Git refuses the push of a first commit where there is a branch, and of a child elsewhere."""
    clone = on_disk.clone(tmp_path / "clone")
    before = on_disk.commits("main")
    for expected in ("", before[1]):
        condition = f"--force-with-lease=refs/heads/main:{expected}"
        tree = git(clone, "rev-parse", "HEAD^{tree}")
        commit = git(clone, "commit-tree", tree, "-m", "orphan")
        with pytest.raises(AssertionError, match="stale info"):
            git(clone, "push", condition, "origin", f"{commit}:refs/heads/main")
    assert on_disk.commits("main") == before


async def test_a_lost_answer_is_looked_up(
    on_disk: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there now is what became of a push."""
    depot = GitDepot(backend(on_disk.clone(tmp_path / "one")))
    on_disk.add_hook("post-receive", "exec sleep 60")
    monkeypatch.setattr(module, "PUSHED", 1.0)
    seen = await depot.swap(None, ONE)
    assert on_disk.commits() == [seen.version]
    await depot.close()


async def test_commits_beside_the_state_are_kept(on_disk: Upstream, tmp_path: Path) -> None:
    """Somebody explains the branch in a file of their own: nobody is overtaken by that."""
    depot = GitDepot(backend(on_disk.clone(tmp_path / "one")))
    seen = await depot.swap(None, ONE, {"journal/1.jsonl": b"a"})
    other = on_disk.clone(tmp_path / "other", "--branch", BRANCH)
    (other / "docs").mkdir()
    (other / "docs/README.md").write_text("do not touch\n")
    git(other, "add", ".")
    git(other, "commit", "-qm", "explain")
    git(other, "push", "--quiet")
    await depot.swap(seen, TWO, {"journal/2.jsonl": b"b"})
    await depot.close()
    files = git(on_disk.folder, "ls-tree", "-r", "--name-only", BRANCH).split()
    assert files == ["docs/README.md", "head.json", "journal/1.jsonl", "journal/2.jsonl"]
    assert len(on_disk.commits()) == 3


@pytest.mark.parametrize("kind", ["whole", "shallow", "detached", "worktree"])
async def test_the_checkout_is_left_alone(on_disk: Upstream, tmp_path: Path, kind: str) -> None:
    """Not a byte of it changes, `.git` included, whatever kind it is and whatever goes on in it."""
    remote = Upstream(on_disk.folder, f"file://{on_disk.folder}")
    clone = remote.clone(tmp_path / "clone", *(["--depth=1"] if kind == "shallow" else []))
    if kind == "detached":
        git(clone, "checkout", "--quiet", "--detach")
    checkout = clone
    if kind == "worktree":
        checkout = tmp_path / "linked"
        git(clone, "worktree", "add", "--quiet", "-b", "topic", checkout)
    (checkout / "README.md").write_text("half edited\n")
    (checkout / "staged").write_text("staged\n")
    git(checkout, "add", "staged")
    (checkout / "untracked").write_text("untracked\n")
    (checkout / "configs").mkdir()
    git(checkout, "fetch", "--quiet")  # there is a FETCH_HEAD
    status = git(checkout, "status", "--porcelain=v2", "--branch")
    refs = git(checkout, "for-each-ref")
    before = bytes_of(clone) | bytes_of(checkout)

    for number in (1, 2):
        async with opened(checkout / "configs").writer(command="c") as writer:
            await writer.begin(f"run-{number}", "plan", [claim("a")])
            await writer.record(draft(number))
            await writer.end({})
    assert (await opened(checkout).look()).live_count == 2
    assert bytes_of(clone) | bytes_of(checkout) == before
    assert git(checkout, "status", "--porcelain=v2", "--branch") == status
    assert git(checkout, "for-each-ref") == refs
    assert len(on_disk.commits()) >= 4


async def test_it_works_inside_a_hook_of_git(
    on_disk: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ties git to the repository of the hook is not meant for ours."""
    clone = on_disk.clone(tmp_path / "clone")
    git(tmp_path, "init", "--quiet", "elsewhere")
    elsewhere = tmp_path / "elsewhere"
    for name, value in {
        "GIT_DIR": elsewhere / ".git",
        "GIT_INDEX_FILE": elsewhere / ".git/index",
        "GIT_WORK_TREE": elsewhere,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "A Runner")
    before = bytes_of(elsewhere)
    depot = GitDepot(backend(clone))
    await depot.swap(None, ONE)
    await depot.close()
    assert bytes_of(elsewhere) == before
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name)
    assert len(on_disk.commits()) == 1


async def test_settings_of_the_checkout_reach_the_server(on_disk: Upstream, tmp_path: Path) -> None:
    """A token that CI put into a file for this checkout only; it is never shown."""
    token = "basic cnVubmVyOnMzY3JldC10b2tlbg=="
    with http(on_disk, token) as served:
        clone = on_disk.clone(tmp_path / "clone")
        git(clone, "remote", "set-url", "origin", served.url)
        with pytest.raises(StateError, match="credentials of the checkout were refused") as caught:
            await GitDepot(backend(clone)).fetch()
        assert not isinstance(caught.value, StateAway)
        (tmp_path / "token").write_text(
            f'[http "{served.url}"]\n  extraheader = Authorization: {token}\n'
        )
        git(clone, "config", f"includeIf.gitdir:{clone}/.git.path", str(tmp_path / "token"))
        depot = GitDepot(backend(clone))
        seen = await depot.swap(None, ONE, {"journal/1.jsonl": b"a"})
        assert await GitDepot(backend(clone)).fetch() == seen
        await depot.close()
        on_disk.add_hook("update", f"echo 'no: {token}'; exit 1")
        with pytest.raises(StateError, match="no: basic") as caught:
            await depot.swap(seen, TWO)
        assert token.split()[1] not in str(caught.value)


@pytest.mark.parametrize("hook", ["pre-receive", "update"])
async def test_a_protected_branch_is_named(on_disk: Upstream, tmp_path: Path, hook: str) -> None:
    """With the server's own words, and what to allow; it is not asked again."""
    checkout = on_disk.clone(tmp_path / "one")
    on_disk.add_hook(hook, "echo 'GH006: Protected branch update failed.' >&2; exit 1")
    with pytest.raises(StateError) as caught:
        async with opened(checkout).writer(command="c"):
            pass
    assert not isinstance(caught.value, StateAway)
    for words in (
        f"branch {BRANCH} of origin",
        "declined",
        "GH006: Protected",
        f"push to {BRANCH}",
    ):
        assert words in str(caught.value)
    on_disk.drop_hook(hook)
    depot = GitDepot(backend(checkout))
    seen = await depot.swap(None, ONE)
    on_disk.add_hook(hook, "exit 1")
    with pytest.raises(StateError, match="declined the push"):
        await depot.swap(seen, TWO)
    on_disk.drop_hook(hook)
    await depot.swap(seen, THREE)
    await depot.close()


async def test_a_branch_in_the_way_of_the_name_is_named(on_disk: Upstream, tmp_path: Path) -> None:
    """A branch `a` leaves no room for `a/b`: that does not pass."""
    checkout = on_disk.clone(tmp_path / "one")
    git(on_disk.folder, "branch", "state", "main")
    depot = GitDepot(Backend("git:state/prod@origin", checkout))
    with pytest.raises(StateError, match=r"'refs/heads/state' exists; cannot create") as caught:
        await depot.swap(None, ONE)
    assert not isinstance(caught.value, StateAway)
    assert "name one that is free" in str(caught.value)
    await depot.close()


async def test_ssh_is_what_the_checkout_says(on_disk: Upstream, tmp_path: Path) -> None:
    """Its `core.sshCommand` runs, and what that says is handed on."""
    checkout = on_disk.clone(tmp_path / "one")
    git(checkout, "remote", "set-url", "origin", f"ssh://git@host.example{on_disk.folder}")
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\n[ "$1" = git@host.example ] && eval "$2"\n')
    ssh.chmod(0o755)
    git(checkout, "config", "core.sshCommand", str(ssh))
    git(checkout, "config", "ssh.variant", "simple")
    depot = GitDepot(backend(checkout))
    seen = await depot.swap(None, ONE)
    assert await GitDepot(backend(checkout)).fetch() == seen
    await depot.close()
    for told, wrong in {
        "git@host.example: Permission denied (publickey).": "credentials of the checkout were",
        "ssh: connect to host host.example port 22: Connection refused": "no answer: ssh: connect",
    }.items():
        ssh.write_text(f"#!/bin/sh\necho '{told}' >&2; exit 255\n")
        with pytest.raises(StateError, match=wrong) as caught:
            await GitDepot(backend(checkout)).fetch()
        assert isinstance(caught.value, StateAway) == wrong.startswith("no answer")
        assert told in str(caught.value)


async def test_a_branch_of_something_else_is_refused(on_disk: Upstream, tmp_path: Path) -> None:
    """It is nobody's state, and stays what it is."""
    checkout = on_disk.clone(tmp_path / "one")
    git(on_disk.folder, "branch", BRANCH, "main")
    before = on_disk.commits()
    with pytest.raises(StateError, match=r"holds something else \(README\.md\) and no head\.json"):
        await opened(checkout).look()
    with pytest.raises(StateError, match="name a branch that is imgmigrate's alone"):
        async with opened(checkout).writer(command="c"):
            pass
    with pytest.raises(StateError, match="holds something else"):
        await GitDepot(backend(checkout)).swap(None, ONE)
    assert on_disk.commits() == before


async def test_what_is_no_checkout_is_named(
    on_disk: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No repository, no remote of that name, nothing behind it, no git, or one that is too old."""
    checkout = on_disk.clone(tmp_path / "one")
    (tmp_path / "bare").mkdir()

    async def refusal(folder: Path) -> str:
        with pytest.raises(StateError) as caught:
            await GitDepot(backend(folder)).fetch()
        assert not isinstance(caught.value, StateAway)
        assert str(caught.value).startswith(f"state {PLACE}: ")
        return str(caught.value)

    assert "in no checkout of a git repository" in await refusal(tmp_path / "bare")
    assert "there is no folder" in await refusal(tmp_path / "none")
    git(checkout, "remote", "add", "fork", "https://me:s3cret-word@git.example/x.git")
    git(checkout, "remote", "rename", "origin", "upstream")
    said = await refusal(checkout)
    assert "has no remote origin; it has fork, upstream; git remote add origin" in said
    git(checkout, "remote", "add", "origin", str(tmp_path / "gone.git"))
    assert "there is no such repository" in await refusal(checkout)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\necho git version 2.17.1\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert "git version 2.17.1 is too old; install git 2.31" in await refusal(checkout)
    monkeypatch.setenv("PATH", str(tmp_path / "bare"))
    assert "git is not installed" in await refusal(checkout)


@pytest.mark.parametrize(
    "url", ["git://127.0.0.1:{port}/x.git", "http://me:s3cret-word@127.0.0.1:{port}/x.git"]
)
async def test_a_server_that_is_down_may_be_asked_again(
    on_disk: Upstream, tmp_path: Path, url: str
) -> None:
    """Nobody listens; its URL is named, and no password in it."""
    checkout = on_disk.clone(tmp_path / "one")
    git(checkout, "remote", "set-url", "origin", url.format(port=free_port()))
    with pytest.raises(StateAway, match=r"of origin \(.*127\.0\.0\.1.*no answer") as caught:
        await GitDepot(backend(checkout)).fetch()
    assert "s3cret-word" not in str(caught.value)
    with pytest.raises(StateAway):
        await GitDepot(backend(checkout)).swap(None, ONE)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://github.com/team/x.git", "github.com"),
        ("https://x-access-token:abc@gitlab.com/team/x", "gitlab.com"),
        ("git@github.com:team/x.git", "github.com"),
        ("ssh://git@github.com:22/team/x.git", "github.com"),
        ("https://git.team.example/github.com/x", None),
        ("/srv/github.com/x.git", None),
    ],
)
def test_hosts_where_everybody_looks_are_known(tmp_path: Path, url: str, host: str | None) -> None:
    """In whatever way the URL is written."""
    assert Checkout(tmp_path, "sha1", url, ()).public_host == host


async def test_who_can_read_the_branch_is_said_once(
    on_disk: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first commit to a host where repositories may be public."""
    checkout = on_disk.clone(tmp_path / "one")
    git(checkout, "config", "url." + on_disk.url + ".insteadOf", "https://github.com/team/x.git")
    git(checkout, "remote", "set-url", "origin", "https://github.com/team/x.git")
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        await GitDepot(backend(checkout)).prove()
    assert len(caplog.messages) == 1
    assert "is on github.com: if that repository is public, the branch publishes" in caplog.text
    depot = GitDepot(backend(checkout))
    await depot.swap(None, ONE)
    await depot.close()


async def test_one_writes_at_a_time(server: Upstream, tmp_path: Path) -> None:
    """Of two that race one gets it, and the other hears of it, or waits and has it after it."""
    one, two = (server.clone(tmp_path / name) for name in ("one", "two"))
    order: list[str] = []
    refused = asyncio.Event()

    async def write(checkout: Path, timeout: float) -> str:
        try:
            async with opened(checkout).writer(
                command=checkout.name, lock_timeout=timeout
            ) as writer:
                await writer.begin(f"run-{checkout.name}", "plan", [])
                await writer.record(draft(checkout.name))
                order.append(checkout.name)
                await refused.wait()
                await writer.end({})
        except StateLocked as error:
            refused.set()
            return str(error)
        return ""

    told = await asyncio.gather(write(one, 0), write(two, 0))
    assert [order[0] in each for each in told if each] == [True]
    assert "locked by process" in "".join(told)
    assert not any(await asyncio.gather(write(one, 60), write(two, 60)))
    assert sorted(order[1:]) == ["one", "two"]
    assert [run.run for run in (await opened(one).look()).runs] == [f"run-{at}" for at in order]


@pytest.mark.slow
async def test_a_holder_that_was_killed_is_followed(server: Upstream, tmp_path: Path) -> None:
    """When the branch has not moved for the whole lease by the waiter's own clock, not before."""
    one, two = (server.clone(tmp_path / name) for name in ("one", "two"))
    with holder(one) as process:
        at = server.commits()[0]
        await until(lambda: server.commits()[0] != at)  # it lives, and says so
        process.kill()
    with pytest.raises(StateLocked, match="running 'first'"):
        async with opened(two).writer(command="second"):
            pass
    began = time.monotonic()
    async with opened(two).writer(command="second", lock_timeout=60) as writer:
        assert time.monotonic() - began >= LEASE
        assert writer.state.owns(address("a"), draft("a").digest)
        await writer.begin("run-2", "plan", [])
        await writer.end({})
    assert [run.run for run in (await opened(one).look()).runs] == ["run-1", "run-2"]


@pytest.mark.slow
async def test_a_holder_paused_past_its_lease_is_fenced(server: Upstream, tmp_path: Path) -> None:
    """It was taken over; when it wakes not one line of its lands, and it says who has it."""
    one, two = (server.clone(tmp_path / name) for name in ("one", "two"))
    with holder(one) as process:
        process.send_signal(signal.SIGSTOP)
        async with opened(two).writer(command="second", lock_timeout=60) as writer:
            await writer.begin("run-2", "plan", [])
            process.send_signal(signal.SIGCONT)
            assert process.stdin is not None
            process.stdin.write("go on\n")
            process.stdin.flush()
            code = await asyncio.to_thread(process.wait)
            assert process.stderr is not None
            told = process.stderr.read()
            assert code == 1
            assert "StateLost" in told
            assert "running 'second'" in told
            await writer.record(draft("b"))
            await writer.end({})
    state = await opened(one).look()
    assert [record.address for record in state.every()] == [address("b")]


async def test_a_server_that_goes_away_in_the_middle_loses_nothing(
    on_disk: Upstream, tmp_path: Path
) -> None:
    """The run works on, and when the server is back every line is there, once."""
    port = free_port()
    async with AsyncExitStack() as stack:
        with daemon(on_disk, port) as served:
            one = served.clone(tmp_path / "one")
            writer = await stack.enter_async_context(opened(one, 60).writer(command="first"))
            await writer.begin("run-1", "plan", [claim("a")])
            await writer.record(draft("a"))
            await writer.sync()
        await writer.record(draft("b"))
        syncing = asyncio.create_task(writer.sync())
        await asyncio.sleep(0.5)
        assert not syncing.done()
        stack.enter_context(daemon(on_disk, port))
        await syncing
        await writer.record(draft("c"))
        await writer.end({})
        await stack.aclose()
        stack.enter_context(daemon(on_disk, port))
        state = await opened(one).look()
    assert state.live_count == 3
    assert [run.run for run in state.runs] == ["run-1"]


async def test_lines_that_no_server_took_are_brought_by_the_next_run(
    on_disk: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays away: the run ends and names the file; the next one on this machine brings it."""
    monkeypatch.setattr(pusher, "PATIENCE", 0.0)
    monkeypatch.setattr(pusher, "CLOSING_PATIENCE", 0.0)
    port = free_port()

    async def run() -> None:
        with daemon(on_disk, port) as served:
            checkout = served.clone(tmp_path / "one")
            state = opened(checkout)
            async with state.writer(command="first") as writer:
                await writer.begin("run-1", "plan", [claim("a")])
                await writer.sync()
                on_disk.folder.rename(tmp_path / "away.git")
                await writer.record(draft("a"))
                await writer.sync()

    with pytest.raises(StateError, match=r"what it lacks is in .*spool-.*\.jsonl"):
        await run()
    (tmp_path / "away.git").rename(on_disk.folder)
    with daemon(on_disk, port):
        async with opened(tmp_path / "one").writer(command="second", lock_timeout=60) as writer:
            assert writer.state.live_count == 1
            await writer.end({})


@pytest.mark.parametrize("how", ["rewound", "diverged", "deleted", "overwritten"])
async def test_a_branch_that_was_pushed_over_stops_its_holder(
    on_disk: Upstream, tmp_path: Path, how: str
) -> None:
    """Somebody forced it: what is there is not what the holder saw, and it writes over nothing."""
    checkout = on_disk.clone(tmp_path / "one")
    for number in (1, 2):
        async with opened(checkout).writer(command="c") as writer:
            await writer.begin(f"run-{number}", "plan", [])
            await writer.record(draft(number))
            await writer.end({})
    first = on_disk.commits()

    async def run() -> None:
        async with opened(checkout).writer(command="first") as writer:
            await writer.begin("run-3", "plan", [])
            await writer.record(draft("a"))
            await writer.sync()
            if how == "deleted":
                git(on_disk.folder, "branch", "-D", BRANCH)
            elif how == "overwritten":
                git(on_disk.folder, "branch", "--force", BRANCH, "main")
            elif how == "rewound":
                git(on_disk.folder, "update-ref", f"refs/heads/{BRANCH}", first[0])
            else:
                tree = git(on_disk.folder, "rev-parse", f"{first[-3]}^{{tree}}")
                other = git(on_disk.folder, "commit-tree", tree, "-m", "other", "-p", first[-2])
                git(on_disk.folder, "update-ref", f"refs/heads/{BRANCH}", other)
            await writer.record(draft("b"))
            await writer.sync()

    wrong = StateError if how == "overwritten" else StateLost
    with pytest.raises(wrong) as caught:
        await run()
    if how == "overwritten":
        assert "holds something else (README.md)" in str(caught.value)
        return
    assert "the hold on it was lost" in str(caught.value)
    if how == "deleted":
        assert git(on_disk.folder, "branch", "--list", BRANCH) == ""
        return
    state = await opened(checkout).look()
    assert all(run.run != "run-3" for run in state.runs)


async def test_a_lock_is_broken(on_disk: Upstream, tmp_path: Path) -> None:
    """By one more commit, after which the former holder can write no more."""
    one, two = (on_disk.clone(tmp_path / name) for name in ("one", "two"))

    async def run() -> None:
        async with opened(one).writer(command="first") as writer:
            await writer.begin("run-1", "plan", [])
            other = opened(two)
            assert isinstance(other, store.SharedState)
            assert (await other.lock()).is_held
            assert (await other.break_lock()).is_held
            assert not (await other.lock()).is_held
            await writer.record(draft("a"))
            await writer.sync()

    with pytest.raises(StateLost, match="it was freed"):
        await run()


async def test_what_piles_up_is_packed(
    on_disk: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long run leaves few files in its temporary folder, which goes with it."""
    monkeypatch.setattr(module, "TIDY_AFTER", 5)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    depot = GitDepot(backend(on_disk.clone(tmp_path / "one")))
    seen: Seen | None = None
    for number in range(10):
        name = f"journal/{number}.jsonl"
        seen = await depot.swap(seen, b'{"sequence":%d}' % number, {name: b"%d" % number})
        assert await depot.read(name) == b"%d" % number
    await depot.close()
    (place,) = (tmp_path / "temporary").iterdir()
    assert place.stat().st_mode & 0o777 == 0o700
    loose = (place / "repository/objects").rglob("??/*")
    assert len([path for path in loose if path.is_file()]) < 5
    assert await depot.fetch() == seen
    assert await depot.read("journal/3.jsonl") == b"3"
    await depot.close()
    del depot
    assert not list((tmp_path / "temporary").iterdir())


async def test_what_a_killed_process_left_is_taken_away(
    on_disk: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next that needs a folder; what a living one has, is young, or is not ours stays."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    lives = Temporary()
    for name in ("imgmigrate-git-killed", "imgmigrate-git-young", "imgmigrate-other"):
        (place / name).mkdir()
        (place / name / "held").touch()
    (place / "imgmigrate-git-bare").mkdir()
    for folder in place.iterdir():
        if not folder.name.endswith("young"):
            os.utime(folder, (0, 0))
    depot = GitDepot(backend(on_disk.clone(tmp_path / "one")))
    await depot.fetch()
    left = {folder.name for folder in place.iterdir()}
    assert left >= {
        lives.path.name,
        "imgmigrate-git-young",
        "imgmigrate-other",
        "imgmigrate-git-bare",
    }
    assert "imgmigrate-git-killed" not in left
    lives.drop()
    assert not lives.path.exists()


async def test_a_cancelled_push_leaves_nothing_running(on_disk: Upstream, tmp_path: Path) -> None:
    """Whoever is stopped does not wait for a server that does not end."""
    depot = GitDepot(backend(on_disk.clone(tmp_path / "one")))
    await depot.fetch()
    on_disk.add_hook("pre-receive", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    task = asyncio.create_task(depot.swap(None, ONE))
    noted = tmp_path / "pid"
    await until(lambda: noted.exists() and noted.read_text().endswith("\n"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: is_over(int(noted.read_text())))


async def test_a_plan_is_saved_while_another_process_holds_the_branch(
    server: Upstream, tmp_path: Path
) -> None:
    """The run goes on to its end, and the plan is read by a third clone."""
    process = holder(server.clone(tmp_path / "one"))
    keeper = opened(server.clone(tmp_path / "two"))
    assert isinstance(keeper, base.PlanKeeper)
    saved = await keeper.save_plan(b"plan", plan_id="p" * 16, config="imgmigrate.yaml")
    out, err = await asyncio.to_thread(process.communicate, "\n")
    assert (process.returncode, out) == (0, ""), err
    third = opened(server.clone(tmp_path / "three"))
    assert isinstance(third, base.PlanKeeper)
    assert await third.read_plan(saved[:12]) == b"plan"
    assert [plan.sha256 for plan in await third.plans()] == [saved]
    assert (await third.look()).live_count == 1
    assert not (await third.lock()).is_held
