"""Global options, one-dash options, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from imgmigrate.cli import commands
from imgmigrate.cli.given.options import (
    Command,
    Group,
    Settings,
    common_options,
    pass_settings,
    seconds,
)
from imgmigrate.cli.output import Output, logging_to_stderr

if TYPE_CHECKING:
    from tests.cli.helpers import Cli


@click.group(cls=Group)
@common_options
def tool() -> None:
    """Stand in for the real group."""


@tool.command("go")
@click.option("--out")
@click.option("--flag", is_flag=True)
@click.argument("rest", nargs=-1)
@common_options
@pass_settings
def go(settings: Settings, out: str | None, flag: bool, rest: tuple[str, ...]) -> object:
    """Return what was understood."""
    return out, flag, rest, settings


def understood(*arguments: str) -> tuple[str | None, bool, tuple[str, ...], Settings]:
    settings = Settings(Output())
    # As for a real command: the level that is asked for ends with it.
    with logging_to_stderr(settings):
        found: tuple[str | None, bool, tuple[str, ...], Settings] = tool.main(
            list(arguments), standalone_mode=False, obj=settings
        )
    return found


@pytest.mark.parametrize(
    ("arguments", "out", "flag", "rest"),
    [
        (["--out", "x"], "x", False, ()),
        (["-out", "x"], "x", False, ()),
        (["-out=x", "-flag"], "x", True, ()),
        (["-out=-x"], "-x", False, ()),
        (["-out", "-flag"], "-flag", False, ()),
        (["a", "-flag", "b"], None, True, ("a", "b")),
        (["--", "-flag"], None, False, ("-flag",)),
        (["-cprod.yaml", "a"], None, False, ("a",)),
        (["-"], None, False, ("-",)),
    ],
)
def test_long_options_work_with_one_dash(
    arguments: list[str], out: str | None, flag: bool, rest: tuple[str, ...]
) -> None:
    """`-out x` is `--out x`; values, short options and what follows `--` are left alone."""
    assert understood("go", *arguments)[:3] == (out, flag, rest)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-config", "p.yaml", "--state=s", "-no-color", "-log-level", "info", "go"],
        ["go", "-c", "p.yaml", "-state", "s", "--no-color", "--log-level=info"],
        ["-c", "other.yaml", "--state=s", "go", "-config=p.yaml", "-no-color", "-log-level=info"],
        ["-cp.yaml", "-state=s", "go", "--no-color", "--log-level", "info"],
    ],
)
def test_global_options_work_before_and_after_the_command(arguments: list[str]) -> None:
    """Wherever they stand they mean the same, and the last one wins."""
    settings = understood(*arguments)[3]
    assert (settings.config, settings.state) == (Path("p.yaml"), "s")
    assert settings.log_level == "info"
    assert settings.output.no_color
    assert (settings.given["--config"], settings.given["--state"]) == (("p.yaml",), ("s",))


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--detailed"],
        ["plan", "-detailed-exit"],
        ["plan", "--parallelism", "0"],
        ["plan", "--parallelism", "many"],
        ["plan", "--sizes", "maybe"],
        ["plan", "extra"],
        ["plan", "--out"],
        ["plans"],
        ["--nonsense"],
        ["state"],
        ["state", "rm"],
        ["show", "--format", "yaml"],
        ["show", "--only", "deletes", "plan.out"],
        ["show", "--only", "copy"],
        ["apply", "--lock-timeout", "soon"],
        ["apply", "--expect-sha256", "ab", "--auto-approve"],
        ["-log-level", "loud", "validate"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_64(cli: Cli, arguments: list[str]) -> None:
    """A usage error is never 2, which means that changes are planned; help goes to stderr."""
    assert cli(*arguments) == 64
    assert cli.out == ""
    assert cli.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["show", "plan.out", "-format=pdf"], "'pdf' is not one of text, json, markdown"),
        (["discover"], "discover"),
        (["rewrite", "--help"], "rewrite"),
    ],
)
def test_what_is_not_there_is_named(cli: Cli, arguments: list[str], named: str) -> None:
    """One sentence says so; nothing is ignored or guessed."""
    assert cli(*arguments) == 64
    assert named in cli.err
    assert cli.out == ""


def every_command() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {"": commands}
    for name, command in commands.commands.items():
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": each for inner, each in command.commands.items()}
    return {name: command for name, command in found.items() if not command.hidden}


@pytest.mark.parametrize("name", sorted(every_command()))
def test_help_teaches(cli: Cli, name: str) -> None:
    """Each command says what it does, shows an example and the exit codes that matter."""
    assert cli(*name.split(), "--help") == 0
    assert cli.err == ""
    assert max(len(line) for line in cli.out.splitlines()) <= 80
    if name != "state":
        assert "Example" in cli.out
        assert "Exit codes" in cli.out
    for later in ("discover",):
        assert later not in cli.out


@pytest.mark.parametrize("name", sorted(every_command()))
def test_every_command_takes_the_global_options_and_one_dash(name: str) -> None:
    """No command is built without what all share."""
    command = every_command()[name]
    assert isinstance(command, (Command, Group))
    options = {option for param in command.params for option in param.opts}
    assert {"-c", "--config", "--state", "--log-level", "--no-color", "-h"} <= options


def test_the_version_is_printed(cli: Cli) -> None:
    """`--version` and `-version` print the version alone."""
    assert cli("-version") == 0
    assert cli.out.startswith("imgmigrate ")


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("90", 90), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("1d", 86_400)],
)
def test_durations_are_read_with_units(text: str, number: float) -> None:
    """A duration is seconds, or has a unit."""
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["", "m", "-1", "1y", "1 m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A duration that cannot be read is a usage error that shows how to write one."""
    with pytest.raises(click.BadParameter, match="90s"):
        seconds(text)
