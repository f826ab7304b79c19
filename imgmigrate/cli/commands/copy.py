"""`copy`: plan, show, ask and carry out what no config names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from imgmigrate.cli.approval import check_can_ask
from imgmigrate.cli.commands.apply import Task
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.choice import copying_options
from imgmigrate.cli.given.limits import limit_options, limits_of, outage_option
from imgmigrate.cli.given.oneshot import name_ends, plain_http_option, tags_option
from imgmigrate.cli.given.options import (
    EVERY_IMAGE,
    Command,
    Settings,
    auto_approve_option,
    common_options,
    json_option,
    lock_timeout_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
    telling_options,
)

if TYPE_CHECKING:
    from imgmigrate.cli.exit import Applied, Declined
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["copy"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate copy quay.io/team/app:v1 registry.new/team/app
  imgmigrate copy quay.io/team/app:v1 registry.new/team/app:stable
  imgmigrate copy quay.io/team/app registry.new/team/app --tags 'v1.*'
  imgmigrate copy quay.io/team/app:v1 oci:bundle/app --auto-approve
  imgmigrate copy 'harbor.old/team/**' 'registry.new/{repository}'

\b
Exit codes: those of apply: 0 all done, 1 not approved, 3 some images failed,
could not be read or were not reached, 5 the state is locked, 7 only
conflicts are left, 64 wrong usage. After 3 and an interruption the same
command goes on.""",
)
@click.argument("source", metavar="SRC")
@click.argument("destinations", metavar="DST...", nargs=-1, required=True)
@tags_option
@plain_http_option
@auto_approve_option
@parallelism_option("How many images to have open at once.")
@on_rate_limit_option
@lock_timeout_option
@telling_options(EVERY_IMAGE)
@json_option
@copying_options
@limit_options
@outage_option
@common_options
@pass_settings
def copy(
    settings: Settings,
    source: str,
    destinations: tuple[str, ...],
    auto_approve: bool,
    parallelism: int,
    on_rate_limit: OnRateLimit,
    lock_timeout: float,
    as_json: bool,
) -> Applied | Declined:
    """Copy images without a config: plan, show the plan, ask, apply.

    The same as apply --from SRC --to DST: SRC and DST are what a rule of a config says, and what
    was copied is recorded in state/oneshot. Nothing is forgotten or deleted.
    """
    settings.output.left_something = True
    if as_json:
        settings.output.open_stream()
    check_can_ask(auto_approve=auto_approve, as_json=as_json, instead="plan with --from and --to")
    name_ends(settings, source, destinations)
    same, limits = partial(again, settings, "copy", source, *destinations), limits_of(settings)
    task = Task(settings, same, parallelism, on_rate_limit, False, lock_timeout, limits)
    return task.from_config(auto_approve)
