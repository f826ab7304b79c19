"""`plan --explain`: why a tag is, or is not, among those that a rule selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imgmigrate.errors import StoreError, UsageError

if TYPE_CHECKING:
    from imgmigrate.cli.given.limits import Limits
    from imgmigrate.cli.given.options import Settings
    from imgmigrate.config.model import Config
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["explain_now", "explain_option", "refuse_with_explain"]

explain_option = click.option(
    "--explain",
    metavar="ADDRESS|RULE",
    help="Say which tags drop out and why, instead of planning.",
)


def refuse_with_explain(**others: object) -> None:
    """Refuse options that need a plan, which an explanation does not make."""
    for name, value in others.items():
        if value:
            message = f"--explain makes no plan, so --{name.replace('_', '-')} has no meaning"
            raise UsageError(message, hint="leave one of them out")


def explain_now(
    settings: Settings,
    config: Config,
    what: str,
    *,
    parallelism: int,
    on_rate_limit: OnRateLimit,
    limits: Limits,
    verbose: bool,
) -> None:
    """Explain and show; a source that could not be read is an error, after what could."""
    from imgmigrate.cli.run import look
    from imgmigrate.planning.desired.explain import explain_selection
    from imgmigrate.render.reports.selection import selection_lines, write_selection

    output = settings.output
    explained = look(
        output,
        lambda sink: explain_selection(
            config,
            what,
            sink=sink,
            parallelism=parallelism,
            on_rate_limit=on_rate_limit,
            outage=limits.outage,
            awaits_strangers=limits.awaits_strangers,
        ),
        doing="explaining",
    )
    if output.stream:
        write_selection(explained, output.stream)
    else:
        for line in selection_lines(explained, output.style(), verbose=verbose):
            output.line(line)
    errors = [each.choice for each in explained if isinstance(each.choice, StoreError)]
    if len(errors) > 1:
        raise ExceptionGroup("sources could not be read", errors)
    if errors:
        raise errors[0]
