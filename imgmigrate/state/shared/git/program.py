"""Run git to an end that comes: no terminal, no shell, no hooks, and not for ever.

It writes into files and not into pipes: what it starts and leaves behind (a master of ssh's) would
keep those open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StateAway, StateError
from imgmigrate.state.shared.depot import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ENVIRONMENT", "LOCAL", "Ended", "Git", "Reader"]

# Seconds: for what needs no network, for a question, for all of a state, for a group of lines.
HERE, ASKED, FETCHED, PUSHED = 120.0, 60.0, 600.0, 120.0
# Seconds that git gets to tidy up after it was told to end.
FAREWELL = 2.0
# What ties a git to one repository (git rev-parse --local-env-vars), as in a hook; less config.
LOCAL = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
# Its words are read, so they must be its own; who is asked for a password is nobody.
ENVIRONMENT = {
    "GCM_INTERACTIVE": "never",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_QUIET = ("core.hooksPath=/dev/null", "gc.auto=0", "maintenance.auto=false")


class Ended(Struct, frozen=True):
    """What a git left behind."""

    code: int
    out: bytes
    err: str

    @property
    def words(self) -> str:
        """Its own first word on what is wrong, without what it says to everybody."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal: ", "error: "))]
        return (told or lines or [f"exit code {self.code}"])[0]


class Git:
    """A git that runs in `folder`; `subject` is what errors are about."""

    def __init__(self, folder: Path, subject: str, environment: Mapping[str, str]) -> None:
        self.folder, self.subject = folder, subject
        foreign = {name: value for name, value in os.environ.items() if name not in LOCAL}
        self.environment = foreign | ENVIRONMENT | dict(environment)

    async def run(self, *arguments: str, given: bytes = b"", patience: float = HERE) -> Ended:
        """Run it to its end; StateAway if that takes longer than `patience` seconds."""
        with TemporaryFile() as source, TemporaryFile() as out, TemporaryFile() as err:
            source.write(given)
            source.seek(0)
            process = await self._start(*arguments, stdin=source, stdout=out, stderr=err)
            try:
                async with asyncio.timeout(patience):
                    code = await process.wait()
            except TimeoutError:
                message = f"git {arguments[0]} came to no end in {patience:g} s"
                raise StateAway(message, subject=self.subject) from None
            finally:
                await _end(process)
            out.seek(0)
            err.seek(0)
            return Ended(code, out.read(), err.read().decode(errors="replace"))

    async def here(self, *arguments: str, given: bytes = b"") -> bytes:
        """Run what needs no network, and return what it printed; StateError if it fails."""
        ended = await self.run(*arguments, given=given)
        if ended.code:
            raise StateError(f"git {arguments[0]}: {ended.words}", subject=self.subject)
        return ended.out

    def reader(self) -> Reader:
        """Make one that reads many files, one after the other."""
        return Reader(self)

    async def _start(
        self, *arguments: str, stdin: object, stdout: object, stderr: object
    ) -> asyncio.subprocess.Process:
        settings = [word for each in _QUIET for word in ("-c", each)]
        try:
            return await asyncio.create_subprocess_exec(
                "git",
                "--no-pager",
                *settings,
                *arguments,
                cwd=self.folder,
                env=self.environment,
                stdin=stdin,  # type: ignore[arg-type]
                stdout=stdout,  # type: ignore[arg-type]
                stderr=stderr,  # type: ignore[arg-type]
                # Ctrl-C is for us: what is under way is brought to an end.
                start_new_session=True,
            )
        except FileNotFoundError:
            is_there = self.folder.is_dir()
            message = "git is not installed" if is_there else f"there is no folder {self.folder}"
            raise StateError(message, subject=self.subject) from None
        except OSError as error:
            message = f"git cannot be run: {error.strerror}"
            raise StateError(message, subject=self.subject) from None


class Reader:
    """`git cat-file --batch`: a process that lives from the first question to `close`."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def read(self, name: str) -> bytes:
        """Read a blob by `COMMIT:PATH`; Missing if there is none."""
        async with self._turn:
            try:
                async with asyncio.timeout(HERE):
                    return await self._ask(name)
            except (TimeoutError, OSError, EOFError, ValueError) as error:
                await self.close()
                message = f"git cat-file: {error or 'it came to no end'}"
                raise StateError(message, subject=self._git.subject) from None
            except asyncio.CancelledError:  # half an answer is no start for the next
                await self.close()
                raise

    async def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            await _end(process)

    async def _ask(self, name: str) -> bytes:
        if self._process is None:
            pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
            self._process = await self._git._start(
                "cat-file", "--batch", stdin=pipe, stdout=pipe, stderr=nothing
            )
        source, answer = self._process.stdin, self._process.stdout
        if source is None or answer is None:
            raise EOFError
        source.write(f"{name}\n".encode())
        await source.drain()
        line = (await answer.readline()).decode(errors="replace").split()
        if line[-1:] == ["missing"]:
            raise Missing(name.partition(":")[2])
        _, kind, size = line
        data = (await answer.readexactly(int(size) + 1))[:-1]
        if kind != "blob":
            raise Missing(name.partition(":")[2])
        return data


async def _end(process: asyncio.subprocess.Process) -> None:
    """See a process end; one that runs on is told to, then made to, with all that it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, how)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await process.wait()
