"""A command on a disk or a terminal that this machine does not lend, as far as it can tell.

`python imitation.py [--disk FOLDER BYTES] [--read-only FOLDER] [--terminal NUMBERS] -- COMMAND`
runs a command of this Python (`python -m MODULE ...` or `python -c CODE ...`) in its own process
and answers what it asks of the system below FOLDER, or of the descriptors NUMBERS (such as 012),
as Linux does for a small tmpfs, a read-only mount or a pseudo terminal. Containers refuse those.
Tests assert the same of the real thing, and where that can be had the cheap ones run on both.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import io
import os
import runpy
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Buffer, Callable  # type: ignore[attr-defined, unused-ignore]

# What a tmpfs takes room by, in bytes.
PAGE = 4096
# What the audit events that change a file system tell of its names, by position.
_CHANGES = {
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.truncate": (0,),
    "os.chmod": (0,),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CONTROL_D = b"\x04"

_open, _write = io.open, os.write


def free_bytes(folder: str, size: int) -> int:
    """What a disk of `size` bytes has left, whole pages, if all of it is below `folder`."""
    files: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            found = os.lstat(os.path.join(place, name))
            files[found.st_dev, found.st_ino] = _pages(found.st_size)
    return (size // PAGE - sum(files.values())) * PAGE


def _pages(size: int) -> int:
    return -(-size // PAGE)


def _is_below(name: Any, folder: str) -> bool:
    if isinstance(name, int):
        try:
            name = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            return False
    path = os.path.realpath(os.fsdecode(name))
    return path == folder or path.startswith(folder + os.sep)


class _Disk:
    """A tmpfs of so many bytes: who writes gets what there is room for, then ENOSPC."""

    def __init__(self, folder: str, size: int) -> None:
        self._folder, self._size = os.path.realpath(folder), size

    def room(self, descriptor: int, count: int) -> int:
        """How many of `count` bytes a write takes; OSError if none."""
        if not count or not _is_below(descriptor, self._folder):
            return count
        import fcntl

        size = os.fstat(descriptor).st_size
        appends = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
        place = size if appends else os.lseek(descriptor, 0, os.SEEK_CUR)
        free = max(0, free_bytes(self._folder, self._size))
        taken = min(count, _pages(size) * PAGE + free - place)
        if taken <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken


class _Terminal:
    """A pseudo terminal on a socket: lines end in CR LF, ^D ends the input, a hang-up is EIO."""

    def __init__(self, numbers: str) -> None:
        self.numbers = frozenset(map(int, numbers))

    def write(self, descriptor: int, data: bytes) -> int:
        """Write as a terminal driver does; what comes out is longer than what went in."""
        left = memoryview(data.replace(b"\n", b"\r\n"))
        try:
            while left:
                left = left[_write(descriptor, left) :]
        except (BrokenPipeError, ConnectionResetError):
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from None
        return len(data)


class _System:
    """What a command asks of the system, and who answers it."""

    def __init__(self) -> None:
        self.disks: list[_Disk] = []
        self.terminals: list[_Terminal] = []

    def terminal(self, descriptor: int) -> _Terminal | None:
        """The terminal on a descriptor."""
        return next((each for each in self.terminals if descriptor in each.numbers), None)

    def write(self, descriptor: int, data: Buffer) -> int:
        """`os.write`."""
        terminal = self.terminal(descriptor)
        if terminal is not None:
            return terminal.write(descriptor, bytes(data))
        view = memoryview(data).cast("B")
        for disk in self.disks:
            view = view[: disk.room(descriptor, len(view))]
        return _write(descriptor, view)

    def isatty(self, descriptor: int) -> bool:
        """`os.isatty`."""
        return self.terminal(descriptor) is not None

    def open(
        self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any
    ) -> Any:
        """`open`, whose binary files ask here when they write."""
        if "b" not in mode or not set(mode) & set("wax+"):
            return _open(file, mode, buffering, *more, **named)
        raw = _Raw(file, mode.replace("b", ""), closefd=named.get("closefd", True))
        if buffering == 0:
            return raw
        return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)


_SYSTEM = _System()


class _Raw(io.FileIO):
    """A file whose writes and questions are answered here."""

    def write(self, data: Buffer) -> int:
        return _SYSTEM.write(self.fileno(), data)

    def isatty(self) -> bool:
        return _SYSTEM.isatty(self.fileno())

    def readinto(self, buffer: Any) -> int:
        """Read; on a terminal a ^D that begins a line ends the input."""
        count = super().readinto(buffer) or 0
        if self.isatty() and bytes(buffer[:count]).startswith(_CONTROL_D):
            return 0
        return count


def _read_only(folder: str) -> Callable[[str, tuple[Any, ...]], None]:
    """Refuse every change below a folder, as a read-only mount does."""
    folder = os.path.realpath(folder)

    def heed(event: str, given: tuple[Any, ...]) -> None:
        names = [given[place] for place in _CHANGES.get(event, ())]
        if event == "open" and given[2] & _WRITING and given[0] is not None:
            names = [given[0]]
        for name in names:
            if not isinstance(name, int) and _is_below(name, folder):
                if event == "os.mkdir" and os.path.exists(name):
                    return
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)

    return heed


def _take_over(options: argparse.Namespace) -> None:
    if options.disk:
        _SYSTEM.disks.append(_Disk(options.disk[0], int(options.disk[1])))
    if options.read_only:
        sys.addaudithook(_read_only(options.read_only))
    os.write = cast("Any", _SYSTEM.write)
    io.open = builtins.open = cast("Any", _SYSTEM.open)
    if not options.terminal:
        return
    terminal = _Terminal(options.terminal)
    _SYSTEM.terminals.append(terminal)
    os.isatty = _SYSTEM.isatty
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if number in terminal.numbers:
            raw = _Raw(number, mode, closefd=False)
            buffer: Any = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
            stream = io.TextIOWrapper(buffer, encoding="utf-8", line_buffering=True)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _run(command: list[str]) -> None:
    """Run `python -m MODULE ...` or `python -c CODE ...` as that would."""
    _, how, what, *arguments = command
    sys.path[0] = ""
    sys.argv = [how, *arguments]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})


def _options(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--disk", nargs=2)
    parser.add_argument("--read-only")
    parser.add_argument("--terminal")
    return parser.parse_args(given)


if __name__ == "__main__":
    own = sys.argv.index("--")
    command = sys.argv[own + 1 :]
    _take_over(_options(sys.argv[1:own]))
    _run(command)
