"""What all commands share: the global options, one-dash long options, refusals.

Global options work before and after the command; the last one wins. Long options work with
one dash too (`-out plan.out`), as Terraform's users type them; abbreviations do not.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct, field

from imgmigrate.cli.given.pointers import no_such_command, pointed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgmigrate.cli.output import Output

__all__ = [
    "DEFAULT_CONFIG",
    "EVERY_IMAGE",
    "EVERY_ROW",
    "PARALLELISM",
    "Command",
    "Group",
    "Settings",
    "auto_approve_option",
    "common_options",
    "file_path",
    "json_option",
    "kept_option",
    "lock_timeout_option",
    "locked_option",
    "on_rate_limit_option",
    "parallelism_option",
    "pass_settings",
    "remember",
    "seconds",
    "telling_options",
    "verbose_option",
    "with_options",
]

DEFAULT_CONFIG = Path("imgmigrate.yaml")
LOG_LEVELS = ("debug", "info", "warning", "error")
# Characters; no first sentence of a docstring is as long.
UNCUT = 1000
PARALLELISM = 32
# More open images than this only queue for the registries' own limits.
MOST_PARALLELISM = 1024
# What `--verbose` adds.
EVERY_ROW = "List every row of long lists."
EVERY_IMAGE = "A line for each image, and every row of long lists."

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")


class Settings(Struct):
    """The global options, and where output goes."""

    output: Output
    config: Path | None = None
    state: str | None = None
    log_level: str = "warning"
    # Options for others' files, by their names: a list of images, image-syncer's.
    foreign: dict[str, Any] = field(default_factory=dict)
    # Options of a plan without a config, by their names; and what messages call its ends.
    oneshot: dict[str, Any] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    # Options that choose addresses and say how to plan, by their names.
    planning: dict[str, Any] = field(default_factory=dict)
    # Options that end a run, by their names.
    limits: dict[str, Any] = field(default_factory=dict)
    # Plan from the pins alone.
    locked: bool = False
    # A stranger wrote the config, which may use what this file names.
    untrusted: bool = False
    trusted: Path | None = None
    # An exported state, read instead of a folder.
    state_file: Path | None = None
    # The options that were typed, by their names, with their values as they were written.
    given: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_debugging(self) -> bool:
        """Tell whether tracebacks are wanted."""
        return self.log_level == "debug"

    def set_log_level(self, level: str) -> None:
        """Log from this level on."""
        self.log_level = level
        own = logging.getLogger("imgmigrate")
        own.setLevel(level.upper())
        # Libraries tell of selectors, and one that signs requests of what it signs.
        logging.getLogger().setLevel(max(logging.WARNING, own.level))

    def settle(self) -> None:
        """Give a list of images what a plan without a config has too: where they go, and how."""
        if "--list" in self.foreign:
            for name in ("--to", "--plain-http"):
                if name in self.oneshot:
                    self.foreign[name] = self.oneshot.pop(name)


pass_settings = click.make_pass_decorator(Settings)


class Command(click.Command):
    """A command whose long options work with one dash too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give one-dash long options their second dash, then parse."""
        args = _two_dashes(self.get_params(ctx), args, all_of_them=True)
        try:
            _note_given(self, ctx, args)
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise pointed(error) from None
        settings = ctx.find_object(Settings)
        if settings is not None:
            settings.settle()
        return rest


class Group(click.Group):
    """A group whose long options work with one dash too, and which knows others' words."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give one-dash long options their second dash, up to the subcommand, then parse."""
        args = _two_dashes(self.get_params(ctx), args, all_of_them=False)
        try:
            _note_given(self, ctx, args)
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise pointed(error) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a word of another tool gets a pointer to ours."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            message = no_such_command(self.name or "", args[0])
            if message is not None:
                raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added, that of the work."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its whole first sentence."""
        shown = [(name, each) for name, each in self.commands.items() if not each.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(UNCUT)) for name, each in shown])


Group.group_class = Group


def _two_dashes(
    params: Sequence[click.Parameter], args: list[str], *, all_of_them: bool
) -> list[str]:
    """Rewrite `-out` to `--out`; values of options and what follows `--` stay as they are."""
    takes_value = {
        name: not (option.is_flag or option.count)
        for option in params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    rewritten: list[str] = []
    rest = iter(args)
    for token in rest:
        if token == "--" or (not all_of_them and not token.startswith("-")):
            rewritten.append(token)
            break
        name, equals, _ = token.partition("=")
        # `-cfile` is the short option -c and its value; `-config` is the long option.
        is_long = re.fullmatch(r"-[A-Za-z][A-Za-z0-9-]+", name) and (
            f"-{name}" in takes_value or name[:2] not in takes_value
        )
        if is_long:
            token, name = f"-{token}", f"-{name}"
        rewritten.append(token)
        if takes_value.get(name) and not equals:
            rewritten += [value for value in [next(rest, None)] if value is not None]
    return [*rewritten, *rest]


def _note_given(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Keep the options that are typed, before click turns their values into others."""
    settings = ctx.find_object(Settings)
    if settings is None:
        return
    values, _, order = command.make_parser(ctx).parse_args(args=list(args))
    for option in dict.fromkeys(order):
        if isinstance(option, click.Option):
            value = () if option.is_flag else values[str(option.name)]
            # Of two spellings the long one is the name.
            name = max(option.opts, key=len)
            settings.given[name] = (value,) if isinstance(value, str) else tuple(value)


def file_path(*, exists: bool = False) -> click.Path:
    """A parameter that names a file; whether it can be read is for whoever reads it to say."""
    return click.Path(path_type=Path, dir_okay=not exists, exists=exists)


def seconds(value: str | float) -> float:
    """Read a span of time: `90`, `90s`, `5m`, `1h`; a usage error says how to write one."""
    from imgmigrate.config.values.quantities import read_duration

    try:
        return read_duration(value)
    except ValueError as error:
        message = f"{value!r} {error}"
        raise click.BadParameter(message) from None


def remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Make a callback that stores an option in the settings, if it was given here."""

    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        settings = ctx.find_object(Settings)
        if settings is None or value is None or value is False:
            return
        if name == "log_level":
            settings.set_log_level(value)
        elif name in ("no_color", "is_quiet", "is_verbose"):
            setattr(settings.output, name, True)
        else:
            setattr(settings, name, value)

    return callback


def with_options(
    function: _Decorated, options: Sequence[Callable[[_Decorated], _Decorated]]
) -> _Decorated:
    """Add several options to a command, as `--help` lists them."""
    for option in reversed(options):
        function = option(function)
    return function


def common_options(function: _Decorated) -> _Decorated:
    """Add the global options to a command or group."""
    options = (
        click.option(
            "-c",
            "--config",
            type=file_path(),
            expose_value=False,
            callback=remember("config"),
            help=f"The config.  [default: {DEFAULT_CONFIG}]",
        ),
        click.option(
            "--state",
            type=click.Path(),
            metavar="PLACE",
            expose_value=False,
            callback=remember("state"),
            help="The state's folder or backend, instead of the config's.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(LOG_LEVELS),
            expose_value=False,
            callback=remember("log_level"),
            help="What to log on stderr.  [default: warning]",
        ),
        click.option(
            "--no-color",
            is_flag=True,
            expose_value=False,
            callback=remember("no_color"),
            help="No colours; NO_COLOR does the same.",
        ),
        click.help_option("-h", "--help"),
    )
    return with_options(function, options)


def locked_option(function: _Decorated) -> _Decorated:
    """Add `--locked` to a command; whether it is given is kept in the settings."""
    return click.option(
        "--locked",
        is_flag=True,
        expose_value=False,
        callback=remember("locked"),
        help="Plan what pin wrote down, whatever the sources show now.",
    )(function)


def kept_option(
    name: str,
    group: str,
    *,
    convert: Callable[[click.Context, click.Parameter, Any], Any] | None = None,
    **settings: Any,
) -> Callable[[_Decorated], _Decorated]:
    """Add an option whose value goes into one of the settings' groups, converted if need be."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        value = convert(ctx, param, value) if convert else value
        found = ctx.find_object(Settings)
        if found is not None and value not in (None, ()):
            getattr(found, group)[name] = value

    return click.option(name, expose_value=False, callback=callback, **settings)


def parallelism_option(about: str) -> Callable[[_Decorated], _Decorated]:
    """Add `--parallelism N`; `about` is its help."""
    return click.option(
        "--parallelism",
        type=click.IntRange(1, MOST_PARALLELISM),
        default=PARALLELISM,
        show_default=True,
        metavar="N",
        help=about,
    )


json_option = click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout.")


def telling_options(everything: str) -> Callable[[_Decorated], _Decorated]:
    """Add `--quiet` and `--verbose`, of which the settings' output knows; `everything` is a help.

    A stream of JSON tells everything anyway, and nothing of it goes away.
    """
    quiet = click.option(
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=remember("is_quiet"),
        help="Only how it ends, and warnings; goes before --verbose.",
    )
    return lambda function: with_options(function, (quiet, verbose_option(everything)))


def verbose_option(everything: str) -> Callable[[_Decorated], _Decorated]:
    """Add `--verbose` to a command; `everything` is its help."""
    return click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=remember("is_verbose"),
        help=everything,
    )


auto_approve_option = click.option("--auto-approve", is_flag=True, help="Do not ask.")

lock_timeout_option = click.option(
    "--lock-timeout",
    type=seconds,
    default=0,
    metavar="TIME",
    help="How long to wait for another run, such as 90s or 5m.  [default: 0]",
)

on_rate_limit_option = click.option(
    "--on-rate-limit",
    type=click.Choice(("wait", "stop")),
    default="wait",
    show_default=True,
    help="What to do when no pulls are left at Docker Hub.",
)
