"""`state plans`: the plans that are kept where the state is."""

from __future__ import annotations

import click

from imgmigrate.cli.given.config import (
    answer_of,
    read_state,
    shown,
    state_options,
    state_place,
    tell_whose,
)
from imgmigrate.cli.given.options import Command, Settings, pass_settings
from imgmigrate.cli.given.saved import keeper_at

__all__ = ["list_plans"]


@click.command(
    "plans",
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate state plans
  imgmigrate state plans --json

\b
Exit codes: 0 listed, 1 the state is damaged or away, 64 wrong usage or
config.""",
)
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout, one a plan.")
@state_options
@pass_settings
def list_plans(settings: Settings, as_json: bool) -> None:
    """List the plans that `plan --save` put there, and what applied them.

    The newest comes first. A plan is kept for 30 days after it was applied or a later one was
    saved, the newest for ever.
    """
    from imgmigrate.render.reports.state import plan_line, plans_lines
    from imgmigrate.state.saved import with_runs

    output, place = settings.output, state_place(settings)
    if as_json:
        output.open_stream()
    kept = answer_of(keeper_at(place).plans())
    state = read_state(settings)
    tell_whose(settings, state)
    # A run that was killed, or was given the plan in a file, has noted nothing of it there.
    found = with_runs(reversed(kept), state.runs)
    if output.stream:
        for plan in found:
            applied = f"applied by run {plan.run}" if plan.run else "not applied"
            output.stream.line(plan_line(plan), f"sha256:{plan.sha256}: {applied}")
        return
    if not found:
        output.line(f"No plan is kept in {shown(place)}: imgmigrate plan --save puts one there.")
    for line in plans_lines(found, output.style()):
        output.line(line)
