"""`init` and `validate`: from nothing to a config that is known to be right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from imgmigrate.cli.options import (
    DEFAULT_CONFIG,
    Command,
    Settings,
    common_options,
    file_path,
    pass_settings,
)
from imgmigrate.cli.wiring import command_line, open_config, shown
from imgmigrate.errors import ImgmigrateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imgmigrate.config.model import Config, Rule

__all__ = ["init", "validate"]

# Meant to be shared and committed: it holds names of secrets, not secrets.
SHARED_FILE = 0o644


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate init
  imgmigrate init prod.yaml

\b
Exit codes: 0 written, 64 the file is there already.""",
)
@click.argument("file", required=False, type=file_path())
@common_options
@pass_settings
def init(settings: Settings, file: Path | None) -> None:
    """Write a commented config to start from.

    FILE is imgmigrate.yaml if not given. A file that exists is never overwritten.
    """
    from imgmigrate.config.starter import STARTER
    from imgmigrate.files import write_atomically

    path = file or settings.config or DEFAULT_CONFIG
    if os.path.lexists(path):
        message = f"{path} exists already and is left as it is"
        raise UsageError(message, hint="name another file: imgmigrate init FILE")
    try:
        write_atomically(path, STARTER.encode(), mode=SHARED_FILE)
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror}"
        raise ImgmigrateError(message) from None
    output = settings.output
    config = () if path == DEFAULT_CONFIG else ("--config", str(path))
    output.line(f"Wrote {path}. Edit it, then:")
    output.line(f"  {command_line(Settings(output), 'validate', *config)}")
    output.line(f"  {command_line(Settings(output), 'plan', *config, '--out', 'plan.out')}")


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate validate
  imgmigrate validate -c prod.yaml

\b
Exit codes: 0 valid, 64 not valid; the message names file, line, key and fix.""",
)
@common_options
@pass_settings
def validate(settings: Settings) -> None:
    """Check the config, without network and secrets."""
    config = open_config(settings)
    for line in _found(config):
        settings.output.line(line)


def _found(config: Config) -> Iterator[str]:
    from imgmigrate.errors import printable
    from imgmigrate.render.units import count

    yield f"{shown(config.path)} is valid: {count(len(config.rules), 'rule')}"
    for rule in config.rules:
        yield f"  {rule.number}. {printable(str(rule.source))} ({printable(_tags(rule))})"
        yield from (f"     -> {printable(str(each.repository))}" for each in rule.destinations)
    repositories = [rule.source for rule in config.rules]
    repositories += [each.repository for rule in config.rules for each in rule.destinations]
    hosts = sorted({each.store for each in repositories if not each.is_layout})
    layouts = {each.path for each in repositories if each.is_layout}
    yield f"registries: {', '.join(hosts) or 'none'}"
    if layouts:
        yield f"OCI layouts: {len(layouts):,}"
    yield f"state: {shown(config.state)}"


def _tags(rule: Rule) -> str:
    if rule.digest:
        return f"digest {rule.digest.short}"
    if rule.tags is None:
        return "all tags"
    return "tags " + ", ".join(str(each) for each in rule.tags)
