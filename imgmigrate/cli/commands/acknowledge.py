"""`acknowledge`: note conflicts that somebody has looked at and lives with for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from imgmigrate.cli.commands.plan import plan_now
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import Unmatched, open_config, pick, shown
from imgmigrate.cli.given.foreign import foreign_options
from imgmigrate.cli.given.options import (
    Command,
    Settings,
    common_options,
    file_path,
    json_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
)
from imgmigrate.cli.given.suggestions import suggest_addresses
from imgmigrate.errors import ImgmigrateError, UsageError
from imgmigrate.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from imgmigrate.config.known import Acknowledgement, KnownConflict
    from imgmigrate.config.model import Config
    from imgmigrate.plan import Change, Plan
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["acknowledge"]


def _day(ctx: click.Context, param: click.Parameter, value: str) -> date:
    """Read a day that is not past (UTC)."""
    from imgmigrate.config.known import read_day

    try:
        found = read_day(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    if found < datetime.now(UTC).date():
        message = f"{value} is past, so nothing would be known"
        raise click.BadParameter(message, ctx, param)
    return found


def _reason(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from imgmigrate.config.known import LONGEST_REASON

    text = " ".join(value.split())
    if not text or len(text) > LONGEST_REASON:
        message = f"say why, in at most {LONGEST_REASON} characters"
        raise click.BadParameter(message, ctx, param)
    return text


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate acknowledge registry.new/team/web:1.4 --until 2027-03-31 \\
      --because 'hotfix by hand, is replaced in spring'
  imgmigrate acknowledge 'registry.new/legacy/**' --plan plan.out \\
      --until 2027-06-30 --because 'owned by another team'

\b
They are noted in imgmigrate.known-conflicts.yaml beside the config, line by
line; the config itself is never touched. Commit that file. A conflict is
known for what the address shows now: another image there, or the day after
UNTIL, makes it an ordinary conflict again.

\b
Exit codes: 0 noted, or noted already, 3 some images could not be read,
64 wrong usage or config, or a glob that matches no conflict.""",
)
@click.argument(
    "globs", metavar="GLOB...", nargs=-1, required=True, shell_complete=suggest_addresses
)
@click.option(
    "--until",
    required=True,
    metavar="YYYY-MM-DD",
    callback=_day,
    help="The last day (UTC) on which they are known.",
)
@click.option("--because", required=True, metavar="TEXT", callback=_reason, help="Why.")
@click.option(
    "--plan",
    "plan_file",
    type=file_path(),
    metavar="FILE",
    help="The conflicts that a saved plan shows, without looking again.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be noted.")
@parallelism_option("How many images to look at at once.")
@on_rate_limit_option
@json_option
@foreign_options
@common_options
@pass_settings
def acknowledge(
    settings: Settings,
    globs: tuple[str, ...],
    until: date,
    because: str,
    plan_file: Path | None,
    dry_run: bool,
    parallelism: int,
    on_rate_limit: OnRateLimit,
    as_json: bool,
) -> None:
    """Note conflicts as known: shown apart, and without effect on exit codes.

    GLOB chooses conflicts by their addresses. They are taken from a look at both sides now, or
    from a saved plan; the digest that was seen is noted with each.
    """
    if as_json:
        settings.output.open_stream()
    config = open_config(settings)
    if plan_file is not None:
        from imgmigrate.plan import read_plan

        made = read_plan(plan_file)
    else:
        made = _look(settings, config, globs, parallelism, on_rate_limit)
    chosen = _chosen(made, globs)
    from imgmigrate.config.known import Acknowledgement, append_known, known_path

    entries = [
        Acknowledgement(change.address, change.before, until, printable(because, 1000))
        for change in chosen
        if change.before is not None
    ]
    new = [entry for entry in entries if not _is_noted(entry, config.known)]
    path = known_path(config.path)
    if new and not dry_run:
        append_known(path, new)
        settings.output.left_something = True
    _present(settings, entries, new, path, dry_run=dry_run)
    if made.summary.error and plan_file is None:
        raise _Unread(_unread(made))


class _Unread(ImgmigrateError):
    """Some of what was to be looked at could not be read."""

    exit_code = 3


def _look(
    settings: Settings,
    config: Config,
    globs: tuple[str, ...],
    parallelism: int,
    on_rate_limit: OnRateLimit,
) -> Plan:
    from imgmigrate.planning.planner import PlanOptions

    options = PlanOptions(
        target=globs, sizes="never", parallelism=parallelism, on_rate_limit=on_rate_limit
    )
    return plan_now(settings, config, options)


def _chosen(made: Plan, globs: tuple[str, ...]) -> list[Change]:
    from imgmigrate.plan import Action

    if made.header.undoes:
        message = "this plan undoes a run; what it cannot undo is no conflict with the config"
        raise UsageError(message, hint="name a plan that imgmigrate plan wrote")
    conflicts = [change for change in made.changes if change.action is Action.CONFLICT]
    try:
        return pick(conflicts, globs, lambda change: change.address)
    except Unmatched as error:
        if made.summary.error:
            raise _Unread(_unread(made), hint="mend the cause and try again") from None
        hint = "imgmigrate plan lists them"
        raise UsageError("matches no conflict", value=error.value, hint=hint) from None


def _unread(made: Plan) -> str:
    from imgmigrate.plan import Action
    from imgmigrate.render.words import detail_of

    rows = [change for change in made.changes if change.action is Action.ERROR]
    first = printable(detail_of(rows[0]) or rows[0].reason, 500)
    more = f" (and {len(rows) - 1:,} more)" if len(rows) > 1 else ""
    return f"could not be read: {rows[0].address}: {first}{more}"


def _is_noted(entry: Acknowledgement, known: Sequence[KnownConflict]) -> bool:
    """Tell whether just this is noted already, for as long and for the same reason."""
    return any(
        each.covers(entry.address, entry.digest, entry.until)
        and each.until == entry.until
        and each.because == entry.because
        for each in known
    )


def _present(
    settings: Settings,
    entries: Sequence[Acknowledgement],
    new: Sequence[Acknowledgement],
    path: Path,
    *,
    dry_run: bool,
) -> None:
    from imgmigrate.render.schema import report_lines
    from imgmigrate.render.units import count

    output, place = settings.output, shown(path)
    if output.stream is not None:
        for entry in entries:
            known = report_lines.Acknowledged(
                address=str(entry.address),
                digest=entry.digest,
                until=entry.until.isoformat(),
                because=entry.because,
                file=place,
                wrote=entry in new and not dry_run,
            )
            output.stream.line(known, f"{entry.address}: known until {entry.until}")
        return
    style = output.style()
    for entry in entries:
        noted = "" if entry in new else ", noted already"
        text = f"= {entry.address}  shows {entry.digest.short}{noted}"
        for line in style.wrap(printable(text, 1000), hanging="    "):
            output.line(line)
    verb = "Would note" if dry_run else "Noted"
    summary = f"{verb} {count(len(new), 'conflict')} as known until {entries[0].until} in {place}."
    for line in style.wrap(summary, hanging="  "):
        output.line(line)
    if new and not dry_run:
        output.line("Commit that file; to see what is left:")
        output.line(f"  {again(settings, 'plan')}")
