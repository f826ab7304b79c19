"""`status`, `state log` and `state lock`: who writes a state, and how far its runs are.

They read the files of a run that may be going on elsewhere, and never make it wait.
"""

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
from imgmigrate.cli.given.options import (
    Command,
    Settings,
    json_option,
    pass_settings,
)
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from imgmigrate.render.reports.status import Seen
    from imgmigrate.state.base import StateStore

__all__ = ["show_lock", "show_log", "status"]

# As `git log` would be read: the last few are what is asked for.
DEFAULT_RUNS = 10


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate status                   from another terminal, during an apply
  imgmigrate status --json
  imgmigrate status --list images.txt --to registry.new/mirror

\b
Exit codes: 0 shown, 1 the state is damaged, 64 wrong usage or config.""",
)
@json_option
@state_options
@pass_settings
def status(settings: Settings, as_json: bool) -> None:
    """Tell how far a run is, and how the last one ended.

    Reads the state without a lock, so it works beside a run and never slows it down. For an
    interrupted run it names the command that goes on.
    """
    from imgmigrate.render.reports.status import status_line, status_lines

    output, folder = settings.output, state_place(settings)
    if as_json:
        output.open_stream()
    seen, place = answer_of(_look(store_of(settings))), shown(folder)
    tell_whose(settings, seen.state)
    if output.stream:
        standing = status_line(seen, place)
        message = "a run is going on" if standing.running else "no run is going on"
        output.stream.line(standing, f"state {place}: {message}")
        return
    for line in status_lines(seen, place, output.style()):
        output.line(line)


@click.command(
    "log",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state log
  imgmigrate state log -n 1 --json

\b
Exit codes: 0 shown, 1 the state is damaged, 64 wrong usage or config.""",
)
@click.option(
    "-n",
    "most",
    type=click.IntRange(1),
    default=DEFAULT_RUNS,
    show_default=True,
    metavar="N",
    help="How many; the state remembers the last 50.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout, one a run.")
@state_options
@pass_settings
def show_log(settings: Settings, most: int, as_json: bool) -> None:
    """List the runs: when, which plan, how long, what came of it.

    The newest comes first. A run that was cut off says so, and how far it was.
    """
    from imgmigrate.render.reports.status import log_lines, run_line

    output, folder = settings.output, state_place(settings)
    if as_json:
        output.open_stream()
    seen = answer_of(_look(store_of(settings)))
    tell_whose(settings, seen.state)
    views = seen.runs()[:most]
    if output.stream:
        for view in views:
            message = f"{view.run.run}: {view.phase.value}"
            output.stream.line(run_line(view), message)
        return
    if not views:
        output.line(f"No run yet in {shown(folder)}: nothing has been applied.")
    for line in log_lines(views, output.style()):
        output.line(line)


@click.command(
    "lock",
    cls=Command,
    epilog="""\b
Example:
  imgmigrate state lock
  imgmigrate state lock --break

\b
Exit codes: 0 shown, whether it is locked or not, 64 wrong usage or config.""",
)
@click.option(
    "--break", "is_broken", is_flag=True, help="Take a shared state from a holder that is gone."
)
@json_option
@state_options
@pass_settings
def show_lock(settings: Settings, is_broken: bool, as_json: bool) -> None:
    """Tell who writes the state now, since when, and in which CI job.

    The lock of a folder ends with its process, however that ends: there is none to break.
    A shared state is taken over when its holder has been silent for its lease; --break does
    it at once, and whoever held it can write no more.
    """
    from imgmigrate.clock import now
    from imgmigrate.redaction import printable
    from imgmigrate.render.reports.status import holder_part
    from imgmigrate.render.schema import report_lines
    from imgmigrate.state.base import Breakable

    output, folder = settings.output, state_place(settings)
    if as_json:
        output.open_stream()
    store = store_of(settings)
    if not is_broken:
        lock = answer_of(store.lock())
    elif isinstance(store, Breakable):
        lock = answer_of(store.break_lock())
    else:
        message = f"state {shown(folder)}: its lock ends with the process that holds it"
        raise UsageError(message, hint="there is nothing to break: end that process")
    locked, holder = lock.is_held, lock.holder
    who = holder.describe(now()) if holder else "another process"
    if is_broken and locked:
        locked, text = False, f"taken from {who}"
    else:
        text = f"locked by {who}" if locked else "not locked"
    if output.stream:
        lock_line = report_lines.Lock(locked=locked, holder=holder_part(holder))
        output.stream.line(lock_line, f"state {shown(folder)}: {text}")
        return
    line = printable(f"State {shown(folder)}: {text}", 4000)
    output.text("".join(f"{each}\n" for each in output.style().wrap(line, hanging="  ")))


async def _look(store: StateStore) -> Seen:
    """Look at the lock before the journal: a run that ends in between is seen as ended."""
    from imgmigrate.clock import now
    from imgmigrate.render.reports.status import Seen

    lock = await store.lock()
    return Seen(await store.look(), lock.is_held, lock.holder, now())
