"""`state repair`: make a damaged state whole again, and keep what was damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgmigrate.cli.approval import approved, changing_options, check_can_ask
from imgmigrate.cli.exit import Declined
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import shown, state_options, state_place, store_of, tell_whose
from imgmigrate.cli.given.options import Command, Settings, pass_settings
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from imgmigrate.state.local.repair import Survey

__all__ = ["repair_state"]


@click.command(
    "repair",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state repair --dry-run   what is wrong, what would be lost
  imgmigrate state repair             show it, ask for yes, repair

\b
Exit codes: 0 repaired, or nothing to repair, 1 not approved, or nothing can
be had back, 5 the state is locked, 64 wrong usage.""",
)
@changing_options
@state_options
@pass_settings
def repair_state(
    settings: Settings, dry_run: bool, auto_approve: bool, lock_timeout: float, as_json: bool
) -> Declined | None:
    """Cut what is damaged off the journal; rebuild a lost snapshot.

    A damaged or missing snapshot is rebuilt from the backups and the journals that followed
    them. Shows first which records would be lost. Every byte that is taken away is kept in
    the folder backups. No registry is touched.
    """
    from imgmigrate.state.base import Repairable

    output = settings.output
    if as_json:
        output.open_stream()
    folder, state = state_place(settings), store_of(settings)
    if not isinstance(state, Repairable) or not isinstance(folder, Path):
        message = f"state {shown(folder)}: it is not kept in files of ours"
        raise UsageError(message, hint="mend it where it is kept, or restore a backup of it")
    found = state.survey()
    _show(settings, found, folder)
    tell_whose(settings, found.view.state())
    if found.is_whole or dry_run:
        if dry_run and not output.stream and not found.is_whole:
            output.line("Nothing was changed.")
        return None
    check_can_ask(dry_run=dry_run, auto_approve=auto_approve, as_json=as_json)
    if not approved(output, "Repair it so?", auto_approve=auto_approve):
        return Declined()
    from imgmigrate.cli.run import run

    command = again(settings, "state", "repair")
    output.left_something = True
    kept = run(lambda: state.repair(found, command=command, lock_timeout=lock_timeout))
    if output.stream:
        from imgmigrate.render.schema import report_lines

        places = [shown(path) for path in kept]
        output.stream.line(report_lines.StateRepaired(kept=places), f"state {folder}: repaired")
        return None
    for path in kept:
        output.line(f"What was damaged is kept in {shown(path)}")
    output.line("Repaired; no registry was touched.")
    return None


def _show(settings: Settings, found: Survey, folder: Path) -> None:
    from imgmigrate.render.reports.repair import survey_line, survey_lines

    output, place = settings.output, shown(folder)
    if output.stream:
        message = f"state {place}: {'whole' if found.is_whole else 'damaged'}"
        output.stream.line(survey_line(found, place), message)
        return
    for line in survey_lines(found, place, shown, output.style()):
        output.line(line)
