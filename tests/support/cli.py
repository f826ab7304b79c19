"""Run the command as users do: a process, its exit code, stdout and stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# A hang guard, below pytest's own; a busy machine is slow, not hanging.
TIMEOUT = 500


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


def command(*arguments: str | Path) -> list[str]:
    """The command line of a call, as a list."""
    return [sys.executable, "-m", "imgmigrate", *(str(argument) for argument in arguments)]


def imgmigrate(
    folder: Path, *arguments: str | Path, code: int | None = 0, env: Mapping[str, str] | None = None
) -> Ran:
    """Run `imgmigrate ARGUMENTS` in `folder`; the exit code must be `code`, if one is given."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )
    ran = Ran(done.returncode, done.stdout, done.stderr)
    assert code is None or ran.code == code, f"exit {ran.code}\n{ran.out}\n{ran.err}"
    return ran


def write_config(folder: Path, rules: str, *hosts: str, registries: str = "") -> Path:
    """Write `imgmigrate.yaml`: rules as YAML list items, hosts that speak plain HTTP."""
    plain = "".join(f'  "{host}": {{plain_http: true}}\n' for host in hosts)
    text = (
        f"version: 1\nregistries:\n{plain}{registries}" if plain or registries else "version: 1\n"
    )
    path = folder / "imgmigrate.yaml"
    path.write_text(f"{text}images:\n{rules}\n")
    return path
