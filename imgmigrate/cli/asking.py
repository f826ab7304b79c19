"""Ask before something is changed: only the word `yes`, only where somebody can answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imgmigrate.cli.options import seconds
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.cli.output import Output

__all__ = ["approved", "changing_options", "check_can_ask"]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")


def changing_options(function: _Decorated) -> _Decorated:
    """Add what every command has that changes the state: look, approve, wait, as data."""
    options = (
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        click.option("--auto-approve", is_flag=True, help="Do not ask."),
        click.option(
            "--lock-timeout",
            type=seconds,
            default=0,
            metavar="TIME",
            help="How long to wait for another run, such as 90s or 5m.  [default: 0]",
        ),
        click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def check_can_ask(*, dry_run: bool, auto_approve: bool, as_json: bool) -> None:
    """Refuse at the start what could not be approved at the end."""
    if dry_run or auto_approve:
        return
    hint = "approve with --auto-approve, or look with --dry-run"
    if as_json:
        message = "--json cannot ask for approval"
        raise UsageError(message, hint=hint)
    if not sys.stdin.isatty():
        message = "there is no terminal to ask for approval"
        raise UsageError(message, hint=hint)


def approved(output: Output, question: str, *, auto_approve: bool) -> bool:
    """Ask, unless that was answered before; anything but `yes` is no, and said."""
    if auto_approve or output.ask(f"\n{question} Only yes is accepted: ") == "yes":
        return True
    output.note("not done; nothing was changed")
    return False
