"""`init` and `validate`: from nothing to a config that is known to be right."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from imgmigrate.cli.commands.write_test import check_write_test, is_approved, try_by_writing
from imgmigrate.cli.exit import Declined, Probed
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import open_config, shown
from imgmigrate.cli.given.foreign import foreign_options, say_notes
from imgmigrate.cli.given.oneshot import ENDS
from imgmigrate.cli.given.options import (
    DEFAULT_CONFIG,
    EVERY_ROW,
    Command,
    Settings,
    auto_approve_option,
    common_options,
    file_path,
    pass_settings,
    verbose_option,
)
from imgmigrate.cli.given.untrusted import untrusted_options
from imgmigrate.cli.outfile import check_new, save_to
from imgmigrate.cli.signals import interruptible
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imgmigrate.cli.output import Output
    from imgmigrate.config.model import Config
    from imgmigrate.events import Event, Sink
    from imgmigrate.render.schema import report_lines
    from imgmigrate.render.style import Style

__all__ = ["init", "validate"]

# Meant to be shared and committed: it holds names of secrets, not secrets.
SHARED_FILE = 0o644
_FROM = "From where? Such as quay.io/team/app, or harbor.old/team/** (nothing: examples): "
_TO = "Where to? Such as registry.new/team/app, or registry.new/{repository}: "
# States are not meant for git, and plans are made anew.
_WHY = "# imgmigrate: states and plans"
_IGNORED = ("/state/", "/*.out")


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate init
  imgmigrate init prod.yaml
  imgmigrate init --from quay.io/team/app --to registry.new/team/app
  imgmigrate init --from 'harbor.old/team/**' --to 'registry.new/{repository}'

\b
Exit codes: 0 written, 1 a file cannot be written, 64 the file is there
already, or no rule can be made of --from and --to.""",
)
@click.argument("file", required=False, type=file_path())
@click.option("--from", "source", metavar="SRC", help="The source of the first rule.")
@click.option("--to", "destinations", multiple=True, metavar="DST", help="Its destination.")
@common_options
@pass_settings
def init(
    settings: Settings, file: Path | None, source: str | None, destinations: tuple[str, ...]
) -> None:
    """Write a commented config to start from.

    FILE is imgmigrate.yaml if not given. On a terminal it asks from where images come and where
    they go, unless --from and --to say so. Beside FILE it puts its schema, for editors, and a
    .gitignore for states and plans, or adds to one. A file that exists is never overwritten.
    """
    path = file or settings.config or DEFAULT_CONFIG
    hint = "name another file: imgmigrate init FILE"
    check_new(path, settings, option="FILE", hint=hint)
    text = _starter(settings, path, source, destinations)
    save_to(settings, path, text.encode(), mode=SHARED_FILE)
    output, beside = settings.output, _surround(settings, path)
    config = () if path == DEFAULT_CONFIG else ("--config", str(path))
    following = partial(again, settings, drop=("--config", *ENDS))
    output.line(f"Wrote {path}{''.join(f', {each}' for each in beside)}. Edit it, then:")
    output.line(f"  {following('validate', *config)}")
    output.line(f"  {following('plan', *config, '--out', 'plan.out')}")


def _starter(
    settings: Settings, path: Path, source: str | None, destinations: tuple[str, ...]
) -> str:
    """Make the text, of what was asked where nobody said it; UsageError if it is no rule."""
    from imgmigrate.cli.starter import starter
    from imgmigrate.config.load import build_config
    from imgmigrate.config.reading.tree import parse_tree
    from imgmigrate.errors import ConfigError

    if sys.stdin.isatty() and not (source and destinations):
        with interruptible("nothing was written"):
            source = source or settings.output.ask(_FROM)
            if source and not destinations:
                destinations = tuple(settings.output.ask(_TO).split())
    if not source and not destinations:
        return starter()
    if not (source and destinations):
        given, other = ("--from", "--to DST") if source else ("--to", "--from SRC")
        raise UsageError(f"{given} is one end of two", hint=f"add {other}, or leave {given} out")
    text = starter(source, destinations)
    try:
        build_config(path, parse_tree(text, str(path)), text.encode(), os.environ)
    except ConfigError as error:
        is_there = "destination" in error.path
        option, value = ("--to", " ".join(destinations)) if is_there else ("--from", source)
        raise UsageError(error.cause, parameter=option, value=value, hint=error.hint) from None
    return text


def _surround(settings: Settings, path: Path) -> list[str]:
    """Put beside a config what editors and git need; what is there stays, or is added to.

    Returns the names of what was written.
    """
    from imgmigrate.cli.starter import SCHEMA
    from imgmigrate.files import is_stream
    from imgmigrate.schemas import schema_text

    written: list[str] = []
    if is_stream(path):
        return written
    schema = path.with_name(SCHEMA)
    if not os.path.lexists(schema):
        save_to(settings, schema, schema_text("config").encode(), mode=SHARED_FILE)
        written.append(schema.name)
    ignored = path.with_name(".gitignore")
    if os.path.lexists(ignored) and (ignored.is_symlink() or not ignored.is_file()):
        return written
    try:
        text = ignored.read_text("utf-8") if ignored.exists() else ""
    except (OSError, ValueError):
        return written
    there = {line.strip().strip("/").removesuffix("/*") for line in text.splitlines()}
    lines = [line for line in _IGNORED if line.strip("/") not in there]
    if lines:
        text += "" if text.endswith("\n") or not text else "\n"
        text += "".join(f"{line}\n" for line in (_WHY, *lines))
        save_to(settings, ignored, text.encode(), mode=SHARED_FILE)
        written.append(ignored.name)
    return written


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate validate
  imgmigrate validate -c prod.yaml
  imgmigrate validate --online        try each registry too
  imgmigrate validate --online --write-test registry.new/team/write-test
  imgmigrate validate --untrusted --trusted trusted.yaml

\b
Exit codes: 0 valid, 64 not valid; the message names file, line, key and fix.
With --online: 1 if a registry does not do what the rules need.
With --write-test: 1 if nothing can be pushed, or the answer was not yes.""",
)
@click.option(
    "--online",
    is_flag=True,
    help="Try each registry: reach, log in, list what wildcards match, pull, push (an upload is "
    "opened and cancelled).",
)
@click.option(
    "--write-test",
    metavar="REPOSITORY",
    help="Also find out what a registry does by pushing tiny images to HOST/REPOSITORY, which must "
    "be empty or absent, and keep it for plans on this machine. Asks first.",
)
@auto_approve_option
@verbose_option(EVERY_ROW)
@click.option("--json", "as_json", is_flag=True, help="Write JSON Lines to stdout.")
@untrusted_options
@foreign_options
@common_options
@pass_settings
def validate(
    settings: Settings,
    online: bool,
    write_test: str | None,
    auto_approve: bool,
    as_json: bool,
) -> Probed | Declined | None:
    """Check the config, without network and secrets unless --online asks for them."""
    output = settings.output
    if as_json:
        output.open_stream()
    if online and settings.untrusted:
        message = "--online opens uploads, and of a stranger's config none is opened"
        raise UsageError(message, hint="leave --online out")
    written = (
        check_write_test(write_test, online=online, auto_approve=auto_approve, as_json=as_json)
        if write_test is not None
        else None
    )
    config = open_config(settings)
    say_notes(settings, config)
    if output.stream is not None:
        output.stream.line(_valid(config), f"{shown(config.path)} is valid")
    else:
        for line in _found(config, output.style(), verbose=output.is_verbose):
            output.line(line)
    if not online:
        return None
    sink = _Notes(output)
    probed = _probe(config, output, sink)
    if written is not None:
        if not is_approved(output, written, auto_approve=auto_approve):
            return Declined()
        try_by_writing(config, written, output, sink)
    return probed


def _probe(config: Config, output: Output, sink: Sink) -> Probed:
    from imgmigrate.cli.run import run
    from imgmigrate.probing.probe import probe_all
    from imgmigrate.render.reports.probe import probe_headline, probe_line, probe_lines
    from imgmigrate.render.schema import report_lines

    reports = run(lambda: probe_all(config, sink=sink))
    works = all(report.works for report in reports)
    stream, headline = output.stream, probe_headline(reports)
    if stream is None:
        output.line("")
        for line in probe_lines(reports, output.style()):
            output.line(line)
        return Probed(works)
    level: Literal["info", "error"]
    for report in reports:
        message = f"{report.host}: {'works' if report.works else 'cannot do what is needed'}"
        level = "info" if report.works else "error"
        stream.line(probe_line(report), message, level)
    level = "info" if works else "error"
    stream.line(report_lines.ValidateSummary(works=works), headline, level)
    return Probed(works)


class _Notes:
    """A sink that says what takes time or is strange, on stderr or in the stream."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def emit(self, event: Event) -> None:
        """Say it."""
        from imgmigrate.events import NamesSkipped, Retrying, Warned
        from imgmigrate.redaction import printable

        event = event.warning if isinstance(event, NamesSkipped) else event
        if self._output.stream is not None:
            self._output.stream.emit(event)
        elif isinstance(event, Retrying):
            self._output.note(printable(f"{event.subject}: {event.cause}; trying again"))
        elif isinstance(event, Warned):
            self._output.warn(event.code, printable(event.message))


def _valid(config: Config) -> report_lines.Valid:
    from imgmigrate.render.schema import report_lines

    hosts, layouts = _stores(config)
    return report_lines.Valid(
        config=str(config.path),
        rules=len(config.rules) + len(config.globs),
        registries=hosts,
        layouts=layouts,
        **({"state": str(config.state_place)} if config.has_state else {}),
    )


def _stores(config: Config) -> tuple[list[str], int]:
    """The registries of all rules, and how many layouts; of a wildcard's, what one might be."""
    from imgmigrate.rules.templates import sample_rule

    hosts: set[str] = set()
    layouts: set[str] = set()
    for rule in (*config.rules, *(sample_rule(each, str(config.base)) for each in config.globs)):
        for repository in (rule.source, *(each.repository for each in rule.destinations)):
            if repository.is_layout:
                layouts.add(repository.path)
            else:
                hosts.add(repository.store)
    return sorted(hosts), len(layouts)


def _found(config: Config, style: Style, *, verbose: bool) -> Iterator[str]:
    from imgmigrate.render.reports.rules import rule_lines
    from imgmigrate.render.units import count

    total = len(config.rules) + len(config.globs)
    yield f"{shown(config.path)} is valid: {count(total, 'rule')}"
    yield from rule_lines(config, style, verbose=verbose)
    hosts, layouts = _stores(config)
    yield f"registries: {', '.join(hosts) or 'none'}"
    if layouts:
        yield f"OCI layouts: {layouts:,}"
    yield f"state: {shown(config.state_place) if config.has_state else 'not known here'}"
