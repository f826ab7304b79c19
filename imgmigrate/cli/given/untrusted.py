"""`--untrusted`: check and plan a config that a stranger wrote, and what such a plan lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from imgmigrate.cli.given.options import (
    DEFAULT_CONFIG,
    Settings,
    file_path,
    remember,
    with_options,
)
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from imgmigrate.cli.given.choice import Planning
    from imgmigrate.config.model import Config

__all__ = [
    "load_untrusted",
    "refuse_recording",
    "refuse_without_state",
    "state_file_option",
    "untrusted_options",
]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")


def untrusted_options(function: _Decorated) -> _Decorated:
    """Add `--untrusted` and `--trusted FILE` to a command; they are kept in the settings."""
    options = (
        click.option(
            "--untrusted",
            is_flag=True,
            expose_value=False,
            callback=remember("untrusted"),
            help="A stranger wrote the config: refuse what --trusted does not allow.",
        ),
        click.option(
            "--trusted",
            type=file_path(),
            metavar="FILE",
            expose_value=False,
            callback=remember("trusted"),
            help="What it may use: registries, variables. Yours, not the stranger's.",
        ),
    )
    return with_options(function, options)


def state_file_option(function: _Decorated) -> _Decorated:
    """Add `--state-file FILE` to a command; it is kept in the settings."""
    return click.option(
        "--state-file",
        type=file_path(),
        metavar="FILE",
        expose_value=False,
        callback=remember("state_file"),
        help="A state that state export wrote, instead of a folder.",
    )(function)


def load_untrusted(settings: Settings) -> Config:
    """Load a stranger's config within the trusted file; UsageError for options that contradict."""
    from imgmigrate.config.trusted import load_trusted
    from imgmigrate.foreign.load import load_config

    if not settings.untrusted:
        message = "--trusted says what a stranger's config may use"
        raise UsageError(message, hint="add --untrusted, or leave it out")
    if settings.trusted is None:
        message = "--untrusted allows what a file of yours names, and none is named"
        raise UsageError(
            message, hint="add --trusted FILE, outside of what the stranger can change"
        )
    for given in (settings.oneshot, settings.foreign):
        if given:
            message = f"--untrusted is for a config of imgmigrate's, not for {next(iter(given))}"
            raise UsageError(message, hint="leave one of them out")
    trusted = load_trusted(settings.trusted)
    config = load_config(settings.config or DEFAULT_CONFIG, trusted=trusted)
    if trusted.path.absolute().resolve().is_relative_to(config.base.resolve()):
        message = f"{trusted.path}: the trusted file lies in the config's folder, where whoever "
        settings.output.warn("trusted_within_reach", f"{message}changes the config may change it")
    return config


def refuse_without_state(settings: Settings, planning: Planning, **others: bool) -> None:
    """Refuse options that are about what is recorded, where a stranger's config decides it."""
    if not settings.untrusted:
        return
    given = {
        "allow_delete": planning.allow_delete,
        "allow_delete_gone": planning.allow_delete_gone,
        "forget": planning.forget,
        **others,
    }
    for name, value in given.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            message = f"{option}: a plan of a stranger's config deletes nothing and lets nothing go"
            raise UsageError(message, hint=f"leave {option} out, or plan where it is trusted")


def refuse_recording(settings: Settings, config: Config) -> None:
    """Refuse `--record` where nothing is written beside the state."""
    if settings.untrusted:
        message = "--record: what a stranger's config leads to is not noted where the state is"
    elif config.state_file is not None:
        message = f"--record: --state-file {config.state_file} is an export, which nothing changes"
    else:
        return
    raise UsageError(message, hint="leave --record out, or plan where it is trusted")
