"""`rollback`: plan the way back from a run or a plan; `apply` goes it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgmigrate.cli.commands.plan import present, save, while_planning
from imgmigrate.cli.exit import Planned
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.choice import planning_of, rollback_options
from imgmigrate.cli.given.config import open_config, with_state
from imgmigrate.cli.given.foreign import foreign_options
from imgmigrate.cli.given.oneshot import load_for_apply, plain_http_option
from imgmigrate.cli.given.options import (
    EVERY_ROW,
    Command,
    Settings,
    common_options,
    file_path,
    json_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
    telling_options,
)
from imgmigrate.cli.given.suggestions import suggest_runs
from imgmigrate.cli.outfile import check_place

if TYPE_CHECKING:
    from collections.abc import Collection

    from imgmigrate.config.model import Config
    from imgmigrate.plan import Plan
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["rollback"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state log                        runs, and their plans
  imgmigrate rollback 20261124T075602Z-9f3a --out back.out
  imgmigrate rollback plan.out --out back.out
  imgmigrate rollback plan.out --allow-delete --out back.out
  imgmigrate apply back.out                   do exactly that

\b
Exit codes: 0 planned, 3 some images could not be read or are not at the
destination any more, 4 the plan is damaged or edited, 6 more deletes than
max_delete allows, 64 wrong usage or config, or no such run.""",
)
@click.argument("what", metavar="RUN|PLAN", shell_complete=suggest_runs)
@click.option("--out", type=file_path(), metavar="FILE", help="Save the plan, to apply it.")
@rollback_options
@parallelism_option("How many images to look at at once.")
@on_rate_limit_option
@telling_options(EVERY_ROW)
@json_option
@plain_http_option
@foreign_options
@common_options
@pass_settings
def rollback(
    settings: Settings,
    what: str,
    out: Path | None,
    parallelism: int,
    on_rate_limit: OnRateLimit,
    as_json: bool,
) -> Planned:
    """Plan how to undo a run, or all runs of a plan; changes nothing.

    What was overwritten or deleted gets its former image back, as far as the destination still
    has it by its digest; nothing is transferred. What was new stays, unless --allow-delete.
    PLAN is a file, or a plan's id.
    """
    if as_json:
        settings.output.open_stream()
    from imgmigrate.planning.rollback.rollback import RollbackOptions, make_rollback

    # First: the ends that a plan without a config is undone by are no options of anybody's.
    undone, planning = _named(what), planning_of(settings)
    config = _config(settings, undone)
    if out is not None:
        check_place(out, settings, config)
    options = RollbackOptions(
        target=planning.target,
        exclude=planning.exclude,
        allow_delete=planning.allow_delete,
        max_delete=planning.max_delete,
        parallelism=parallelism,
        on_rate_limit=on_rate_limit,
    )
    made = while_planning(
        settings, config, lambda sink: make_rollback(config, undone, options, sink=sink)
    )
    sha256 = save(settings, made, out) if out else None
    command = partial(_again, settings, what)
    present(settings, made, out, sha256, command=command)
    return Planned(made)


def _named(what: str) -> str | Plan:
    """Read the plan's file, if there is one of that name; a run's name is no likely file."""
    from imgmigrate.plan import read_plan

    path = Path(what)
    return read_plan(path) if path.is_file() else what


def _config(settings: Settings, undone: str | Plan) -> Config:
    """Open the config; what was planned without one is undone without one."""
    if isinstance(undone, str) or undone.header.config_sha256 is not None:
        return open_config(settings)
    return with_state(settings, load_for_apply(settings))


def _again(settings: Settings, what: str, *words: str, drop: Collection[str] = ()) -> str:
    """A command to go on with; one that undoes the same names it as the user did."""
    if words[0] == "rollback":
        words = ("rollback", what, *words[2:])
    return again(settings, *words, drop=drop)
