"""Print the command line again: what to type to go on, with every option that was given.

The parser keeps what was typed (`Settings.given`), so values come back as they were written, and
defaults do not. A command that is printed has each of these options that it takes, in the order
in which they were typed, but for those that belong to the one command that was called.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TypeAlias

import click

from imgmigrate.cli.given.oneshot import ENDS, STATE, UNNAMED
from imgmigrate.cli.given.options import DEFAULT_CONFIG, Settings
from imgmigrate.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

__all__ = ["HELD", "again", "was_given"]

# An option's name and its values; a flag has none.
Given: TypeAlias = "Mapping[str, tuple[str, ...]]"

# What the config and the state are stands before what is to be done with them.
_WHERE = (
    *("--config", "--state", "--state-file", "--untrusted", "--trusted"),
    *(*ENDS, "--plain-http"),
    *("--list", "--scoped", "--images", "--auth", "--registry", "--namespace", "--os", "--arch"),
)
# They say how to tell of it, and a person who pastes a command reads what it prints.
_TELLING = ("--json", "--format", "--quiet", "--verbose")
# What was approved was this command.
_APPROVAL = ("--auto-approve",)
# A plan's file holds what these have made of it, and its apply refuses most of them.
HELD = (
    *("--target", "--target-file", "--exclude", "--replace", "--allow-overwrite"),
    *("--allow-delete", "--allow-delete-gone", "--forget", "--max-delete", "--no-refresh"),
    "--locked",
)


def again(settings: Settings, *words: str, drop: Collection[str] = ()) -> str:
    """Print the command of these words, with the options that were given and that it takes.

    An option among the words stands instead of the same that was given, or beside it if there
    may be several; those to `drop` are left out. A word that is no option's is an argument.
    """
    context = click.get_current_context()
    path, command, rest = _command(context.find_root().command, words)
    arguments, options = _told_apart(command, rest)
    taken = _options(command)
    dropped = {*drop, *_TELLING, *(() if command is context.command else _APPROVAL)}
    if _drops_ends(settings, path, taken):
        dropped.update(ENDS)
    elif "--from" not in taken and "--list" not in settings.foreign:
        dropped.add("--to")  # there it belongs to a list of images
    kept = {name: v for name, v in settings.given.items() if name in taken and name not in dropped}
    for name, values in options.items():
        before = kept.get(name, ()) if taken[name].multiple else ()
        kept[name] = tuple(dict.fromkeys((*before, *values)))
    kept |= _place(settings, taken, kept)
    # Alone, where neither two ends nor a list are taken, --to is the command's own.
    places = _WHERE if {"--from", "--list"} & taken.keys() else [n for n in _WHERE if n != "--to"]
    where = {name: values for name, values in kept.items() if name in places}
    others = {name: values for name, values in kept.items() if name not in places}
    if any(each.startswith("-") for each in arguments):
        what = (*_printed(others), "--", *arguments)
    else:
        what = (*arguments, *_printed(others))
    parts = (path[0], *_printed(where), *path[1:], *what)
    return shlex.join(["imgmigrate", *(redact(each) for each in parts)])


def was_given(settings: Settings, *names: str) -> bool:
    """Tell whether any of these options was typed."""
    return any(name in settings.given for name in names)


def _command(
    command: click.Command, words: Sequence[str]
) -> tuple[list[str], click.Command, Sequence[str]]:
    """Follow the words down to a command: its path, itself, and the words that are left."""
    depth = 0
    while isinstance(command, click.Group):
        command = command.commands[words[depth]]
        depth += 1
    return list(words[:depth]), command, words[depth:]


def _options(command: click.Command) -> dict[str, click.Option]:
    """The options of a command by their names."""
    return {
        name: option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
    }


def _told_apart(
    command: click.Command, words: Sequence[str]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Tell arguments from options."""
    taken, arguments = _options(command), []
    options: dict[str, tuple[str, ...]] = {}
    rest = iter(words)
    for word in rest:
        if word not in taken:
            arguments.append(word)
        elif taken[word].is_flag:
            options[word] = ()
        else:
            options[word] = (*options.get(word, ()), next(rest))
    return arguments, options


def _drops_ends(settings: Settings, path: Sequence[str], taken: Collection[str]) -> bool:
    """Tell whether the ends are left out.

    An apply need not name those of its plan, which knows them; beside a config they show that
    none is meant. Where only a state is looked at nobody has to fill them in. A list of images is
    read again.
    """
    if "--list" in settings.foreign:
        return False
    are_unnamed = settings.given.get("--from") == UNNAMED["--from"]
    if path == ["apply"]:
        return are_unnamed or not DEFAULT_CONFIG.exists()
    return are_unnamed and "--plain-http" not in taken


def _place(settings: Settings, taken: Collection[str], kept: Given) -> Given:
    """Name the state for a command that cannot be told what stands instead of a config."""
    if "--state" in kept:
        return {}
    if settings.oneshot and "--plain-http" not in taken and "--from" not in kept:
        return {"--state": (str(STATE),)}
    return {}


def _printed(options: Given) -> Iterator[str]:
    for name, values in options.items():
        yield from (part for value in values for part in (name, value)) if values else (name,)
