"""`state export`: the state in one file, for a job that may look at it and not change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imgmigrate.cli.given.config import (
    answer_of,
    shown,
    state_options,
    state_place,
    store_of,
    tell_whose,
)
from imgmigrate.cli.given.options import Command, Settings, file_path, pass_settings
from imgmigrate.cli.outfile import check_place, save_to
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["export_state"]


@click.command(
    "export",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state export --out state.jsonl
  imgmigrate plan --state-file state.jsonl

\b
Exit codes: 0 written, 1 the state is damaged or the file cannot be
written, 64 there is no state yet.""",
)
@click.option("--out", type=file_path(), required=True, metavar="FILE", help="Where to write it.")
@state_options
@pass_settings
def export_state(settings: Settings, out: Path) -> None:
    """Write what is recorded into one file, for plans where the state itself is not at hand.

    The records alone: not the runs, their commands and hosts. Takes no lock.
    """
    from imgmigrate.render.units import count
    from imgmigrate.state.exported import print_export

    folder = state_place(settings)
    check_place(out, settings)
    view = answer_of(store_of(settings).load())
    if view.lineage is None:
        message = f"state {shown(folder)}: there is none yet"
        raise UsageError(message, hint="the first apply makes it; name another with --state DIR")
    tell_whose(settings, view.state())
    save_to(settings, out, print_export(view), what="state")
    number = count(len(view.records), "record")
    settings.output.note(f"exported to {out}: {number}, sequence {view.sequence:,}")
