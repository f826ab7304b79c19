"""`state pull`, `push` and `migrate`: the whole state in a file, back again, or elsewhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgmigrate.cli.approval import approved, changing_options
from imgmigrate.cli.commands.state.edit import open_edit, tell_edit, write_edit
from imgmigrate.cli.exit import Declined
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import (
    answer_of,
    check_edited,
    named_place,
    read_state,
    shown,
    state_options,
    state_place,
    store_of,
    tell_whose,
)
from imgmigrate.cli.given.options import Command, Settings, common_options, file_path, pass_settings
from imgmigrate.cli.outfile import check_place, save_to
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from imgmigrate.state.view import View
    from imgmigrate.state.writer import Writer

__all__ = ["migrate_state", "pull_state", "push_state"]


@click.command(
    "pull",
    cls=Command,
    epilog="""\b
Example:
  imgmigrate state pull --out state.jsonl

\b
Exit codes: 0 written, 1 the state is damaged or the file cannot be
written, 64 there is no state yet.""",
)
@click.option("--out", type=file_path(), required=True, metavar="FILE", help="Where to write it.")
@state_options
@pass_settings
def pull_state(settings: Settings, out: Path) -> None:
    """Write a copy of the whole state into one file, with its runs and claims.

    For safekeeping, or to look at; `state push` brings it back. Takes no lock.
    """
    from imgmigrate.render.units import count
    from imgmigrate.state.lines.snapshot import print_snapshot

    check_place(out, settings)
    view = _whole(settings)
    tell_whose(settings, view.state())
    save_to(settings, out, b"".join(print_snapshot(view)), what="state")
    number = count(len(view.records), "record")
    settings.output.note(f"pulled to {out}: {number}, sequence {view.sequence:,}")


@click.command(
    "push",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state push state.jsonl --dry-run
  imgmigrate state push imgmigrate-recovery-20261130T101500Z-3f2a.jsonl

\b
Exit codes: 0 pushed, 1 not approved or the file is damaged, 5 the state is
locked, 64 it is of another state, or lacks what is recorded.""",
)
@click.argument("file", type=file_path(exists=True), metavar="FILE")
@changing_options
@state_options
@pass_settings
def push_state(
    settings: Settings,
    file: Path,
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
    as_json: bool,
) -> Declined | None:
    """Bring back a pulled copy, or what a run recorded and could not write.

    A copy takes the place of the state only where nothing is lost by it: where there is no
    state, or it goes on from what is there. Records of a recovery file are added where
    nothing newer is recorded.
    """
    from imgmigrate.errors import StateError
    from imgmigrate.render.units import count
    from imgmigrate.state.lines.sealing import explain
    from imgmigrate.state.merging import is_copy, read_recovery

    open_edit(settings, dry_run, auto_approve, as_json)
    data = file.read_bytes()
    try:
        left = _copy(data) if is_copy(data) else read_recovery(data)
    except ValueError as error:
        raise StateError(f"{file}: damaged: {explain(error)}", hint="pull it again") from None
    found, place = read_state(settings), shown(state_place(settings))
    if found.lineage is not None:
        check_edited(settings, found)
    number = len(left) if isinstance(left, list) else len(left.records)
    what = count(number, "record" if not isinstance(left, list) else "line")
    if dry_run:
        tell_edit(settings, "push", f"{file}: {what} for the state {place}; nothing was changed", 0)
        return None
    question = f"Push {what} to the state {place}?"
    if not approved(settings.output, question, auto_approve=auto_approve):
        return Declined()
    brought = 0

    async def push(writer: Writer) -> None:
        nonlocal brought
        brought = await _bring(left, writer)

    write_edit(settings, again(settings, "state", "push", str(file)), lock_timeout, push)
    tell_edit(settings, "push", f"{count(brought, 'record')} pushed to the state {place}", brought)
    return None


@click.command(
    "migrate",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state migrate --to s3://bucket/imgmigrate/prod
  imgmigrate state migrate --to git --dry-run

\b
Exit codes: 0 moved, 1 not approved, or what is there is not what was copied,
5 one of both is locked, 64 another state is there, or there is none here.""",
)
@click.option("--to", "to", required=True, metavar="PLACE", help="A folder, or a backend's URL.")
@changing_options
@common_options
@pass_settings
def migrate_state(
    settings: Settings,
    to: str,
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
    as_json: bool,
) -> Declined | None:
    """Copy the state to another place, and prove it there record by record.

    Its history comes along, and so do the plans that are kept beside it, each proven by its
    sha256. The old place is left as it is: change the config to name the new one, and write
    the old one no more.
    """
    from imgmigrate.cli.run import run
    from imgmigrate.render.units import count
    from imgmigrate.state.base import open_state
    from imgmigrate.state.transfer import copy_state

    open_edit(settings, dry_run, auto_approve, as_json)
    target = named_place(settings, to)
    old, new = shown(state_place(settings)), shown(target)
    if old == new:
        message = f"--to {to}: the state is there already"
        raise UsageError(message)
    view = _whole(settings)
    check_edited(settings, view.state())
    what = count(len(view.records), "record")
    if dry_run:
        said = f"{what} of the state {old} would be copied to {new}; nothing was changed"
        tell_edit(settings, "migrate", said, 0)
        return None
    question = f"Copy {what} of the state {old} to {new}?"
    if not approved(settings.output, question, auto_approve=auto_approve):
        return Declined()
    command = again(settings, "state", "migrate", "--to", to)
    source, settings.output.left_something = store_of(settings), True
    copied = run(
        lambda: copy_state(source, open_state(target), command=command, lock_timeout=lock_timeout)
    )
    for cause, number in Counter(map(str, copied.left.values())).items():
        settings.output.warn("plans_not_copied", f"{count(number, 'plan')} not copied: {cause}")
    view = copied.view
    parts = [count(len(view.records), "record"), f"sequence {view.sequence:,}"]
    parts += [count(copied.plans, "plan")] if copied.plans else []
    said = f"State {old} is at {new} now, and proven: {', '.join(parts)}"
    tell_edit(settings, "migrate", said, len(view.records))
    if not settings.output.stream:
        key = "path" if isinstance(target, Path) else "backend"
        settings.output.note(f"name it in the config, state: {{{key}: {new}}}, or with --state")
    return None


def _whole(settings: Settings) -> View:
    """Read all of the state; UsageError where there is none."""
    view = answer_of(store_of(settings).load())
    if view.lineage is None:
        message = f"state {shown(state_place(settings))}: there is none yet"
        raise UsageError(message, hint="the first apply makes it; name another with --state PLACE")
    return view


def _copy(data: bytes) -> View:
    from io import BytesIO

    from imgmigrate.state.lines.snapshot import read_snapshot

    return read_snapshot(BytesIO(data))


async def _bring(left: object, writer: Writer) -> int:
    """Bring a copy, lines or records; return how many records that brought."""
    from imgmigrate.state.merging import merge_lines, merge_records
    from imgmigrate.state.record import ImageRecord
    from imgmigrate.state.view import View

    if isinstance(left, View):
        await writer.restore(left)
        return len(left.records)
    if not isinstance(left, list) or not left:
        return 0
    merge = merge_records if isinstance(left[0], ImageRecord) else merge_lines
    return await merge(left, writer)
