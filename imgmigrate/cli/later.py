"""Commands of later versions: named here so that they are refused with a clear word."""

from __future__ import annotations

import click

from imgmigrate.cli.given.options import Command, refuse_later

__all__ = ["later_command", "later_commands"]

_LATER = ("discover", "rewrite")


def later_command(name: str) -> click.Command:
    """Build a hidden command that takes anything and refuses it."""

    @click.pass_context
    def refuse(ctx: click.Context, /, **_: object) -> None:
        error = refuse_later(ctx.command_path)
        # The help that can help is the one of the group.
        error.ctx = ctx.parent
        raise error

    return Command(
        name,
        callback=refuse,
        params=[click.Argument(["anything"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
        hidden=True,
        help="Not supported yet by this version.",
    )


def later_commands() -> list[click.Command]:
    """Every top-level command of later versions."""
    return [later_command(name) for name in _LATER]
