"""`plan`: what would change, and why."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click

from imgmigrate.cli.exit import Planned
from imgmigrate.cli.explaining import explain_now, explain_option, refuse_with_explain
from imgmigrate.cli.given.again import HELD, again, was_given
from imgmigrate.cli.given.choice import planning_of, planning_options
from imgmigrate.cli.given.config import open_config, shown
from imgmigrate.cli.given.foreign import foreign_options, say_notes
from imgmigrate.cli.given.limits import limits_of, outage_option
from imgmigrate.cli.given.oneshot import oneshot_options
from imgmigrate.cli.given.options import (
    EVERY_ROW,
    Command,
    Settings,
    common_options,
    file_path,
    json_option,
    locked_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
    telling_options,
)
from imgmigrate.cli.given.saved import keeper_for, store_plan
from imgmigrate.cli.given.untrusted import (
    refuse_recording,
    refuse_without_state,
    state_file_option,
    untrusted_options,
)
from imgmigrate.cli.outfile import check_place, save_to
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.plan import Plan
    from imgmigrate.planning.planner import PlanOptions
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["plan", "plan_now", "present", "save", "show_headline", "while_planning"]


_refresh_only_option = click.option(
    "--refresh-only",
    is_flag=True,
    help="Show who moved since the record: the source, the destination, or both.",
)

_refresh_referrers_option = click.option(
    "--refresh-referrers",
    is_flag=True,
    help="Ask for signatures and the like of all images, not only of new and moved ones.",
)


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate plan --out plan.out
  imgmigrate plan --save                              keep it beside the state
  imgmigrate plan --record                            note what is seen first
  imgmigrate plan --target 'registry.new/team/**' --out plan.out
  imgmigrate plan --detailed-exitcode
  imgmigrate plan --config config.json                image-syncer's file
  imgmigrate plan --auth auth.yaml --images images.yaml
  imgmigrate plan --locked --out plan.out             what pin wrote down
  imgmigrate plan --from quay.io/team/app:v1 --to registry.new/team/app
  imgmigrate plan --allow-overwrite registry.new/team/api:2.1 --out plan.out
  imgmigrate plan --allow-delete --out plan.out       unwanted images go
  imgmigrate plan --forget --out plan.out             unwanted images stay
  imgmigrate plan --explain registry.new/team/api:2.1
  imgmigrate plan --refresh-only                      who has moved
  imgmigrate plan --refresh-referrers --out plan.out  late signatures
  imgmigrate plan --untrusted --trusted trusted.yaml  a stranger's config

\b
Exit codes: 0 planned, 2 changes or conflicts (only with
--detailed-exitcode), 3 some images could not be read, 6 more deletes than
max_delete allows or fewer tags than a rule's min, 64 wrong usage or
config.""",
)
@click.option("--out", type=file_path(), metavar="FILE", help="Save the plan, to apply exactly it.")
@click.option("--save", "is_kept", is_flag=True, help="Keep the plan where the state is.")
@click.option("--record", is_flag=True, help="Record, beside the state, what sources show first.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 for changes and conflicts.")
@planning_options
@_refresh_only_option
@_refresh_referrers_option
@click.option(
    "--sizes",
    type=click.Choice(("auto", "always", "never")),
    default="auto",
    show_default=True,
    help="Whether to read manifests for sizes; auto spares metered registries.",
)
@parallelism_option("How many images to look at at once.")
@on_rate_limit_option
@outage_option
@telling_options(EVERY_ROW)
@json_option
@explain_option
@locked_option
@untrusted_options
@state_file_option
@oneshot_options
@foreign_options
@common_options
@pass_settings
def plan(
    settings: Settings,
    out: Path | None,
    is_kept: bool,
    record: bool,
    detailed_exitcode: bool,
    refresh_only: bool,
    refresh_referrers: bool,
    sizes: Literal["auto", "always", "never"],
    parallelism: int,
    on_rate_limit: OnRateLimit,
    as_json: bool,
    explain: str | None,
) -> Planned | None:
    """Show what an apply would change, and why.

    Reads both sides and the state; changes nothing and takes no lock. With --save the plan
    itself is put where the state is, and `apply --plan sha256:HEX` takes it from there, on
    whichever machine. With --record it is noted beside the state when each digest of a source
    was first seen; of plans no other notes that.
    """
    output, planning = settings.output, planning_of(settings)
    limits = limits_of(settings)
    if explain is not None:
        refuse_with_explain(
            out=out,
            save=is_kept,
            record=record,
            detailed_exitcode=detailed_exitcode,
            target=planning.target,
            exclude=planning.exclude,
            replace=planning.replace,
            allow_overwrite=planning.allow_overwrite,
            allow_delete=planning.allow_delete,
            allow_delete_gone=planning.allow_delete_gone,
            forget=planning.forget,
            no_refresh=planning.no_refresh,
            sizes=was_given(settings, "--sizes"),
        )
    if refresh_only:
        _refuse_with_refresh_only(
            explain=explain,
            record=record,
            replace=planning.replace,
            allow_overwrite=planning.allow_overwrite,
            allow_delete=planning.allow_delete,
            allow_delete_gone=planning.allow_delete_gone,
            forget=planning.forget,
            max_delete=planning.max_delete,
            no_refresh=planning.no_refresh,
            refresh_referrers=refresh_referrers,
            locked=settings.locked,
        )
    refuse_without_state(settings, planning, refresh_only=refresh_only)
    if as_json:
        output.open_stream()
    config = open_config(settings)
    if explain is not None:
        explain_now(
            settings,
            config,
            explain,
            parallelism=parallelism,
            on_rate_limit=on_rate_limit,
            limits=limits,
            verbose=output.is_verbose,
        )
        return None
    if out is not None:
        check_place(out, settings, config)
    keeper = keeper_for(settings, config) if is_kept else None
    if record:
        refuse_recording(settings, config)
    options = planning.options(
        refresh_only=refresh_only,
        refresh_referrers=refresh_referrers,
        sizes=sizes,
        parallelism=parallelism,
        on_rate_limit=on_rate_limit,
        outage=limits.outage,
        awaits_strangers=limits.awaits_strangers,
        record=record,
    )
    made = plan_now(settings, config, options)
    sha256 = save(settings, made, out) if out else None
    place = shown(config.state_place) if keeper is not None else None
    if keeper is not None:
        sha256 = store_plan(settings, keeper, made, made.encode())
    present(settings, made, out, sha256, place=place, command=partial(again, settings))
    return Planned(made, detailed=detailed_exitcode)


def plan_now(settings: Settings, config: Config, options: PlanOptions) -> Plan:
    """Plan while showing progress; an interruption says that nothing was changed."""
    from imgmigrate.planning.planner import make_plan

    return while_planning(settings, config, lambda sink: make_plan(config, options, sink=sink))


def while_planning(
    settings: Settings, config: Config, work: Callable[[Sink], Coroutine[Any, Any, Plan]]
) -> Plan:
    """Do the `work` of planning while showing its progress."""
    from imgmigrate.cli.run import look

    say_notes(settings, config)
    return look(settings.output, work, doing="planning")


def save(settings: Settings, made: Plan, out: Path) -> str:
    """Write the plan's file; return its sha256."""
    data = made.encode()
    save_to(settings, out, data, what="plan")
    return hashlib.sha256(data).hexdigest()


def present(
    settings: Settings,
    made: Plan,
    out: Path | None,
    sha256: str | None,
    *,
    command: Callable[..., str],
    place: str | None = None,
) -> None:
    """Show a plan and what to do next, by commands that `command` makes.

    `place` is that of the state where it is kept too.
    """
    output = settings.output
    if output.stream:
        saved = str(out) if out else None
        output.stream.plan(made, saved=saved, file_sha256=sha256, saved_in=place)
        return
    if output.is_quiet:
        show_headline(settings, made)
        if place is not None:
            output.line(f"sha256:{sha256}")  # nothing else names it
        return
    from imgmigrate.render.changes.hints import apply_hints, plan_hints
    from imgmigrate.render.changes.text import View, plan_text

    # What applies what was saved is not asked again for what it was planned with.
    is_saved = out is not None or place is not None
    following = partial(command, drop=HELD) if is_saved else command
    hints = plan_hints(made, command, out) + apply_hints(made, following, out, sha256, place)
    output.text(plan_text(made, View(output.style(), verbose=output.is_verbose, hints=hints)))


def show_headline(settings: Settings, made: Plan) -> None:
    """Say a plan in its one sentence."""
    from imgmigrate.render.words import headline_of

    for line in settings.output.style().wrap(headline_of(made), hanging="  "):
        settings.output.line(line)


def _refuse_with_refresh_only(**options: object) -> None:
    """Refuse what only a plan of the rules can mean."""
    for name, value in options.items():
        if value not in (None, False, ()):
            option = f"--{name.replace('_', '-')}"
            message = f"{option}: --refresh-only looks at what is recorded, not at the rules"
            raise UsageError(message, hint=f"leave {option} out, or --refresh-only")
