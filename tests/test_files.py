"""Files: the old one or the new one, never a half; and threads that nobody leaves behind."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
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


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_cancelled_caller_does_not_get_is_discarded(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that was opened is closed again, and an error is nobody's: it is not logged."""
    started, let_go = threading.Event(), threading.Event()
    discarded: list[int] = []

    def work() -> int:
        started.set()
        let_go.wait()
        return 1 // (not fails)

    task = asyncio.ensure_future(files.in_thread(work, discard=discarded.append))
    await asyncio.to_thread(started.wait)
    task.cancel()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    await asyncio.sleep(0)
    assert discarded == ([] if fails else [1])
    assert caplog.messages == []


async def test_what_a_thread_raises_is_raised() -> None:
    """An error in the thread reaches the caller as it is."""
    with pytest.raises(ZeroDivisionError):
        await files.in_thread(lambda: 1 // 0)


def test_output_replaces_a_file_whole(tmp_path: Path) -> None:
    """A reader that has the old file open still reads the old one."""
    path = tmp_path / "plan.out"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        files.write_output(path, b"new")
        assert (reader.read(), path.read_bytes()) == (b"old", b"new")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("is_there", [True, False], ids=["file", "nothing yet"])
def test_output_goes_to_what_a_link_leads_to(tmp_path: Path, is_there: bool) -> None:
    """The link stays, over several steps and relative ones; its target is replaced, or made."""
    shared = tmp_path / "shared"
    shared.mkdir()
    if is_there:
        (shared / "plan.out").write_bytes(b"old")
    (shared / "latest").symlink_to("plan.out")
    path = tmp_path / "plan.out"
    path.symlink_to("shared/latest")
    files.write_output(path, b"new")
    assert path.readlink().as_posix() == "shared/latest"
    assert (shared / "latest").is_symlink()
    assert (shared / "plan.out").read_bytes() == b"new"


def test_output_goes_into_a_pipe_as_it_stands(tmp_path: Path) -> None:
    """More than a pipe holds at once arrives whole, and the pipe is still one."""
    path, data = tmp_path / "pipe", b"x" * 300_000
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    files.write_output(path, data)
    reader.join(60)
    assert got == [data]
    assert path.is_fifo()


def test_output_goes_to_whoever_listens_at_a_socket(tmp_path: Path) -> None:
    """A socket's name is connected to, not replaced."""
    path, got = tmp_path / "s", list[bytes]()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as file:
                got.append(file.read())

        reader = threading.Thread(target=serve)
        reader.start()
        files.write_output(path, b"plan")
        reader.join(60)
    assert got == [b"plan"]
    assert path.is_socket()


def test_output_goes_into_a_device_as_it_stands(tmp_path: Path) -> None:
    """Through a link too: what is no file is never replaced, and a full one says so."""
    null, full = tmp_path / "null", tmp_path / "full"
    null.symlink_to("/dev/null")
    full.symlink_to("/dev/full")
    files.write_output(null, b"plan")
    with pytest.raises(OSError, match="No space left"):
        files.write_output(full, b"plan")
    assert null.is_char_device()
    assert {null.is_symlink(), full.is_symlink()} == {True}


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"])
def test_output_to_a_descriptor_goes_on_where_that_is(tmp_path: Path, folder: str) -> None:
    """`--out /dev/stdout > log` adds to the log instead of replacing or overwriting it."""
    log = tmp_path / "log"
    with log.open("wb", buffering=0) as file:
        file.write(b"before ")
        link = tmp_path / "stdout"
        link.symlink_to(f"{folder}/{file.fileno()}")
        assert files.is_stream(link)
        files.write_output(link, b"plan")
        file.write(b" after")
    assert log.read_bytes() == b"before plan after"


def test_output_to_a_mounted_file_is_written_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is a mount point cannot be replaced: it is written."""
    path = tmp_path / "plan.out"
    path.write_bytes(b"a longer old plan")
    number = path.stat().st_ino

    def refuse(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "replace", refuse)
    files.write_output(path, b"new")
    assert (path.read_bytes(), path.stat().st_ino) == (b"new", number)
    assert list(tmp_path.iterdir()) == [path]
