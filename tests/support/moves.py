"""A migration half done: one image moved and recorded, a second one waiting at the source.

What every bad-input test starts from: it breaks something, runs the real command, and then
asks whether a destination tag has changed or a record is lost. The registries are fakes in
the test's own loop, so that faults can be switched while a command runs.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgmigrate import apply_plan, load_config, make_plan
from imgmigrate.cli import main
from tests.support import images
from tests.support.cli import TIMEOUT, Ran, command, write_config
from tests.support.registries import assert_equal
from tests.support.terminal import on_terminal, read_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry
    from tests.fakes.registry.faults import Stall
    from tests.support.images import Image

# No message is folded: tests look for words beside each other.
WIDE = {"COLUMNS": "2000"}
STATE = "state/imgmigrate"
# The command with its five attempts, but without the waiting between them.
_IMPATIENT = """
import stamina, sys
stamina.set_testing(True, attempts=5, cap=True)
from imgmigrate.cli import main
sys.exit(main())
"""
FIRST, SECOND = images.image("first"), images.image("second")


@dataclass(slots=True)
class Move:
    """A folder with a config, the two registries of its rule, and what stood there before."""

    folder: Path
    old: FakeRegistry
    new: FakeRegistry
    # Goes before the command, for example to run it in another mount namespace.
    prefix: tuple[str, ...] = ()
    before: dict[str, str] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """The rule that moves `app` as a whole."""
        return f"  - {{source: {self.old.host}/app, destination: {self.new.host}/app}}"

    @property
    def journal(self) -> Path:
        """The state's journal."""
        return self.folder / STATE / "journal.jsonl"

    def address(self, tag: str) -> str:
        """The destination of a tag of `app`."""
        return f"{self.new.host}/app:{tag}"

    def write_config(self, *rules: str, registries: str = "") -> None:
        """Write the config with these rules, by default the one of `app`."""
        text = "\n".join(rules or [self.rule])
        write_config(self.folder, text, self.old.host, self.new.host, registries=registries)

    async def run(self, *arguments: str | Path, code: int = 0, **options: Any) -> Ran:
        """Run a command to its end; its exit code must be `code`."""
        return await run(self.folder, *arguments, code=code, prefix=self.prefix, **options)

    def start(
        self, *arguments: str | Path, **options: Any
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start a command; it does not outlive the block."""
        return start(self.folder, *arguments, prefix=self.prefix, **options)

    async def plan(self) -> Path:
        """Plan into `plan.out`, without a process of its own."""
        path = self.folder / "plan.out"
        (await make_plan(load_config(self.folder / "imgmigrate.yaml"))).write(path)
        return path

    def destination(self) -> dict[str, str]:
        """Every tag of the destination registry: address -> digest."""
        return {
            f"{self.new.host}/{repo}:{tag}": digest
            for repo in self.new.repositories
            for tag, digest in self.new.tags(repo).items()
        }

    async def recorded(self) -> dict[str, str]:
        """What `state list` shows: address -> digest."""
        arguments = ("state", "list", "--json", "--state", str(self.folder / STATE))
        if self.prefix:
            text = (await self.run(*arguments)).out
        else:  # the same command, without the time that a process takes to start
            with redirect_stdout(io.StringIO()) as out:
                assert await asyncio.to_thread(main, arguments) == 0
            text = out.getvalue()
        lines = [json.loads(line) for line in text.splitlines()]
        records = [line["record"] for line in lines if line["type"] == "record"]
        return {record["address"]: record["digest"] for record in records}

    async def assert_untouched(self) -> None:
        """Check that no destination tag has changed and that every record is still there."""
        assert self.destination() == self.before
        assert await self.recorded() == self.before

    async def assert_finished(self, **others: Image) -> None:
        """Check that everything arrived and is recorded: both images of `app`, and `others`."""
        for tag, image in {"first": FIRST, "second": SECOND, **others}.items():
            assert_equal(self.new.image("app", tag), image)
        assert await self.recorded() == self.destination()


async def half_done(folder: Path, old: FakeRegistry, new: FakeRegistry) -> Move:
    """Move `app:first` and let `app:second` wait at the source."""
    move = Move(folder, old, new)
    old.put_image("app", "first", FIRST)
    move.write_config()
    config = load_config(folder / "imgmigrate.yaml")
    await apply_plan(config, await make_plan(config))
    move.before = move.destination()
    assert set(move.before) == {move.address("first")}
    old.put_image("app", "second", SECOND)
    return move


async def run(folder: Path, *arguments: str | Path, code: int = 0, **options: Any) -> Ran:
    """Run a command to its end, with the options of `start`; its exit code must be `code`."""
    with start(folder, *arguments, **options) as process:
        return await ended(process, code)


@contextmanager
def start(
    folder: Path,
    *arguments: str | Path,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    impatient: bool = False,
    terminal: int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command in `folder`; it does not outlive the block.

    An `impatient` one makes its attempts without waiting between them; `terminal` is its stdin.
    """
    line = command(*arguments)
    if impatient:
        line = [line[0], "-c", _IMPATIENT, *line[3:]]
    with subprocess.Popen(
        [*prefix, *line],
        cwd=folder,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **WIDE, **(env or {})},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_on_terminal(folder: Path, *arguments: str | Path, answer: str = "") -> tuple[int, str]:
    """Run a command on a terminal of its own, typing `answer`; its exit code and what was shown."""
    environment = {**WIDE, "TERM": "xterm-256color"}
    with on_terminal(folder, *arguments, environment=environment) as (process, terminal):
        os.write(terminal, answer.encode())
        shown = read_terminal(terminal)
        return process.wait(TIMEOUT), shown


async def ended(process: subprocess.Popen[str], code: int) -> Ran:
    """Wait for the end of a command; its exit code must be `code`."""
    out, err = await asyncio.to_thread(process.communicate, timeout=TIMEOUT)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return Ran(code, out, err)


async def reach(process: subprocess.Popen[str], *stalls: Stall) -> None:
    """Wait until requests of a command stand at all of these; it must not end before."""
    standing = asyncio.gather(*(stall.reached.wait() for stall in stalls))
    end = asyncio.create_task(asyncio.to_thread(process.wait))
    await asyncio.wait((standing, end), return_when=asyncio.FIRST_COMPLETED)
    if not standing.done():
        standing.cancel()
        raise AssertionError(process.communicate())


def assert_says(text: str, *words: str) -> None:
    """Check that a message has all of these words."""
    missing = [word for word in words if word not in text]
    assert not missing, f"{missing} not in:\n{text}"
