"""`show`: what a saved plan says, or what the state holds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.choice import chosen_rows, is_choosing, target_options
from imgmigrate.cli.given.config import read_state, shown, state_options, state_place, tell_whose
from imgmigrate.cli.given.options import (
    EVERY_ROW,
    Command,
    Settings,
    file_path,
    pass_settings,
    verbose_option,
)
from imgmigrate.cli.given.saved import fetch_plan, kept_at, saved_plan_option
from imgmigrate.errors import UsageError
from imgmigrate.vocabulary.actions import Action

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.plan import Change, Plan

__all__ = ["show"]

ACTIONS = tuple(action.value for action in Action)
FORMATS = ("text", "json", "markdown", "md", "repositories")


def _format(ctx: click.Context, param: click.Parameter, value: str) -> str:
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
  imgmigrate show plan.out --format repositories   those to create, as JSON
  imgmigrate show --plan sha256:HEX   what plan --save kept
  imgmigrate show                     what the state holds

\b
Exit codes: 0 shown, 4 the plan is damaged or edited, 64 wrong usage.""",
)
@click.argument("plan_file", metavar="[PLAN]", required=False, type=file_path())
@saved_plan_option
@click.option(
    "--format",
    "form",
    default="text",
    metavar="[text|json|markdown|repositories]",
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
@verbose_option(EVERY_ROW)
@state_options
@pass_settings
def show(
    settings: Settings,
    plan_file: Path | None,
    saved_plan: str | None,
    form: str,
    as_json: bool,
    only: tuple[str, ...],
) -> None:
    """Show a saved plan, or without PLAN what the state holds.

    A plan in a file needs neither config nor network; one that plan --save kept is read from
    where the state is.
    """
    form = "json" if as_json else form
    if saved_plan is not None:
        fetched = fetch_plan(settings, saved_plan, plan_file)
        _show_plan(settings, fetched.plan, only, form, key=fetched.key)
        return
    if plan_file is not None:
        from imgmigrate.plan import read_plan

        _show_plan(settings, read_plan(plan_file), only, form, path=plan_file)
        return
    if only or is_choosing(settings):
        message = "--only, --target and --exclude select rows of a plan: name its file"
        raise UsageError(message, hint="for the state: imgmigrate state list GLOB")
    if form in ("markdown", "md", "repositories"):
        message = f"--format {form} shows a plan: name its file"
        raise UsageError(message, hint=f"imgmigrate show plan.out --format {form}")
    _show_state(settings, form == "json")


def _show_plan(
    settings: Settings,
    made: Plan,
    only: tuple[str, ...],
    form: str,
    *,
    path: Path | None = None,
    key: str | None = None,
) -> None:
    """Show a plan, and what applies it from its file or, by its key, from where the state is."""
    rows = _rows(settings, made, only)
    output = settings.output
    if form == "json":
        from imgmigrate.render.json import document_line, plan_documents

        for document in plan_documents(made, rows):
            output.line(document_line(document))
        return
    if form == "repositories":
        from imgmigrate.render.json import document_line, repositories_document

        output.line(document_line(repositories_document(made, rows)))
        return
    from imgmigrate.render.changes.hints import apply_hints, plan_hints
    from imgmigrate.render.changes.text import View, plan_text

    command = partial(again, settings)
    if key is not None:
        place, sha256 = shown(kept_at(settings)), key.removeprefix("sha256:")
        applying = apply_hints(made, command, None, sha256, place)
    else:
        applying = apply_hints(made, command, path)
    hints = plan_hints(made, command, path) + applying
    if form in ("markdown", "md"):
        from imgmigrate.render.changes.markdown import plan_markdown

        output.text(plan_markdown(made, rows, hints))
        return
    view = View(output.style(), verbose=output.is_verbose, rows=rows, hints=hints)
    output.text(plan_text(made, view))


def _rows(settings: Settings, made: Plan, only: tuple[str, ...]) -> Sequence[Change] | None:
    """The rows to show; None if all are wanted."""
    if not only and not is_choosing(settings):
        return None
    rows = chosen_rows(settings, made)
    return [row for row in rows if not only or row.action.value in only]


def _show_state(settings: Settings, as_json: bool) -> None:
    state = read_state(settings)
    tell_whose(settings, state)
    if as_json:
        from imgmigrate.render.json import document_line, state_document

        settings.output.line(document_line(state_document(state)))
        return
    from imgmigrate.render.reports.state import state_lines

    output = settings.output
    for line in state_lines(state, shown(state_place(settings)), output.style()):
        output.line(line)
