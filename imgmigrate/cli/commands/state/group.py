"""`state` and its commands; here `list` and `show`, which look at what was recorded.

None of them touches a registry.
"""

from __future__ import annotations

import click

from imgmigrate.cli.commands.state.edit import (
    move_records,
    remove_records,
    unprotect_records,
)
from imgmigrate.cli.commands.state.export import export_state
from imgmigrate.cli.commands.state.plans import list_plans
from imgmigrate.cli.commands.state.rebind import rebind_state
from imgmigrate.cli.commands.state.repair import repair_state
from imgmigrate.cli.commands.state.transfer import migrate_state, pull_state, push_state
from imgmigrate.cli.commands.status import show_lock, show_log
from imgmigrate.cli.given.config import pick, read_state, state_options, tell_whose
from imgmigrate.cli.given.options import Group, Settings, json_option, pass_settings
from imgmigrate.cli.given.suggestions import suggest_addresses
from imgmigrate.errors import UsageError

__all__ = ["state"]


@click.group(cls=Group)
@state_options
def state() -> None:
    """Look at the state, change records, repair it."""


@state.command(
    "list",
    epilog="""\b
Examples:
  imgmigrate state list
  imgmigrate state list 'registry.new/team/**:v1.*'

\b
Exit codes: 0 listed, 1 the state is damaged, 64 a glob matches nothing.""",
)
@click.argument("globs", metavar="[GLOB]...", nargs=-1, shell_complete=suggest_addresses)
@click.option("--all", "everything", is_flag=True, help="Also what was forgotten or deleted.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout, one a record.")
@state_options
@pass_settings
def list_records(
    settings: Settings, globs: tuple[str, ...], everything: bool, as_json: bool
) -> None:
    """List the recorded images, one a line."""
    output = settings.output
    if as_json:
        output.open_stream()
    found = read_state(settings)
    tell_whose(settings, found)
    records = found.every() if everything else found.live()
    chosen = pick(records, globs, lambda record: record.address)
    if output.stream:
        output.stream.records(chosen)
        return
    from imgmigrate.render.reports.state import records_lines

    output.text("".join(f"{line}\n" for line in records_lines(chosen)))


@state.command(
    "show",
    epilog="""\b
Example:
  imgmigrate state show registry.new/team/api:2.1

\b
Exit codes: 0 shown, 1 the state is damaged, 64 there is no such record.""",
)
@click.argument("address", shell_complete=suggest_addresses)
@json_option
@state_options
@pass_settings
def show_record(settings: Settings, address: str, as_json: bool) -> None:
    """Show everything recorded about one address."""
    from imgmigrate.oci.reference import Reference
    from imgmigrate.render.reports.state import record_lines

    if as_json:
        settings.output.open_stream()
    try:
        reference = Reference.parse(address)
    except ValueError as error:
        message = f"{address}: {error}"
        raise UsageError(message) from None
    found = read_state(settings)
    tell_whose(settings, found)
    record = found.record(reference)
    if record is None:
        message = f"{address}: there is no record of this address"
        raise UsageError(message, hint="imgmigrate state list --all shows what there is")
    if settings.output.stream:
        settings.output.stream.records([record])
        return
    for line in record_lines(record):
        settings.output.line(line)


for _command in (
    show_log,
    show_lock,
    list_plans,
    remove_records,
    move_records,
    unprotect_records,
    export_state,
    pull_state,
    push_state,
    migrate_state,
    rebind_state,
    repair_state,
):
    state.add_command(_command)
