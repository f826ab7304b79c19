"""`state rebind`: say which config a state belongs to, after the config got another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imgmigrate.cli.approval import approved, changing_options
from imgmigrate.cli.commands.state.edit import open_edit, tell_edit, write_edit
from imgmigrate.cli.exit import Declined
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import open_config, read_state, shown, state_options, state_place
from imgmigrate.cli.given.options import Command, Settings, pass_settings
from imgmigrate.errors import StateError, UsageError
from imgmigrate.redaction import printable

if TYPE_CHECKING:
    from imgmigrate.state.record import Owner, State
    from imgmigrate.state.writer import Writer

__all__ = ["rebind_state"]


@click.command(
    "rebind",
    cls=Command,
    epilog="""\b
Examples:
  mv team.yaml crew.yaml; mv state/team state/crew
  imgmigrate state rebind -c crew.yaml
  imgmigrate state rebind -c crew.yaml --state state/team --dry-run
  imgmigrate state rebind images.json --state state/images

\b
Exit codes: 0 bound, or bound so already, 1 not approved, 5 the state is
locked, 64 wrong usage or config, or there is no state.""",
)
@click.argument("name", metavar="[NAME]", required=False)
@changing_options
@state_options
@pass_settings
def rebind_state(
    settings: Settings,
    name: str | None,
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
    as_json: bool,
) -> Declined | None:
    """Give the state to another config: this one, or the one of this NAME.

    A state belongs to the config that first applied to it, by the name of its file, or by
    `name:` in it; no other may plan or apply with it. Rebind when a config was renamed. What
    the new one does not ask for is then its own to delete.
    """
    open_edit(settings, dry_run, auto_approve, as_json)
    owner, found = _owner(settings, name), read_state(settings)
    place, new = shown(state_place(settings)), printable(owner.name)
    if found.lineage is None:
        message = f"state {place}: there is none yet"
        raise UsageError(message, hint="the first apply makes it, and binds it to its config")
    if found.name == owner.name:
        tell_edit(settings, "rebind", f"State {place} belongs to {new} already", 0)
        return None
    old = printable(found.name) if found.name else "no config yet"
    if not settings.output.stream:
        images = found.live_count
        said = f"State {place} ({images:,} recorded) belongs to {old}."
        for line in settings.output.style().wrap(said, hanging="  "):
            settings.output.line(line)
    if dry_run:
        tell_edit(settings, "rebind", f"It would belong to {new}; nothing was changed", 0)
        return None
    if not approved(settings.output, f"Bind it to {new}?", auto_approve=auto_approve):
        return Declined()

    async def bind(writer: Writer) -> None:
        _check_unmoved(found, writer.state, place)
        await writer.bind(owner)

    command = again(settings, "state", "rebind", *((name,) if name else ()))
    write_edit(settings, command, lock_timeout, bind)
    tell_edit(settings, "rebind", f"State {place} belongs to {new} now", 1)
    return None


def _owner(settings: Settings, name: str | None) -> Owner:
    """What to bind to; a config is only needed where no name is given."""
    from imgmigrate.config.values.names import read_name
    from imgmigrate.state.owner import owner_of
    from imgmigrate.state.record import Owner

    if name is None:
        owner = owner_of(open_config(settings))
        if owner is None:
            message = "there is no config that the state could belong to"
            raise UsageError(message, hint="name one with -c")
        return owner
    try:
        read_name(name)
    except ValueError as error:
        message = f"NAME: {error}"
        raise UsageError(message, hint="it is the file's own name, such as team.yaml") from None
    return Owner(name)


def _check_unmoved(seen: State, now: State, place: str) -> None:
    if now.name != seen.name:
        message = f"state {place}: somebody else has bound it meanwhile, to {now.name}"
        raise StateError(message, hint="look at it again: imgmigrate status")
