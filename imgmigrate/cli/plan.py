"""`plan` and `show`: what would change, and what a saved plan says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click

from imgmigrate.cli.choosing import (
    arguments,
    chosen_rows,
    is_choosing,
    planning_of,
    planning_options,
    target_options,
)
from imgmigrate.cli.exit import Planned
from imgmigrate.cli.explaining import explain_now, explain_option, refuse_with_explain
from imgmigrate.cli.foreign import foreign_options, say_notes
from imgmigrate.cli.oneshot import oneshot_options
from imgmigrate.cli.options import (
    Command,
    Settings,
    common_options,
    file_path,
    locked_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
    refuse_later,
)
from imgmigrate.cli.refreshing import refresh_only_option, refuse_with_refresh_only
from imgmigrate.cli.wiring import command_line, open_config, read_state, shown, state_folder
from imgmigrate.errors import ImgmigrateError, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.plan import Change, Plan
    from imgmigrate.planning.planner import PlanOptions
    from imgmigrate.render.hints import Commander
    from imgmigrate.stores.registry.metering import OnRateLimit

__all__ = ["check_place", "plan", "plan_now", "present", "save", "show", "while_planning"]

ACTIONS = (
    *("copy", "update", "move", "delete", "adopt", "forget", "keep", "blocked"),
    *("conflict", "error", "drift"),
)
FORMATS = ("text", "json", "markdown", "md")
LATER_FORMATS = ("html",)


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate plan --out plan.out
  imgmigrate plan --target 'registry.new/team/**' --out plan.out
  imgmigrate plan --detailed-exitcode
  imgmigrate plan --config config.json                image-syncer's file
  imgmigrate plan --auth auth.yaml --images images.yaml
  imgmigrate plan --locked --out plan.out             what pin wrote down
  imgmigrate plan --from quay.io/team/app:v1 --to registry.new/team/app
  imgmigrate plan --allow-overwrite registry.new/team/api:2.1 --out plan.out
  imgmigrate plan --explain registry.new/team/api:2.1
  imgmigrate plan --refresh-only                      who has moved

\b
Exit codes: 0 planned, 2 changes (only with --detailed-exitcode), 3 some
images could not be read, 6 more deletes than max_delete allows or fewer
tags than a rule's min, 64 wrong usage or config.""",
)
@click.option("--out", type=file_path(), metavar="FILE", help="Save the plan, to apply exactly it.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 if a destination would change.")
@planning_options
@refresh_only_option
@click.option(
    "--sizes",
    type=click.Choice(("auto", "always", "never")),
    default="auto",
    show_default=True,
    help="Whether to read manifests for sizes; auto spares metered registries.",
)
@parallelism_option("How many images to look at at once.")
@on_rate_limit_option
@click.option("--verbose", is_flag=True, help="List every row of long lists.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout.")
@explain_option
@locked_option
@oneshot_options
@foreign_options
@common_options
@pass_settings
def plan(
    settings: Settings,
    out: Path | None,
    detailed_exitcode: bool,
    refresh_only: bool,
    sizes: Literal["auto", "always", "never"],
    parallelism: int,
    on_rate_limit: OnRateLimit,
    verbose: bool,
    as_json: bool,
    explain: str | None,
) -> Planned | None:
    """Show what an apply would change, and why.

    Reads both sides and the state; changes nothing and takes no lock.
    """
    output, planning = settings.output, planning_of(settings)
    if explain is not None:
        refuse_with_explain(
            out=out,
            detailed_exitcode=detailed_exitcode,
            target=planning.target,
            exclude=planning.exclude,
            replace=planning.replace,
            allow_overwrite=planning.allow_overwrite,
            allow_delete=planning.allow_delete,
        )
    if refresh_only:
        refuse_with_refresh_only(
            explain=explain,
            replace=planning.replace,
            allow_overwrite=planning.allow_overwrite,
            allow_delete=planning.allow_delete,
            max_delete=planning.max_delete,
            no_refresh=planning.no_refresh,
            locked=settings.locked,
        )
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
            verbose=verbose,
        )
        return None
    if out is not None:
        check_place(out, config)
    from imgmigrate.planning.planner import PlanOptions

    options = PlanOptions(
        target=planning.target,
        exclude=planning.exclude,
        replace=planning.replace,
        allow_overwrite=planning.allow_overwrite,
        allow_delete=planning.allow_delete,
        max_delete=planning.max_delete,
        refresh=not planning.no_refresh,
        refresh_only=refresh_only,
        sizes=sizes,
        parallelism=parallelism,
        on_rate_limit=on_rate_limit,
    )
    made = plan_now(settings, config, options)
    sha256 = save(made, out) if out else None
    command = partial(command_line, settings)
    again = partial(_same_again, settings)
    present(settings, made, out, sha256, verbose=verbose, command=command, again=again)
    return Planned(made, detailed=detailed_exitcode)


def check_place(out: Path, config: Config) -> None:
    """Refuse before planning a place where the plan cannot or must not be saved."""
    if not out.parent.is_dir():
        message = f"--out {out}: there is no folder {out.parent}"
        raise UsageError(message, hint="create it first")
    if out.exists() and config.path.exists() and out.samefile(config.path):
        message = f"--out {out}: this is the config, which the plan would overwrite"
        raise UsageError(message, hint="name another file, such as plan.out")


def plan_now(settings: Settings, config: Config, options: PlanOptions) -> Plan:
    """Plan while showing progress; an interruption says that nothing was changed."""
    from imgmigrate.planning.planner import make_plan

    return while_planning(settings, config, lambda sink: make_plan(config, options, sink=sink))


def while_planning(
    settings: Settings, config: Config, work: Callable[[Sink], Coroutine[Any, Any, Plan]]
) -> Plan:
    """Do the `work` of planning while showing its progress."""
    from imgmigrate.cli.run import run, watching
    from imgmigrate.render.tally import Tally

    say_notes(settings, config)
    try:
        with watching(settings.output, Tally()) as sink:
            return run(lambda: work(sink))
    except Interrupted as error:
        message = f"{error.message} while planning; nothing was changed"
        raise Interrupted(error.signal_number, message) from None


def save(made: Plan, out: Path) -> str:
    """Write the plan's file; return its sha256."""
    try:
        return made.write(out)
    except OSError as error:
        message = f"plan {out}: cannot be written: {error.strerror}"
        raise ImgmigrateError(message, hint="name another place with --out") from None


def present(
    settings: Settings,
    made: Plan,
    out: Path | None,
    sha256: str | None,
    *,
    verbose: bool,
    command: Commander,
    again: Commander,
) -> None:
    """Show a plan and what to do next; `again` makes commands that plan with the same options."""
    output = settings.output
    if output.stream:
        output.stream.plan(made, saved=str(out) if out else None, file_sha256=sha256)
        return
    from imgmigrate.render.hints import apply_hints, plan_hints
    from imgmigrate.render.text import View, plan_text

    hints = plan_hints(made, command) + apply_hints(made, again, out, sha256)
    output.text(plan_text(made, View(output.style(), verbose=verbose, hints=hints)))


def _same_again(settings: Settings, first: str, *rest: str) -> str:
    """A command line; one that plans does so with the same options."""
    chosen = arguments(settings) if first == "plan" else ()
    return command_line(settings, first, *chosen, *rest)


def _format(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value in LATER_FORMATS:
        error = refuse_later(f"--format {value}")
        error.ctx = ctx
        raise error
    if value not in FORMATS:
        message = f"{value!r} is not one of {', '.join(FORMATS)}"
        raise click.BadParameter(message, ctx, param)
    return value


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate show plan.out
  imgmigrate show plan.out --only conflict --only update
  imgmigrate show plan.out --format json       JSON Lines, for programs
  imgmigrate show plan.out --format markdown   a comment on a pull request
  imgmigrate show                     what the state holds

\b
Exit codes: 0 shown, 4 the plan is damaged or edited, 64 wrong usage.""",
)
@click.argument("plan_file", metavar="[PLAN]", required=False, type=file_path())
@click.option(
    "--format",
    "form",
    default="text",
    metavar="[text|json|markdown]",
    callback=_format,
    help="How to show it.  [default: text]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(ACTIONS),
    metavar="ACTION",
    help=f"Only rows with it: {', '.join(ACTIONS)}.",
)
@target_options
@click.option("--verbose", is_flag=True, help="List every row of long lists.")
@common_options
@pass_settings
def show(
    settings: Settings,
    plan_file: Path | None,
    form: str,
    as_json: bool,
    only: tuple[str, ...],
    verbose: bool,
) -> None:
    """Show a saved plan, or without PLAN what the state holds.

    A plan needs neither config nor network.
    """
    form = "json" if as_json else form
    if plan_file is not None:
        _show_plan(settings, plan_file, only, form, verbose)
        return
    if only or is_choosing(settings):
        message = "--only, --target and --exclude select rows of a plan: name its file"
        raise UsageError(message, hint="for the state: imgmigrate state list GLOB")
    if form in ("markdown", "md"):
        message = f"--format {form} shows a plan: name its file"
        raise UsageError(message, hint=f"imgmigrate show plan.out --format {form}")
    _show_state(settings, form == "json")


def _show_plan(
    settings: Settings, path: Path, only: tuple[str, ...], form: str, verbose: bool
) -> None:
    from imgmigrate.plan import read_plan

    made = read_plan(path)
    rows = _rows(settings, made, only)
    output = settings.output
    if form == "json":
        from imgmigrate.render.json import document_line, plan_documents

        for document in plan_documents(made, rows):
            output.line(document_line(document))
        return
    from imgmigrate.render.hints import apply_hints, plan_hints
    from imgmigrate.render.text import View, plan_text

    command = partial(command_line, settings)
    hints = plan_hints(made, command) + apply_hints(made, command, path)
    if form in ("markdown", "md"):
        from imgmigrate.render.markdown import plan_markdown

        output.text(plan_markdown(made, rows, hints))
        return
    view = View(output.style(), verbose=verbose, rows=rows, hints=hints)
    output.text(plan_text(made, view))


def _rows(settings: Settings, made: Plan, only: tuple[str, ...]) -> Sequence[Change] | None:
    """The rows to show; None if all are wanted."""
    if not only and not is_choosing(settings):
        return None
    rows = chosen_rows(settings, made)
    return [row for row in rows if not only or row.action.value in only]


def _show_state(settings: Settings, as_json: bool) -> None:
    state = read_state(settings)
    if as_json:
        from imgmigrate.render.json import document_line, state_document

        settings.output.line(document_line(state_document(state)))
        return
    from imgmigrate.render.state import state_lines

    output = settings.output
    for line in state_lines(state, shown(state_folder(settings)), output.style()):
        output.line(line)
