"""Files: the old one or the new one, never a half; and threads that nobody leaves behind."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from imgmigrate import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize("data", [b"new", [b"n", b"", b"ew"]], ids=["whole", "pieces"])
def test_a_file_is_replaced_and_private(tmp_path: Path, data: bytes | list[bytes]) -> None:
    """The new bytes stand under the name, readable by their owner alone."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    files.write_atomically(path, data)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    """Whatever goes wrong midway, the old file stays and nothing stands beside it."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"half"
        msg = "midway"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="midway"):
        files.write_atomically(path, pieces())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """Writing never goes through a link to somewhere else."""
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_bytes(b"untouched")
    path.symlink_to(target)
    files.write_atomically(path, b"new")
    assert (target.read_bytes(), path.read_bytes()) == (b"untouched", b"new")


def test_a_folder_is_made_with_its_parents_once(tmp_path: Path) -> None:
    """Making it again changes nothing; only its owner may look inside."""
    path = tmp_path / "a" / "b"
    for _ in range(2):
        files.make_folder(path)
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes only a part of the bytes is asked again for the rest."""
    path, real = tmp_path / "file", os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    with path.open("wb") as file:
        files.write_all(file.fileno(), b"0123456789")
    assert path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("refused", [False, True])
def test_a_second_name_keeps_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Linked or, where links are refused, copied: it outlives the replacement of the first."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    if refused:
        monkeypatch.setattr(os, "link", refuse)
    first, second = tmp_path / "first", tmp_path / "second"
    files.write_atomically(first, b"old")
    files.copy_or_link(first, second)
    files.write_atomically(first, b"new")
    assert second.read_bytes() == b"old"


def test_a_second_name_replaces_nothing(tmp_path: Path) -> None:
    """A name that is taken is an error."""
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(name.encode())
    with pytest.raises(FileExistsError):
        files.copy_or_link(tmp_path / "first", tmp_path / "second")
    assert (tmp_path / "second").read_bytes() == b"second"


async def test_a_cancelled_caller_waits_for_its_thread() -> None:
    """Nobody closes a file or frees a lock while a thread still works with it."""
    started, let_go, done = (threading.Event() for _ in range(3))

    def work() -> None:
        started.set()
        let_go.wait()
        done.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(files.in_thread(work))
        await asyncio.to_thread(started.wait)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        let_go.set()
    assert task.cancelled()
    assert done.is_set()


async def test_what_a_thread_raises_is_raised() -> None:
    """An error in the thread reaches the caller as it is."""
    with pytest.raises(ZeroDivisionError):
        await files.in_thread(lambda: 1 // 0)
