"""`adopt`: record what is already at the destinations, without moving a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec import Struct

from imgmigrate.cli.approval import approved, changing_options, check_can_ask
from imgmigrate.cli.commands.apply import apply_now
from imgmigrate.cli.commands.plan import plan_now
from imgmigrate.cli.exit import Applied, Declined
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import open_config
from imgmigrate.cli.given.foreign import foreign_options
from imgmigrate.cli.given.options import (
    EVERY_IMAGE,
    Command,
    Settings,
    common_options,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
    telling_options,
)
from imgmigrate.cli.given.suggestions import suggest_addresses
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.events import RunFinished
    from imgmigrate.plan import Plan
    from imgmigrate.planning.adopting import Adoption
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["adopt"]

# How the planner names its own option, which nobody gave here.
_TARGET = "target"


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate adopt '**' --dry-run     what is there, what differs
  imgmigrate adopt '**'               record all; also after a lost state
  imgmigrate adopt 'registry.new/team/**' --take-ownership

\b
Exit codes: 0 adopted, 1 not approved, 3 some images could not be read,
5 the state is locked, 7 some images have changed meanwhile, 64 a glob
matches nothing.""",
)
@click.argument(
    "globs", metavar="GLOB...", nargs=-1, required=True, shell_complete=suggest_addresses
)
@click.option(
    "--take-ownership",
    is_flag=True,
    help="Also what differs from its source: a later apply overwrites it.",
)
@changing_options
@telling_options(EVERY_IMAGE)
@parallelism_option("How many images to look at at once.")
@on_rate_limit_option
@foreign_options
@common_options
@pass_settings
def adopt(
    settings: Settings,
    globs: tuple[str, ...],
    take_ownership: bool,
    dry_run: bool,
    auto_approve: bool,
    lock_timeout: float,
    as_json: bool,
    parallelism: int,
    on_rate_limit: OnRateLimit,
) -> Applied | Declined:
    """Record the images that the config asks for and that are there already.

    Nothing is written to a registry. Without a record an image is not ours; adopting '**'
    rebuilds a lost state. Asks only before it takes ownership of what differs.
    """
    settings.output.left_something = not dry_run
    if as_json:
        settings.output.open_stream()
    if take_ownership:
        check_can_ask(dry_run=dry_run, auto_approve=auto_approve, as_json=as_json)
    from imgmigrate.planning.adopting import sort_for_adoption

    config = open_config(settings)
    task = _Task(settings, globs, take_ownership, lock_timeout, parallelism, on_rate_limit)
    adoption = sort_for_adoption(
        task.plan(config),
        take_ownership=take_ownership,
        is_gated=lambda source: any(
            rule.concerns(source, config.base) for rule in config.signatures
        ),
    )
    asks = take_ownership and bool(adoption.differing)
    if dry_run or asks or not adoption.has_work or not settings.output.is_quiet:
        task.show(adoption)
    if dry_run or not adoption.has_work:
        return Applied(adoption.plan, None)
    if asks:
        question = f"Take over {len(adoption.differing):,} that differ?"
        if not approved(settings.output, question, auto_approve=auto_approve):
            return Declined()
    return Applied(adoption.plan, task.apply(config, adoption.plan))


class _Task(Struct, frozen=True):
    """One adoption, as the command line asks for it."""

    settings: Settings
    globs: tuple[str, ...]
    take_ownership: bool
    lock_timeout: float
    parallelism: int
    on_rate_limit: OnRateLimit

    def plan(self, config: Config) -> Plan:
        """Compare what the config asks for with what is there; sizes would cost requests."""
        from imgmigrate.planning.planner import PlanOptions

        options = PlanOptions(
            target=self.globs,
            sizes="never",
            parallelism=self.parallelism,
            on_rate_limit=self.on_rate_limit,
        )
        try:
            return plan_now(self.settings, config, options)
        except UsageError as error:
            if error.parameter != _TARGET:
                raise
            raise UsageError(error.cause, value=error.value, hint=error.hint) from None

    def show(self, adoption: Adoption) -> None:
        """Show what was found."""
        from imgmigrate.render.reports.adopt import adoption_lines, adoption_text
        from imgmigrate.render.schema import report_lines

        output = self.settings.output
        if output.stream:
            output.stream.plan(adoption.plan)
            found = report_lines.Adoption(
                same=len(adoption.same),
                differing=len(adoption.differing),
                missing=len(adoption.missing),
                errors=len(adoption.errors),
                take_ownership=adoption.taken,
            )
            output.stream.line(found, adoption_text(adoption))
            return
        for line in adoption_lines(adoption, output.style(), verbose=output.is_verbose):
            output.line(line)

    def apply(self, config: Config, plan: Plan) -> RunFinished:
        """Record it as a run of its own; each destination is looked at again just before."""
        from imgmigrate.applying.apply import ApplyOptions
        from imgmigrate.render.changes.tally import Tally
        from imgmigrate.render.summary import result_text

        tally, output = Tally(), self.settings.output
        command = again(self.settings, "adopt", *self.globs)
        options = ApplyOptions(
            parallelism=self.parallelism,
            lock_timeout=self.lock_timeout,
            command=command,
            on_rate_limit=self.on_rate_limit,
            takes_ownership=self.take_ownership,
        )

        def ended(result: RunFinished) -> str:
            return result_text(
                plan,
                result,
                resume=command,
                replan=command,
                style=output.style(),
                verbose=output.is_verbose,
            )

        return apply_now(self.settings, config, plan, options, tally, ended)
