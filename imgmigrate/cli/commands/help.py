"""`help`, `version`, `completion` and `schema`: they touch neither config nor state."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from imgmigrate import __version__
from imgmigrate.cli.given.options import Command, Settings, common_options, pass_settings
from imgmigrate.cli.shells import SHELLS, script
from imgmigrate.schemas import NAMES, schema_text

__all__ = ["completion", "schema", "show_help", "show_version"]


def _names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The commands that the words so far may go on with."""
    group = _follow(ctx.find_root(), ctx.params.get("words") or ()).command
    if not isinstance(group, click.Group):
        return []
    return [
        CompletionItem(name, help=each.get_short_help_str())
        for name, each in group.commands.items()
        if name.startswith(incomplete)
    ]


@click.command(
    "help",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate help plan
  imgmigrate help state rm

\b
Exit codes: 0 printed, 64 there is no such command.""",
)
@click.argument("words", metavar="[COMMAND]...", nargs=-1, shell_complete=_names)
@common_options
@click.pass_context
def show_help(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Print what a command does and takes, as its --help does."""
    root = ctx.find_root()
    root.ensure_object(Settings).output.line(_follow(root, words).get_help())


def _follow(ctx: click.Context, words: tuple[str, ...]) -> click.Context:
    """Follow words down to a command; a usage error for one that there is not."""
    for word in words:
        if not isinstance(ctx.command, click.Group):
            message = f"{ctx.command_path} has no commands of its own"
            raise click.UsageError(message, ctx)
        name, command, _ = ctx.command.resolve_command(ctx, [word])
        if command is None:
            return ctx
        ctx = click.Context(command, parent=ctx, info_name=name)
    return ctx


@click.command(
    "version",
    cls=Command,
    epilog="""\b
Example:
  imgmigrate version

\b
Exit codes: 0 printed.""",
)
@common_options
@pass_settings
def show_version(settings: Settings) -> None:
    """Print the version."""
    settings.output.line(f"imgmigrate {__version__}")


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  eval "$(imgmigrate completion bash)"        in ~/.bashrc
  source <(imgmigrate completion zsh)         in ~/.zshrc, after compinit
  imgmigrate completion fish | source         in ~/.config/fish/config.fish

\b
Exit codes: 0 printed, 64 no such shell.""",
)
@click.argument("shell", type=click.Choice(SHELLS))
@common_options
@pass_settings
def completion(settings: Settings, shell: str) -> None:
    """Print the script that makes TAB complete in a shell.

    TAB then knows commands, options and their values, the addresses of the state and the runs
    that may be rolled back.
    """
    settings.output.text(script(shell))


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate schema                          their names
  imgmigrate schema stream > stream.schema.json
  imgmigrate schema config > imgmigrate.schema.json   for editors

\b
Exit codes: 0 printed, 64 there is no such schema.""",
)
@click.argument("name", metavar="[NAME]", required=False, type=click.Choice(NAMES))
@common_options
@pass_settings
def schema(settings: Settings, name: str | None) -> None:
    """Print the JSON Schema of what programs read, or of the config.

    NAME is config (all of a config, for editors), plan (a line of a plan file), show (a line of
    show --format json), stream (a line of any command's --json), lock (all of
    imgmigrate.lock.yaml) or trusted (all of the file of --trusted).
    """
    if name is None:
        for each in NAMES:
            settings.output.line(each)
    else:
        settings.output.text(schema_text(name))
