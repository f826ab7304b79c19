"""TAB pressed in Debian's bash, zsh and fish, each on a terminal of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.cli.given.test_suggestions import remember
from tests.support.cli import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# How each starts without anybody's own settings, and then reads our script.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(imgmigrate completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -Uz compinit; compinit -u -D; source <(imgmigrate completion zsh)",
    ),
    "fish": (["fish", "--no-config", "-i"], "imgmigrate completion fish | source"),
}
API = "registry.new:5000/team/api"
# Stands for the command: it completes as that does, and tells what it was called with.
SHIM = """\
#!/bin/sh
if [ -n "$_IMGMIGRATE_COMPLETE" ] || [ "$1" = completion ]; then
    exec '{python}' -m imgmigrate "$@"
fi
printf 'called'
printf '<%s>' "$@"
"""


class Typist:
    """Types on a terminal, and reads until something is there."""

    def __init__(self, terminal: int) -> None:
        self._terminal, self._seen = terminal, b""

    def type(self, text: str) -> None:
        """Type, and not wait."""
        os.write(self._terminal, text.encode())

    def wait(self, text: str) -> None:
        """Read until a text is drawn; it fails with all that was."""
        deadline = time.monotonic() + TIMEOUT
        while text.encode() not in self._seen:
            left = deadline - time.monotonic()
            assert select.select([self._terminal], [], [], left)[0], self._seen
            self._seen += os.read(self._terminal, 65536)

    @property
    def seen(self) -> str:
        """All that was drawn so far."""
        return self._seen.decode(errors="replace")


@contextmanager
def typing(shell: str, folder: Path) -> Iterator[Typist]:
    """Start a shell that has read our script, in a folder with a state and a PATH with us."""
    command, setup = SHELLS[shell]
    programs, home = folder / "programs", folder / "home"
    programs.mkdir()
    home.mkdir()
    (programs / "imgmigrate").write_text(SHIM.format(python=sys.executable))
    (programs / "imgmigrate").chmod(0o755)
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.getcwd(),
        "TERM": "xterm",
        "COLUMNS": "200",
    }
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            # A fish asks for a terminal that controls it, and setsid gives it ours.
            ["setsid", "--ctty", *command],
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
        ) as process:
            os.close(theirs)
            try:
                typist = Typist(ours)
                # The answer is not what was typed, so that the echo of that is not taken for it.
                typist.type(f"{setup}; printf 'it is %s\\n' ready\r")
                typist.wait("it is ready")
                yield typist
            finally:
                process.kill()
    finally:
        os.close(ours)


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_commands_options_and_addresses(shell: str, tmp_path: Path) -> None:
    """One line, typed with four TABs: what runs has every word whole, and nothing is complained."""
    remember(tmp_path / "state" / "imgmigrate", f"{API}:1.17", f"{API}:1.18")
    with typing(shell, tmp_path) as typist:
        typist.type("imgmigrate pl\t--exclu\tregis\t8 --exclude=regis\t7\r")
        whole = f"called<plan><--exclude><{API}:1.18><--exclude={API}:1.17>"
        typist.wait(whole)
        typist.type("imgmigrate state sh\tregistry.new:5000/te\t7\r")
        typist.wait(f"called<state><show><{API}:1.17>")
        typist.type("imgmigrate rollba\trun\t--js\t\r")
        typist.wait("called<rollback><run-1><--json>")
        for word in ("Error", "Traceback", "rror:"):
            assert word not in typist.seen


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_without_a_state_or_in_a_broken_config_says_nothing(shell: str, tmp_path: Path) -> None:
    """There is just nothing to offer; the line is as it was typed."""
    (tmp_path / "imgmigrate.yaml").write_text("state: [\n")
    with typing(shell, tmp_path) as typist:
        typist.type("imgmigrate plan --exclude regis\t:1\r")
        typist.wait("called<plan><--exclude><regis:1>")
        for word in ("Error", "Traceback", "rror:"):
            assert word not in typist.seen
