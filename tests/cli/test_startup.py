"""How much the command line loads before it does anything, and to do what needs little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.given.test_suggestions import remember
from tests.cli.helpers import python
from tests.support.images import image
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("aiohttp", "asyncio", "deepdiff", "pydantic", "re2", "rich", "yaml")
# For registries, for what changes inside an image, and for a terminal that can be redrawn.
RARE = ("aiohttp", "deepdiff", "rich")


def loaded(names: tuple[str, ...], *arguments: str) -> str:
    """Run a command in a fresh interpreter; say which of these it loaded, and its exit code."""
    script = (
        "import sys; from imgmigrate.cli import main; code = main(sys.argv[1:]);"
        f"print('LOADED', [n for n in {names!r} if n in sys.modules], code)"
    )
    return python(script, *arguments).stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """Help is instant because no dependency but click is loaded for it."""
    assert loaded(HEAVY, *arguments) == "LOADED [] 0"


@pytest.mark.parametrize(
    ("command", "unneeded"), [("validate", ("asyncio", *RARE)), ("plan", RARE), ("status", RARE)]
)
def test_a_command_loads_what_it_needs(
    tmp_path: Path, command: str, unneeded: tuple[str, ...]
) -> None:
    """What only registries, updates or terminals need is not loaded where there are none."""
    write_layout(tmp_path / "old", "v1", image())
    rule = '{source: "oci:./old:v1", destination: "oci:./new"}'
    config = tmp_path / "imgmigrate.yaml"
    config.write_text(f"version: 1\nimages: [{rule}]\n")
    assert loaded(unneeded, command, "-c", str(config)) == "LOADED [] 0"


def test_tab_loads_nothing_heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key press is answered at once: the state is looked through without any of it."""
    remember(tmp_path / "state" / "imgmigrate", "registry.new/a:1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_IMGMIGRATE_COMPLETE", "zsh_complete")
    monkeypatch.setenv("_IMGMIGRATE_LINE", "imgmigrate plan --target ")
    script = "from imgmigrate.cli import main; main()"
    assert python(script).stdout == "plain\tregistry.new/a:1\t\n"
    assert loaded(HEAVY) == "LOADED [] 0"


def test_the_package_runs_as_a_module() -> None:
    """`python -m imgmigrate` is the command, exit code included."""
    script = (
        "import runpy, sys; sys.argv = ['imgmigrate', 'nonsense'];"
        "runpy.run_module('imgmigrate', run_name='__main__')"
    )
    done = python(script)
    assert done.returncode == 64
    assert "nonsense" in done.stderr
