"""`help`, `version` and the list of commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from imgmigrate import __version__
from imgmigrate.cli import commands
from tests.cli.given.test_options import every_command

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

FIRST = ["init", "validate", "plan", "show", "apply", "copy", "status", "verify"]


@pytest.mark.parametrize("name", sorted(every_command()))
def test_help_prints_what_the_option_prints(cli: Cli, name: str) -> None:
    """`help CMD` and `CMD --help` are one text, for commands of commands too."""
    assert cli(*name.split(), "--help") == 0
    text = cli.out
    assert cli("help", *name.split()) == 0
    assert (cli.out, cli.err) == (text, "")


@pytest.mark.parametrize(
    ("words", "named"),
    [("nonsense", "'nonsense'"), ("plan more", "no commands of its own"), ("sync", "apply")],
)
def test_help_of_what_is_not_there_is_refused(cli: Cli, words: str, named: str) -> None:
    """The same words as without `help`, and its exit code."""
    assert cli("help", *words.split()) == 64
    assert cli.out == ""
    assert named in cli.err


@pytest.mark.parametrize("word", ["version", "-v", "-V", "--version", "-version"])
def test_each_way_to_ask_for_the_version_tells_it_alone(cli: Cli, word: str) -> None:
    """Nobody has to know which of the usual ones is ours."""
    assert cli(word) == 0
    assert (cli.out, cli.err) == (f"imgmigrate {__version__}\n", "")


def test_commands_are_listed_in_the_order_of_the_work(cli: Cli) -> None:
    """Who reads the list from above reads what to do next, each with its whole sentence."""
    assert cli("-h") == 0
    listed = re.findall(r"^  ([a-z]+)  ", cli.out.partition("Commands:")[2], re.MULTILINE)
    assert listed[: len(FIRST)] == FIRST
    assert set(listed) == set(commands.commands)
    words = " ".join(cli.out.split())
    for name, command in commands.commands.items():
        assert f" {name} {command.get_short_help_str(1000)} " in words
