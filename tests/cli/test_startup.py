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
# For tags that are chosen by version, and for a registry that fails.
UNUSUAL = ("semver", "stamina")
# What a config of ours in order has no use for, and what only other commands do.
OTHERS = (
    "imgmigrate.foreign.document",
    "imgmigrate.foreign.formats",
    "imgmigrate.foreign.recognise",
    "imgmigrate.planning.drift",
    "imgmigrate.state.exported",
    "imgmigrate.state.holder",
    "imgmigrate.state.local.lock",
    "imgmigrate.state.local.plans",
    "imgmigrate.state.local.repair",
    "imgmigrate.state.saved",
    "imgmigrate.state.writer",
)
PLANS = ("imgmigrate.events", "imgmigrate.plan", "imgmigrate.state")


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
    assert loaded((*HEAVY, *PLANS), *arguments) == "LOADED [] 0"


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A config with one rule, from a layout to a layout."""
    write_layout(tmp_path / "old", "v1", image())
    rule = '{source: "oci:./old:v1", destination: "oci:./new"}'
    path = tmp_path / "imgmigrate.yaml"
    path.write_text(f"version: 1\nimages: [{rule}]\n")
    return str(path)


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        ("validate", ("asyncio", *RARE, *UNUSUAL, *OTHERS, *PLANS)),
        ("plan", (*RARE, *UNUSUAL, *OTHERS)),
        ("status", RARE),
    ],
)
def test_a_command_loads_what_it_needs(
    config: str, command: str, unneeded: tuple[str, ...]
) -> None:
    """What only registries, updates, terminals or other commands need is not loaded without."""
    assert loaded(unneeded, command, "-c", config) == "LOADED [] 0"


def test_models_are_built_when_they_are_used() -> None:
    """To load what knows a model builds nothing that checks one; to check with it does."""
    script = (
        "from imgmigrate.config.reading.schema import FileModel, StateModel;"
        "from imgmigrate.plan import Change, Header;"
        "from imgmigrate.state.record import RECORDS, ImageRecord, Run;"
        "models = (FileModel, StateModel, Change, Header, ImageRecord, Run);"
        "print([each.__name__ for each in models if each.__pydantic_complete__]);"
        "print(RECORDS.pydantic_complete);"
        "StateModel(path='state');"
        "print([each.__name__ for each in models if each.__pydantic_complete__])"
    )
    assert python(script).stdout == "[]\nFalse\n['StateModel']\n"


def test_certificates_are_read_where_tls_is_spoken() -> None:
    """To load aiohttp reads none; what it has made for others reads all of them when it is used."""
    script = (
        "import ssl, imgmigrate.stores.registry.http;"
        "from aiohttp import connector;"
        "late = connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED;"
        "print([each.cert_store_stats()['x509'] for each in late]);"
        "[each.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname='a.b') for each in late];"
        "usual = ssl.create_default_context().cert_store_stats();"
        "print([each.cert_store_stats() == usual for each in late], {type(each) for each in late})"
    )
    assert python(script).stdout == "[0, 0]\n[True, True] {<class 'ssl.SSLContext'>}\n"


def test_a_short_command_looks_for_no_cycles(config: str) -> None:
    """Neither while it loads and works nor as it ends: all that is left is set aside for that."""
    script = (
        "import gc, sys;"
        "from imgmigrate.__main__ import main;"
        "looks = lambda: sum(each['collections'] for each in gc.get_stats());"
        "before = looks(); code = main();"
        "print('LOOKS', looks() - before, gc.get_freeze_count() > 0, code)"
    )
    assert python(script, "plan", "-c", config).stdout.splitlines()[-1] == "LOOKS 0 True 0"


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
