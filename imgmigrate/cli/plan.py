"""`plan` and `show`: what would change, and what a saved plan says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from imgmigrate.cli.exit import Planned
from imgmigrate.cli.explaining import explain_now, explain_option, refuse_with_explain
from imgmigrate.cli.foreign import foreign_options, say_notes
from imgmigrate.cli.oneshot import oneshot_options
from imgmigrate.cli.options import (
    Command,
    Settings,
    common_options,
    file_path,
    later_option,
    locked_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
    refuse_later,
)
from imgmigrate.cli.wiring import command_line, open_config, pick, read_state, shown, state_folder
from imgmigrate.errors import ImgmigrateError, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.plan import Change, Plan
    from imgmigrate.planning.planner import PlanOptions
    from imgmigrate.stores.registry.metering import OnRateLimit

__all__ = ["plan", "plan_now", "show"]

ACTIONS = ("copy", "update", "adopt", "forget", "keep", "conflict", "error")
LATER_FORMATS = ("markdown", "md", "html")


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

\b
Exit codes: 0 planned, 2 changes (only with --detailed-exitcode), 3 some
images could not be read, 64 wrong usage or config.""",
)
@click.option("--out", type=file_path(), metavar="FILE", help="Save the plan, to apply exactly it.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 if a destination would change.")
@click.option("--target", multiple=True, metavar="GLOB", help="Only these addresses.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these addresses.")
@click.option("--replace", multiple=True, metavar="GLOB", help="Write these again.")
@click.option(
    "--allow-overwrite",
    multiple=True,
    metavar="GLOB",
    help="Overwrite these although they are not ours.",
)
@click.option(
    "--no-refresh", is_flag=True, help="Take recorded images as recorded; read only the others."
)
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
@later_option("--allow-delete", is_flag=True)
@locked_option
@oneshot_options
@foreign_options
@common_options
@pass_settings
def plan(
    settings: Settings,
    out: Path | None,
    detailed_exitcode: bool,
    target: tuple[str, ...],
    exclude: tuple[str, ...],
    replace: tuple[str, ...],
    allow_overwrite: tuple[str, ...],
    no_refresh: bool,
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
    output = settings.output
    if explain is not None:
        refuse_with_explain(
            out=out,
            detailed_exitcode=detailed_exitcode,
            target=target,
            exclude=exclude,
            replace=replace,
            allow_overwrite=allow_overwrite,
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
        _check_place(out, config)
    from imgmigrate.planning.planner import PlanOptions

    options = PlanOptions(
        target=target,
        exclude=exclude,
        replace=replace,
        allow_overwrite=allow_overwrite,
        refresh=not no_refresh,
        sizes=sizes,
        parallelism=parallelism,
        on_rate_limit=on_rate_limit,
    )
    made = plan_now(settings, config, options)
    sha256 = _save(made, out) if out else None
    _present(settings, made, out, sha256, verbose=verbose)
    return Planned(made, detailed=detailed_exitcode)


def _check_place(out: Path, config: Config) -> None:
    """Refuse before planning a place where the plan cannot or must not be saved."""
    if not out.parent.is_dir():
        message = f"--out {out}: there is no folder {out.parent}"
        raise UsageError(message, hint="create it first")
    if out.exists() and config.path.exists() and out.samefile(config.path):
        message = f"--out {out}: this is the config, which the plan would overwrite"
        raise UsageError(message, hint="name another file, such as plan.out")


def plan_now(settings: Settings, config: Config, options: PlanOptions) -> Plan:
    """Plan while showing progress; an interruption says that nothing was changed."""
    from imgmigrate.cli.run import run, watching
    from imgmigrate.planning.planner import make_plan
    from imgmigrate.render.tally import Tally

    say_notes(settings, config)
    try:
        with watching(settings.output, Tally()) as sink:
            return run(lambda: make_plan(config, options, sink=sink))
    except Interrupted as error:
        message = f"{error.message} while planning; nothing was changed"
        raise Interrupted(error.signal_number, message) from None


def _save(made: Plan, out: Path) -> str:
    try:
        return made.write(out)
    except OSError as error:
        message = f"plan {out}: cannot be written: {error.strerror}"
        raise ImgmigrateError(message, hint="name another place with --out") from None


def _present(
    settings: Settings, made: Plan, out: Path | None, sha256: str | None, *, verbose: bool
) -> None:
    output = settings.output
    if output.stream:
        output.stream.plan(made, saved=str(out) if out else None, file_sha256=sha256)
        return
    from imgmigrate.render.hints import apply_hints, plan_hints
    from imgmigrate.render.text import View, plan_text

    command = partial(command_line, settings)
    hints = plan_hints(made, command) + apply_hints(made, command, out, sha256)
    output.text(plan_text(made, View(output.style(), verbose=verbose, hints=hints)))


def _format(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if value in LATER_FORMATS:
        error = refuse_later(f"--format {value}")
        error.ctx = ctx
        raise error
    if value not in ("text", "json"):
        message = f"{value!r} is not one of text, json"
        raise click.BadParameter(message, ctx, param)
    return value


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which rows of a plan to show."""

    only: tuple[str, ...]
    target: tuple[str, ...]

    def of(self, made: Plan) -> Sequence[Change] | None:
        """The rows; None if all are wanted."""
        if not self.only and not self.target:
            return None
        rows = pick(made.changes, self.target, lambda change: change.address, option="--target")
        return [row for row in rows if not self.only or row.action.value in self.only]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate show plan.out
  imgmigrate show plan.out --only conflict --only update
  imgmigrate show plan.out --format json
  imgmigrate show                     what the state holds

\b
Exit codes: 0 shown, 4 the plan is damaged or edited, 64 wrong usage.""",
)
@click.argument("plan_file", metavar="[PLAN]", required=False, type=file_path())
@click.option(
    "--format",
    "form",
    default="text",
    metavar="[text|json]",
    callback=_format,
    help="How to show it.  [default: text]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--only", multiple=True, type=click.Choice(ACTIONS), help="Only rows with this action."
)
@click.option("--target", multiple=True, metavar="GLOB", help="Only these addresses.")
@click.option("--verbose", is_flag=True, help="List every row of long lists.")
@common_options
@pass_settings
def show(
    settings: Settings,
    plan_file: Path | None,
    form: str,
    as_json: bool,
    only: tuple[str, ...],
    target: tuple[str, ...],
    verbose: bool,
) -> None:
    """Show a saved plan, or without PLAN what the state holds.

    A plan needs neither config nor network.
    """
    as_json = as_json or form == "json"
    if plan_file is not None:
        _show_plan(settings, plan_file, _Selection(only, target), as_json, verbose)
        return
    if only or target:
        message = "--only and --target select rows of a plan: name its file"
        raise UsageError(message, hint="for the state: imgmigrate state list GLOB")
    _show_state(settings, as_json)


def _show_plan(
    settings: Settings, path: Path, selection: _Selection, as_json: bool, verbose: bool
) -> None:
    from imgmigrate.plan import read_plan

    made = read_plan(path)
    rows = selection.of(made)
    output = settings.output
    if as_json:
        from imgmigrate.render.json import plan_document

        output.line(json.dumps(plan_document(made, rows), ensure_ascii=False, indent=2))
        return
    from imgmigrate.render.hints import apply_hints, plan_hints
    from imgmigrate.render.text import View, plan_text

    command = partial(command_line, settings)
    hints = plan_hints(made, command) + apply_hints(made, command, path)
    view = View(output.style(), verbose=verbose, rows=rows, hints=hints)
    output.text(plan_text(made, view))


def _show_state(settings: Settings, as_json: bool) -> None:
    state = read_state(settings)
    if as_json:
        from imgmigrate.render.json import state_document

        document = state_document(state)
        settings.output.line(json.dumps(document, ensure_ascii=False, indent=2))
        return
    from imgmigrate.render.state import state_lines

    output = settings.output
    for line in state_lines(state, shown(state_folder(settings)), output.style()):
        output.line(line)
