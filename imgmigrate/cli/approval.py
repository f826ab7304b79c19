"""Ask before something is changed: only the word `yes`, only where somebody can answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imgmigrate.cli.given.options import (
    auto_approve_option,
    json_option,
    lock_timeout_option,
    with_options,
)
from imgmigrate.cli.signals import interruptible
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.cli.output import Output

__all__ = ["approved", "changing_options", "check_can_ask"]

UNCHANGED = "nothing was changed"

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")


def changing_options(function: _Decorated) -> _Decorated:
    """Add what every command has that changes the state: look, approve, wait, as data."""
    options = (
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        auto_approve_option,
        lock_timeout_option,
        json_option,
    )
    return with_options(function, options)


def check_can_ask(
    *,
    auto_approve: bool,
    as_json: bool,
    dry_run: bool = False,
    instead: str = "look with --dry-run",
) -> None:
    """Refuse at the start what could not be approved at the end; `instead` is for the hint."""
    if dry_run or auto_approve:
        return
    hint = f"approve with --auto-approve, or {instead}"
    if as_json:
        message = "--json cannot ask for approval"
        raise UsageError(message, hint=hint)
    if not sys.stdin.isatty():
        message = "there is no terminal to ask for approval"
        raise UsageError(message, hint=hint)


def approved(
    output: Output, question: str, *, auto_approve: bool, refused: str = "not done"
) -> bool:
    """Ask, unless that was answered before; anything but `yes` is no, and said."""
    if auto_approve:
        return True
    with interruptible(UNCHANGED):
        answer = output.ask(f"\n{question} Only yes is accepted: ")
    if answer == "yes":
        return True
    output.note(f"{refused}; {UNCHANGED}")
    return False
