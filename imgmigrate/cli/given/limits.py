"""The options of `apply` that end a run, or let none begin: failures, time, a plan's age."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from imgmigrate.cli.given.options import Settings, kept_option, seconds, with_options
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.values.shares import Share

__all__ = ["Limits", "limit_options", "limits_of", "outage_option", "share"]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
# Seconds: restarts and fail-overs of registries take a minute or two.
USUAL_OUTAGE = 300.0
_option = partial(kept_option, group="limits")


class _Span(Struct, frozen=True):
    """A duration, as typed and in seconds."""

    text: str
    seconds: float

    def __str__(self) -> str:
        return self.text


def share(ctx: click.Context, param: click.Parameter, value: str | None) -> Share | None:
    """Read `10` or `2.5%`; a usage error says how to write one."""
    from imgmigrate.config.values.shares import read_share

    if value is None:
        return None
    try:
        return read_share(value)
    except ValueError as error:
        message = f"{value!r} {error}"
        raise click.BadParameter(message, ctx, param) from None


def _span(ctx: click.Context, param: click.Parameter, value: str | None) -> _Span | None:
    if value is None:
        return None
    try:
        found = seconds(value)
    except click.BadParameter as error:
        error.ctx, error.param = ctx, param
        raise
    return _Span(value, found)


def limit_options(function: _Decorated) -> _Decorated:
    """Add the options to a command; what is given is kept in the settings."""
    options = (
        _option("--fail-fast", is_flag=True, help="Begin no image after one has failed."),
        _option(
            "--max-failures",
            metavar="N|N%",
            convert=share,
            help="Begin no image after more have failed.",
        ),
        _option(
            "--max-duration",
            metavar="TIME",
            convert=_span,
            help="End then, as a signal would, to go on later.",
        ),
        _option(
            "--max-plan-age",
            metavar="TIME",
            convert=_span,
            help="Begin no plan older than this, such as 24h.",
        ),
    )
    return with_options(function, options)


def outage_option(function: _Decorated) -> _Decorated:
    """Add `--wait-for-registries` to a command; what is given is kept in the settings."""
    option = _option(
        "--wait-for-registries",
        metavar="TIME",
        convert=_span,
        help="How long to wait for one that is down.  [default: 5m]",
    )
    return with_options(function, (option,))


class Limits(Struct, frozen=True):
    """What ends a run, or waiting for a registry that is down; times are in seconds."""

    fail_fast: bool = False
    max_failures: Share | None = None
    max_duration: float | None = None
    max_plan_age: float | None = None
    outage: float = 0
    awaits_strangers: bool = False


def limits_of(settings: Settings) -> Limits:
    """Sum the options up; UsageError for two that contradict each other."""
    given = settings.limits
    duration, age = given.get("--max-duration"), given.get("--max-plan-age")
    outage = given.get("--wait-for-registries")
    if given.get("--fail-fast") and "--max-failures" in given:
        message = "--fail-fast allows no failure, --max-failures some"
        raise UsageError(message, hint="leave one of them out")
    return Limits(
        fail_fast=given.get("--fail-fast", False),
        max_failures=given.get("--max-failures"),
        max_duration=duration.seconds if duration else None,
        max_plan_age=age.seconds if age else None,
        outage=outage.seconds if outage else USUAL_OUTAGE,
        awaits_strangers=outage is not None,
    )
