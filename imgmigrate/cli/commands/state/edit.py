"""`state rm`, `mv` and `unprotect`: change what is recorded; no registry is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec import Struct

from imgmigrate.cli.approval import approved, changing_options, check_can_ask
from imgmigrate.cli.exit import Declined
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import check_edited, pick, read_state, state_options, store_of
from imgmigrate.cli.given.options import Command, Settings, pass_settings
from imgmigrate.cli.given.suggestions import suggest_addresses
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from imgmigrate.oci.reference import Reference
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.state.writer import Writer

    Pair: TypeAlias = tuple[ImageRecord, Reference]

__all__ = [
    "move_records",
    "open_edit",
    "remove_records",
    "tell_edit",
    "unprotect_records",
    "write_edit",
]


@click.command(
    "rm",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state rm 'registry.new/old-team/**' --dry-run
  imgmigrate state rm registry.new/team/api:2.1

\b
Exit codes: 0 removed, 1 not approved, 5 the state is locked, 64 a glob
matches nothing.""",
)
@click.argument(
    "globs", metavar="GLOB...", nargs=-1, required=True, shell_complete=suggest_addresses
)
@changing_options
@state_options
@pass_settings
def remove_records(
    settings: Settings,
    globs: tuple[str, ...],
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
    as_json: bool,
) -> Declined | None:
    """Erase records; the images stay where they are.

    An erased image is no longer ours: the next plan adopts it if it is what the config asks
    for, and reports a conflict if it is not.
    """
    open_edit(settings, dry_run, auto_approve, as_json)
    chosen = pick(_own_state(settings).every(), globs, lambda record: record.address)
    _show(settings, chosen)
    addresses = [record.address for record in chosen]
    return _change(
        settings,
        _Edit(
            "rm",
            globs,
            len(chosen),
            lambda writer: writer.remove(addresses),
            question="Erase {}?",
            would="{} would be removed",
            done="{} removed; no registry was touched",
        ),
        dry_run=dry_run,
        auto_approve=auto_approve,
        lock_timeout=lock_timeout,
    )


@click.command(
    "mv",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state mv registry.new/team/api:2 registry.new/crew/api:2
  imgmigrate state mv registry.new/team/api registry.new/crew/api
  imgmigrate state mv 'old.corp/**' 'new.corp/**' --dry-run

\b
Exit codes: 0 moved, 1 not approved, 5 the state is locked, 64 FROM matches
nothing, or TO has a live record.""",
)
@click.argument("old", metavar="FROM", shell_complete=suggest_addresses)
@click.argument("new", metavar="TO")
@changing_options
@state_options
@pass_settings
def move_records(
    settings: Settings,
    old: str,
    new: str,
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
    as_json: bool,
) -> Declined | None:
    """Give records another address; the images stay where they are.

    For images that somebody moved, or a registry with a new name. FROM and TO are addresses,
    repositories (every tag), or globs with the same wildcards in the same order.
    """
    from imgmigrate.render.reports.state import move_lines
    from imgmigrate.render.schema import report_lines

    output = settings.output
    open_edit(settings, dry_run, auto_approve, as_json)
    pairs = _pairs(_own_state(settings), old, new)
    if output.stream:
        for record, address in pairs:
            text, before = f"{record.address} -> {address}", str(record.address)
            output.stream.line(report_lines.StateMove(address=before, to=str(address)), text)
    else:
        for line in move_lines([(record.address, address) for record, address in pairs]):
            output.line(line)

    async def move(writer: Writer) -> None:
        # Again under the lock: what was looked at may have changed.
        found = _pairs(writer.state, old, new)
        await writer.move([(record.address, address) for record, address in found])

    return _change(
        settings,
        _Edit(
            "mv",
            (old, new),
            len(pairs),
            move,
            question="Move {}?",
            would="{} would be moved",
            done="{} moved; no registry was touched",
        ),
        dry_run=dry_run,
        auto_approve=auto_approve,
        lock_timeout=lock_timeout,
    )


@click.command(
    "unprotect",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state unprotect 'registry.new/team/**' --dry-run
  imgmigrate state unprotect registry.new/team/api:2.1

\b
Exit codes: 0 lifted, 1 not approved, 5 the state is locked, 64 a glob
matches no protected record.""",
)
@click.argument(
    "globs", metavar="GLOB...", nargs=-1, required=True, shell_complete=suggest_addresses
)
@changing_options
@state_options
@pass_settings
def unprotect_records(
    settings: Settings,
    globs: tuple[str, ...],
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
    as_json: bool,
) -> Declined | None:
    """Lift the protection that the state keeps for images.

    A protection outlasts the line of the config that set it; while the line is there, the
    next apply sets it again.
    """
    open_edit(settings, dry_run, auto_approve, as_json)
    protected = [record for record in _own_state(settings).every() if record.protected]
    chosen = pick(protected, globs, lambda record: record.address)
    _show(settings, chosen)
    addresses = [record.address for record in chosen]
    return _change(
        settings,
        _Edit(
            "unprotect",
            globs,
            len(chosen),
            lambda writer: writer.unprotect(addresses),
            question="Lift the protection of {}?",
            would="{} would lose protection",
            done="{} no longer protected",
        ),
        dry_run=dry_run,
        auto_approve=auto_approve,
        lock_timeout=lock_timeout,
    )


def _pairs(found: State, old: str, new: str) -> list[Pair]:
    """What `mv` has to do; UsageError where it cannot be done as a whole."""
    from imgmigrate.rules.moves import parse_move

    try:
        move = parse_move(old, new)
        pairs = [
            (record, target)
            for record in found.every()
            if (target := move.apply(record.address)) is not None
        ]
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not pairs:
        message = f"{old}: matches no address"
        raise UsageError(message, hint="imgmigrate state list --all shows what there is")
    leaving = {str(record.address) for record, _ in pairs}
    taken: set[str] = set()
    for record, target in pairs:
        there = found.record(target)
        if str(target) in taken:
            message = f"{target}: several records would get this address"
            raise UsageError(message, hint="move them one by one")
        if (there is not None and there.is_live) or str(target) in leaving:
            message = f"{record.address}: cannot be moved to {target}, which is recorded itself"
            hint = "imgmigrate state rm lets go of a record; move what is in the way first"
            raise UsageError(message, hint=hint)
        taken.add(str(target))
    return pairs


def _own_state(settings: Settings) -> State:
    """Read the state; UsageError if it belongs to another config than is meant."""
    found = read_state(settings)
    check_edited(settings, found)
    return found


def open_edit(settings: Settings, dry_run: bool, auto_approve: bool, as_json: bool) -> None:
    """Open the stream, and refuse at once what could not be approved later."""
    if as_json:
        settings.output.open_stream()
    check_can_ask(dry_run=dry_run, auto_approve=auto_approve, as_json=as_json)


def _show(settings: Settings, chosen: Sequence[ImageRecord]) -> None:
    from imgmigrate.render.reports.state import records_lines

    output = settings.output
    if output.stream:
        output.stream.records(chosen)
    else:
        output.text("".join(f"{line}\n" for line in records_lines(chosen)))


class _Edit(Struct, frozen=True):
    """One subcommand's change: `work` is done to `number` records; {} in the words is those."""

    name: str
    arguments: tuple[str, ...]
    number: int
    work: Callable[[Writer], Awaitable[None]]
    question: str
    would: str
    done: str


def _change(
    settings: Settings,
    edit: _Edit,
    *,
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
) -> Declined | None:
    """Ask, write and tell; a dry run only tells."""
    from imgmigrate.render.units import count

    records = count(edit.number, "record")
    if dry_run:
        tell_edit(settings, edit.name, f"{edit.would.format(records)}; nothing was changed", 0)
        return None
    if not approved(settings.output, edit.question.format(records), auto_approve=auto_approve):
        return Declined()
    command = again(settings, "state", edit.name, *edit.arguments)
    write_edit(settings, command, lock_timeout, edit.work)
    tell_edit(settings, edit.name, edit.done.format(records), edit.number)
    return None


def tell_edit(settings: Settings, operation: str, message: str, changed: int) -> None:
    """Say what became of an edit; `changed` counts what it changed."""
    output = settings.output
    if output.stream:
        from imgmigrate.render.schema import report_lines

        output.stream.line(report_lines.StateChange(operation=operation, changed=changed), message)
    else:
        output.line(message)


def write_edit(
    settings: Settings,
    command: str,
    lock_timeout: float,
    work: Callable[[Writer], Awaitable[None]],
) -> None:
    """Lock the state and do the `work` of an edit."""
    from imgmigrate.cli.run import run

    state = store_of(settings)
    settings.output.left_something = True

    async def write() -> None:
        async with state.writer(command=command, lock_timeout=lock_timeout) as writer:
            writer.listen(settings.output.warned)
            await work(writer)

    run(write)
