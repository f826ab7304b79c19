"""The example of the Python API, run as a reader would run it, between two real registries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import docker_registry as real
from tests.support import images, registries
from tests.support.cli import TIMEOUT, write_config

if TYPE_CHECKING:
    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "examples/migrate.py"


def run(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the example; its exit code must be `code`."""
    done = subprocess.run(
        [sys.executable, EXAMPLE, "imgmigrate.yaml", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_the_example_migrates(tmp_path: Path, docker_registry: StartRegistry) -> None:
    """It shows the plan, then receipts; a second run has nothing to do; conflicts are told."""
    image = images.image("first")
    real.put_on_disk(tmp_path / "old", "app", "1", image)
    old, new = docker_registry("old"), docker_registry("new")
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    write_config(tmp_path, rule, old.host, new.host)
    address = f"{new.host}/app:1"

    shown = run(tmp_path, code=3).stdout
    assert shown == f"copy      {address} from {old.host}/app:1: new\n1 to write, 0 unchanged\n"
    assert f"applied   {address} " in run(tmp_path, "--apply").stdout
    assert run(tmp_path).stdout == "0 to write, 1 unchanged\n"

    real.put_on_disk(tmp_path / "old", "app", "2", image)
    real.put_on_disk(tmp_path / "new", "app", "2", images.image("theirs"))
    told = run(tmp_path, "--apply", code=3).stdout
    assert f"conflict  {new.host}/app:2 - 0 bytes\n" in told
    assert "holds an image that imgmigrate did not write" in told


def test_the_example_goes_back(tmp_path: Path, docker_registry: StartRegistry) -> None:
    """What the last plan replaced is there again, by a plan that Python made and applied."""
    old, new = docker_registry("old"), docker_registry("new")
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    write_config(tmp_path, rule, old.host, new.host)
    first, second = images.image("first"), images.image("second")
    for image in (first, second):
        registries.push(old.remote, "app", "1", image)
        run(tmp_path, "--apply")
    registries.assert_holds(new.remote, "app", "1", second)
    assert f"applied   {new.host}/app:1 " in run(tmp_path, "--undo").stdout
    registries.assert_holds(new.remote, "app", "1", first)


def test_the_example_tells_what_is_wrong(tmp_path: Path) -> None:
    """An error has its message, its hint and its exit code."""
    done = run(tmp_path, code=64)
    assert "imgmigrate.yaml: there is no such file" in done.stderr
    assert "imgmigrate init" in done.stderr
