"""The lock: one writer, named to the others, freed by the system when its process dies."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateError, StateLocked
from imgmigrate.redaction import hide
from imgmigrate.state.holder import Holder
from imgmigrate.state.local.lock import StateLock
from tests.state.samples import NOON

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import asyncio, sys
from pathlib import Path
from imgmigrate.state.local.lock import StateLock

async def hold():
    async with StateLock(Path(sys.argv[1])).held("imgmigrate apply plan.out"):
        print("held", flush=True)
        sys.stdin.read()

asyncio.run(hold())
"""


def lock(folder: Path, minutes: int = 0) -> StateLock:
    """A lock whose clock stands some minutes past noon."""
    return StateLock(folder, clock=lambda: NOON + timedelta(minutes=minutes))


async def test_a_contender_learns_who_holds_the_lock(tmp_path: Path) -> None:
    """Process, user, command and age are named, and its attempt disturbs none of them."""
    async with lock(tmp_path).held("imgmigrate apply plan.out"):
        for _ in range(2):
            with pytest.raises(StateLocked) as caught:
                async with lock(tmp_path, 90).held("another"):
                    pytest.fail("both hold it")
            assert "'imgmigrate apply plan.out' since 2026-03-01T12:00:00Z (1:30:00 ago)" in (
                caught.value.message
            )
            assert str(tmp_path) in caught.value.message
            assert caught.value.hint


async def test_the_page_of_the_job_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a CI job, whoever is locked out is pointed to the job."""
    for name, value in (("SERVER_URL", "https://git.corp"), ("REPOSITORY", "a/b"), ("RUN_ID", "7")):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    async with lock(tmp_path).held("apply"):
        with pytest.raises(StateLocked, match=r"https://git\.corp/a/b/actions/runs/7"):
            async with lock(tmp_path).held("another"):
                pytest.fail("both hold it")


async def test_secrets_in_a_command_are_not_written(tmp_path: Path) -> None:
    """What the holder's file shows is redacted like everything else."""
    hide("hunter2-secret")
    async with lock(tmp_path).held("apply --password hunter2-secret"):
        assert b"hunter2" not in (tmp_path / "lock.json").read_bytes()


async def test_a_free_lock_is_free_again(tmp_path: Path) -> None:
    """After the block nobody holds it, and nobody is named."""
    for _ in range(2):
        async with lock(tmp_path).held("apply"):
            assert lock(tmp_path).holder()
        assert lock(tmp_path).holder() is None


async def test_waiting_gets_the_lock_when_it_is_freed(tmp_path: Path) -> None:
    """With a timeout the contender waits instead of failing."""
    waiting = asyncio.Event()

    async def wait() -> Holder | None:
        waiting.set()
        async with lock(tmp_path).held("second", timeout=60):
            return lock(tmp_path).holder()

    async with asyncio.TaskGroup() as group, lock(tmp_path).held("first"):
        task = group.create_task(wait())
        await waiting.wait()
    holder = task.result()
    assert holder
    assert holder.command == "second"


async def test_a_holder_that_is_not_named_still_locks(tmp_path: Path) -> None:
    """The holder's file only informs: without it, or with nonsense in it, the lock holds."""
    async with lock(tmp_path).held("apply"):
        for content in (None, b"nonsense", b"{}"):
            info = tmp_path / "lock.json"
            info.unlink() if content is None else info.write_bytes(content)
            with pytest.raises(StateLocked, match="locked by another process"):
                async with lock(tmp_path).held("another"):
                    pytest.fail("both hold it")


async def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    """Nobody has to remove a stale lock: the system frees it with the process."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(tmp_path), stdin=pipe, stdout=pipe
    )
    assert process.stdout
    assert await process.stdout.readline() == b"held\n"
    with pytest.raises(StateLocked, match=f"process {process.pid} of"):
        async with lock(tmp_path).held("another"):
            pytest.fail("both hold it")
    process.kill()
    await process.communicate()
    async with lock(tmp_path).held("another"):
        holder = lock(tmp_path).holder()
    assert holder
    assert holder.command == "another"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
async def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """No marker stands in for a lock: it would outlive its process and lock all others out."""
    (tmp_path / "lock").write_bytes(b"10298\nrunner-a\n56201342846455\n")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StateError, match="cannot lock it") as caught:
        async with lock(tmp_path).held("apply", timeout=60):
            pytest.fail("nobody can hold it")
    assert os.strerror(number) in caught.value.message
    assert caught.value.hint
    assert not lock(tmp_path).is_held()
    monkeypatch.undo()
    async with lock(tmp_path).held("apply"):
        assert lock(tmp_path).is_held()


async def test_a_lock_that_is_granted_to_everybody_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems say yes to whoever asks: nobody is kept out there either."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(StateError, match="grants the same lock to several at once"):
        async with lock(tmp_path).held("apply", timeout=60):
            pytest.fail("nobody can hold it")
    assert not lock(tmp_path).is_held()


@pytest.mark.parametrize("locks", ["granted", "refused", "real"])
async def test_a_holder_that_left_its_name_is_not_said_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: str
) -> None:
    """The file only informs, whatever the file system makes of locks."""
    (tmp_path / "lock.json").write_text(Holder.me("imgmigrate apply", NOON).model_dump_json())
    (tmp_path / "lock").touch()

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "no locks")

    if locks != "real":
        monkeypatch.setattr(fcntl, "flock", refuse if locks == "refused" else lambda *_: None)
    assert not lock(tmp_path).is_held()


async def test_looking_does_not_disturb(tmp_path: Path) -> None:
    """Whether it is held can be asked without taking it, also where there is no lock yet."""
    assert not lock(tmp_path).is_held()
    async with lock(tmp_path).held("apply"):
        assert lock(tmp_path).is_held()
        assert lock(tmp_path).holder()
    assert not lock(tmp_path).is_held()


async def test_a_looker_costs_nobody_the_lock(tmp_path: Path) -> None:
    """Whoever wants the lock at the moment of a look tries again and gets it."""
    (tmp_path / "lock").touch()
    looking = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    asyncio.get_running_loop().call_soon(os.close, looking)
    async with lock(tmp_path).held("apply"):
        assert lock(tmp_path).is_held()


@pytest.mark.parametrize(
    ("environment", "page"),
    [
        ({"CI_JOB_URL": "https://gitlab/j/1"}, "https://gitlab/j/1"),
        ({"BUILD_URL": "https://jenkins/1/"}, "https://jenkins/1/"),
        ({"GITHUB_SERVER_URL": "https://git", "GITHUB_REPOSITORY": "a/b"}, None),
        ({}, None),
    ],
)
def test_each_ci_system_names_its_job(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], page: str | None
) -> None:
    """GitLab and Jenkins say it; a part of GitHub's is not enough."""
    for name in ("CI_JOB_URL", "BUILD_URL", "GITHUB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Holder.me("apply", NOON).job == page
