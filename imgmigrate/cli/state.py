"""`state list`, `show` and `rm`: look at what was recorded, and let go of it.

None of them touches a registry.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from imgmigrate.cli.exit import Declined
from imgmigrate.cli.later import later_command
from imgmigrate.cli.options import (
    Group,
    Settings,
    common_options,
    pass_settings,
    seconds,
)
from imgmigrate.cli.wiring import command_line, pick, read_state, state_folder
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.oci.reference import Reference
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["state"]

_LATER = ("log", "mv", "lock", "repair", "unprotect")


@click.group(cls=Group)
@common_options
def state() -> None:
    """Look at the state, or let go of records."""


for _name in _LATER:
    state.add_command(later_command(_name))


@state.command(
    "list",
    epilog="""\b
Examples:
  imgmigrate state list
  imgmigrate state list 'registry.new/team/**:v1.*'

\b
Exit codes: 0 listed, 1 the state is damaged, 64 a glob matches nothing.""",
)
@click.argument("globs", metavar="[GLOB]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Also what was forgotten or deleted.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout, one a record.")
@common_options
@pass_settings
def list_records(
    settings: Settings, globs: tuple[str, ...], everything: bool, as_json: bool
) -> None:
    """List the recorded images, one a line."""
    output = settings.output
    if as_json:
        output.open_stream()
    found = read_state(settings)
    records = list(_all(found) if everything else found.live())
    chosen = pick(records, globs, lambda record: record.address)
    if output.stream:
        output.stream.records(chosen)
        return
    from imgmigrate.render.state import records_lines

    output.text("".join(f"{line}\n" for line in records_lines(chosen)))


@state.command(
    "show",
    epilog="""\b
Example:
  imgmigrate state show registry.new/team/api:2.1

\b
Exit codes: 0 shown, 64 there is no such record.""",
)
@click.argument("address")
@common_options
@pass_settings
def show_record(settings: Settings, address: str) -> None:
    """Show everything recorded about one address."""
    from imgmigrate.oci.reference import Reference
    from imgmigrate.render.state import record_lines

    try:
        reference = Reference.parse(address)
    except ValueError as error:
        message = f"{address}: {error}"
        raise UsageError(message) from None
    record = read_state(settings).record(reference)
    if record is None:
        message = f"{address}: there is no record of this address"
        raise UsageError(message, hint="imgmigrate state list --all shows what there is")
    for line in record_lines(record):
        settings.output.line(line)


@state.command(
    "rm",
    epilog="""\b
Examples:
  imgmigrate state rm 'registry.new/old-team/**' --dry-run
  imgmigrate state rm registry.new/team/api:2.1

\b
Exit codes: 0 removed, 1 not approved, 5 the state is locked, 64 a glob
matches nothing.""",
)
@click.argument("globs", metavar="GLOB...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.option(
    "--lock-timeout",
    type=seconds,
    default=0,
    metavar="TIME",
    help="How long to wait for another run, such as 90s or 5m.  [default: 0]",
)
@common_options
@pass_settings
def remove_records(
    settings: Settings,
    globs: tuple[str, ...],
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
) -> Declined | None:
    """Erase records; the images stay where they are.

    An erased image is no longer ours: the next plan adopts it if it is what the config asks
    for, and reports a conflict if it is not.
    """
    from imgmigrate.cli.run import run
    from imgmigrate.render.state import records_lines
    from imgmigrate.render.units import count

    output = settings.output
    if not dry_run and not auto_approve and not sys.stdin.isatty():
        message = "there is no terminal to ask for approval"
        raise UsageError(message, hint="approve with --auto-approve, or look with --dry-run")
    chosen = pick(_all(read_state(settings)), globs, lambda record: record.address)
    output.text("".join(f"{line}\n" for line in records_lines(chosen)))
    records = count(len(chosen), "record")
    if dry_run:
        output.line(f"{records} would be removed; nothing was changed")
        return None
    if not auto_approve and output.ask(f"\nErase {records}? Only yes is accepted: ") != "yes":
        output.note("not removed; nothing was changed")
        return Declined()
    command = command_line(settings, "state", "rm", *globs)
    addresses = [record.address for record in chosen]
    folder = state_folder(settings)
    run(lambda: _remove(folder, command, addresses, lock_timeout))
    output.line(f"{records} removed; no registry was touched")
    return None


async def _remove(
    folder: Path, command: str, addresses: Sequence[Reference], lock_timeout: float
) -> None:
    from imgmigrate.state.backends.local import LocalState

    async with LocalState(folder).writer(command=command, lock_timeout=lock_timeout) as writer:
        await writer.remove(addresses)


def _all(found: State) -> list[ImageRecord]:
    return [found.records[key] for key in sorted(found.records)]
