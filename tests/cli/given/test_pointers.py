"""Words and options of other tools."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from imgmigrate.cli import commands
from imgmigrate.cli.given.pointers import OF_COMMANDS, OF_OPTIONS, OF_STATE

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

POINTERS = [*OF_COMMANDS.values(), *OF_STATE.values(), *OF_OPTIONS.values()]
_CALL = re.compile(r"`imgmigrate ([^`]+)`")
_OPTION = re.compile(r"(?<![\w-])(--?[A-Za-z][\w-]*)")


@pytest.mark.parametrize(
    ("words", "pointer"),
    [
        ("import", "imgmigrate adopt"),
        ("refresh", "plan --refresh-only"),
        ("destroy", "plan --allow-delete"),
        ("sync", "imgmigrate apply"),
        ("diff", "imgmigrate plan"),
        ("unlock", "imgmigrate state lock"),
        ("fmt", "YAML"),
        ("log", "imgmigrate state log"),
        ("inspect", "imgmigrate state show"),
        ("plan --proc 3", "--parallelism"),
        ("plan -proc=3", "--parallelism"),
        ("apply --retries 5", "--wait-for-registries"),
        ("plan --images-file x", "--images"),
        ("plan -var a=b", "${NAME}"),
        ("--debug plan", "--log-level debug"),
        ("apply -y", "--auto-approve"),
        ("status -v", "--log-level debug"),
    ],
)
def test_a_word_of_another_tool_points_to_ours(cli: Cli, words: str, pointer: str) -> None:
    """It is wrong usage all the same: nothing is done, and stdout stays empty."""
    assert cli(*words.split()) == 64
    assert cli.out == ""
    first = cli.err.splitlines()[0]
    assert first.startswith("Error: imgmigrate")
    assert " has no " in first
    assert pointer in first


def test_a_word_of_nobodys_is_only_refused(cli: Cli) -> None:
    """Click's own words and its guess stay for what is just misspelt."""
    assert cli("plna") == 64
    assert "No such command 'plna'. Did you mean 'plan'?" in cli.err
    assert cli("plan", "--tarket", "x") == 64
    assert "--target" in cli.err


@pytest.mark.parametrize("pointer", sorted(set(POINTERS)))
def test_what_is_pointed_to_is_there(pointer: str) -> None:
    """Every command that is named, with its options, and every option that some command has."""
    everything = _options(commands)
    for call in _CALL.findall(pointer):
        command: click.Command = commands
        for word in call.split():
            if isinstance(command, click.Group) and not word.startswith("-"):
                assert word in command.commands, call
                command = command.commands[word]
        own = {name for each in command.params for name in each.opts}
        assert set(_OPTION.findall(call)) <= own, call
    assert set(_OPTION.findall(pointer)) <= everything


def _options(command: click.Command) -> set[str]:
    own = {name for each in command.params for name in each.opts}
    if isinstance(command, click.Group):
        own = own.union(*(_options(each) for each in command.commands.values()))
    return own
