"""How much the command line loads before it does anything."""

from __future__ import annotations

import pytest

from tests.cli.helpers import python

HEAVY = ("aiohttp", "asyncio", "deepdiff", "pydantic", "re2", "rich", "yaml")


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """Help is instant because no dependency but click is loaded for it."""
    script = (
        "import sys; from imgmigrate.cli import main; code = main(sys.argv[1:]);"
        f"print('LOADED', [n for n in {HEAVY!r} if n in sys.modules], code)"
    )
    done = python(script, *arguments)
    assert done.stdout.splitlines()[-1] == "LOADED [] 0"


def test_the_package_runs_as_a_module() -> None:
    """`python -m imgmigrate` is the command, exit code included."""
    script = (
        "import runpy, sys; sys.argv = ['imgmigrate', 'nonsense'];"
        "runpy.run_module('imgmigrate', run_name='__main__')"
    )
    done = python(script)
    assert done.returncode == 64
    assert "nonsense" in done.stderr
