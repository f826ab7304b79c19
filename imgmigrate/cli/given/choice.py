"""What the command line chooses: `--target` and its kin, and how to plan what they leave.

The commands that plan, apply or show share these options; what is given is kept in the settings,
so that a command that goes on can repeat it.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from imgmigrate.cli.given.limits import share
from imgmigrate.cli.given.options import Settings, kept_option, with_options
from imgmigrate.cli.given.suggestions import suggest_addresses
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.values.shares import Share
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change, Plan
    from imgmigrate.planning.planner import PlanOptions

__all__ = [
    "Planning",
    "chosen",
    "chosen_rows",
    "copying_options",
    "is_choosing",
    "planning_of",
    "planning_options",
    "refuse_planning",
    "rollback_options",
    "target_options",
]

STDIN = "-"
_TARGETS = ("--target", "--target-file", "--exclude")

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
_option = partial(kept_option, group="planning")
_address_option = partial(_option, multiple=True, metavar="GLOB", shell_complete=suggest_addresses)


class _TargetFile(Struct, frozen=True):
    """A file of globs, read once: its name as typed, and what it holds."""

    name: str
    globs: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


def _read_file(ctx: click.Context, param: click.Parameter, value: str | None) -> _TargetFile | None:
    """Read one glob a line; `#` begins a comment line, `-` is stdin."""
    if value is None:
        return None
    try:
        text = sys.stdin.read() if value == STDIN else Path(value).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        message = f"{value}: cannot be read: {getattr(error, 'strerror', None) or error}"
        raise click.BadParameter(message, ctx, param) from None
    lines = (line.strip() for line in text.splitlines())
    globs = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not globs:
        message = f"{value}: holds no glob; write one a line, such as registry.new/team/**"
        raise click.BadParameter(message, ctx, param)
    return _TargetFile(value, globs)


def target_options(function: _Decorated) -> _Decorated:
    """Add the options that choose addresses to a command."""
    options = (
        _address_option("--target", help="Only these addresses."),
        _option(
            "--target-file",
            metavar="FILE",
            convert=_read_file,
            help="Only those of its globs, one a line; - is stdin.",
        ),
        _address_option("--exclude", help="Not these addresses."),
    )
    return with_options(function, options)


_max_delete_option = _option(
    "--max-delete",
    metavar="N|N%",
    convert=share,
    help="Delete none if it were more than so many of all.",
)


def rollback_options(function: _Decorated) -> _Decorated:
    """Add the options that say what to undo to a command."""
    options = (
        target_options,
        _option("--allow-delete", is_flag=True, help="Delete what was new, instead of keeping it."),
        _max_delete_option,
    )
    return with_options(function, options)


def copying_options(function: _Decorated) -> _Decorated:
    """Add the options that say what to write to a command, `--target` and its kin among them."""
    options = (
        target_options,
        _address_option("--replace", help="Write these again."),
        _address_option("--allow-overwrite", help="Overwrite these although they are not ours."),
    )
    return with_options(function, options)


def planning_options(function: _Decorated) -> _Decorated:
    """Add the options that say how to plan to a command: what to write, and what to let go."""
    options = (
        copying_options,
        _option(
            "--allow-delete",
            is_flag=True,
            help="Delete our images that no rule asks for any more.",
        ),
        _option(
            "--allow-delete-gone",
            is_flag=True,
            help="Delete our images whose source tag is gone.",
        ),
        _option(
            "--forget",
            is_flag=True,
            help="Let go of our images that no rule asks for; they stay.",
        ),
        _max_delete_option,
        _option(
            "--no-refresh",
            is_flag=True,
            help="Take recorded images as recorded; read only the others.",
        ),
    )
    return with_options(function, options)


class Planning(Struct, frozen=True):
    """How to plan, as the options say."""

    target: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    allow_overwrite: tuple[str, ...] = ()
    allow_delete: bool = False
    allow_delete_gone: bool = False
    forget: bool = False
    max_delete: Share | None = None
    no_refresh: bool = False

    def options(self, **others: Any) -> PlanOptions:
        """Say it to the planner; `others` are what other options of a command add."""
        from imgmigrate.planning.planner import PlanOptions

        return PlanOptions(
            target=self.target,
            exclude=self.exclude,
            replace=self.replace,
            allow_overwrite=self.allow_overwrite,
            allow_delete=self.allow_delete,
            allow_delete_gone=self.allow_delete_gone,
            forget=self.forget,
            max_delete=self.max_delete,
            refresh=not self.no_refresh,
            **others,
        )


def planning_of(settings: Settings) -> Planning:
    """Sum the options up; the globs of a file are targets like any."""
    given = settings.planning
    file = given.get("--target-file")
    allow_delete, max_delete = given.get("--allow-delete", False), given.get("--max-delete")
    allow_delete_gone = given.get("--allow-delete-gone", False)
    if max_delete is not None and not (allow_delete or allow_delete_gone):
        message = "--max-delete limits what --allow-delete allows"
        raise UsageError(message, hint="add --allow-delete, or leave it out")
    if "--from" in settings.oneshot:
        _refuse_letting_go(given)
    return Planning(
        target=given.get("--target", ()) + (file.globs if file else ()),
        exclude=given.get("--exclude", ()),
        replace=given.get("--replace", ()),
        allow_overwrite=given.get("--allow-overwrite", ()),
        allow_delete=allow_delete,
        allow_delete_gone=allow_delete_gone,
        forget=given.get("--forget", False),
        max_delete=max_delete,
        no_refresh=given.get("--no-refresh", False),
    )


def _refuse_letting_go(given: dict[str, Any]) -> None:
    """A plan without a config asks for what it names: nothing tells what is not wanted."""
    for name in ("--allow-delete", "--allow-delete-gone", "--forget"):
        if given.get(name):
            message = f"{name}: a plan without a config deletes nothing and lets nothing go"
            raise UsageError(message, hint=f"leave {name} out, or plan from a config")


def refuse_planning(settings: Settings) -> None:
    """Refuse options that say how to plan, beside a PLAN; those that choose rows are welcome."""
    for name, value in settings.planning.items():
        if value and name not in _TARGETS:
            message = f"{name} is for planning, and PLAN is planned"
            raise UsageError(message, hint=f"plan again with {name}, or leave it out")


def is_choosing(settings: Settings) -> bool:
    """Tell whether the options choose addresses."""
    return any(settings.planning.get(name) for name in _TARGETS)


def chosen(settings: Settings, plan: Plan) -> Plan:
    """Leave of a plan the rows that the options choose; it stays the same plan."""
    if not is_choosing(settings):
        return plan
    planning, rows = planning_of(settings), chosen_rows(settings, plan)
    if not rows:
        message = "--exclude leaves no row of the plan to do"
        raise UsageError(message, hint="exclude less")
    return plan.only(rows, target=planning.target, exclude=planning.exclude)


def chosen_rows(settings: Settings, plan: Plan) -> list[Change]:
    """The rows of a plan that the options choose; UsageError for a glob that matches none.

    A row that replaces something brings the one along that keeps it.
    """
    from imgmigrate.cli.given.config import pick

    planning = planning_of(settings)
    rows = pick(plan.changes, planning.target, _address, option="--target")
    if planning.exclude:
        left_out = pick(plan.changes, planning.exclude, _address, option="--exclude")
        addresses = {str(change.address) for change in left_out}
        rows = [change for change in rows if str(change.address) not in addresses]
    wanted = {str(change.address) for change in rows}
    wanted |= {str(change.kept_as) for change in rows if change.kept_as is not None}
    return [change for change in plan.changes if str(change.address) in wanted]


def _address(change: Change) -> Reference:
    return change.address
