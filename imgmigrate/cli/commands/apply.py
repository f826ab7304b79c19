"""`apply`: carry out a saved plan, or plan, show, ask and carry out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from imgmigrate.cli.approval import approved, check_can_ask
from imgmigrate.cli.commands.plan import plan_now, show_headline
from imgmigrate.cli.evidence import evidence_of, evidence_options
from imgmigrate.cli.exit import Applied, Declined
from imgmigrate.cli.given import choice as choosing
from imgmigrate.cli.given.again import again, was_given
from imgmigrate.cli.given.choice import planning_of, planning_options
from imgmigrate.cli.given.config import open_config, shown, with_state
from imgmigrate.cli.given.foreign import foreign_options
from imgmigrate.cli.given.limits import Limits, limit_options, limits_of, outage_option
from imgmigrate.cli.given.oneshot import ENDS, load_for_apply, load_oneshot, oneshot_options
from imgmigrate.cli.given.options import (
    DEFAULT_CONFIG,
    EVERY_IMAGE,
    Command,
    Settings,
    auto_approve_option,
    common_options,
    file_path,
    json_option,
    lock_timeout_option,
    locked_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
    telling_options,
)
from imgmigrate.cli.given.saved import fetch_plan, saved_plan_option
from imgmigrate.errors import Interrupted, PlanRefused, StateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from imgmigrate.applying.apply import ApplyOptions
    from imgmigrate.cli.evidence import Evidence
    from imgmigrate.cli.given.saved import Fetched
    from imgmigrate.config.model import Config
    from imgmigrate.events import Event, Receipt, RunFinished, Sink
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Plan
    from imgmigrate.render.changes.tally import Tally
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["Task", "apply", "apply_now"]

# Globs of a plan that a command which plans it again still names: a file had more of them.
MOST_CHOSEN = 5
# Bytes an image from which on a run is about its bytes, not about its requests.
BULK = 64 * 1024 * 1024


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate apply plan.out           do it; again: go on where it ended
  imgmigrate apply --plan sha256:HEX  what plan --save kept
  imgmigrate apply                    plan, show, ask for yes, apply
  imgmigrate apply --auto-approve     without asking, as from cron
  imgmigrate apply plan.out --target 'registry.new/team/**'
  imgmigrate apply plan.out --max-duration 5h --max-failures 1%
  imgmigrate apply --locked           the same, planned from the pins

\b
Exit codes: 0 all done, 1 not approved, 3 some images failed, could not be
read or were not reached, 4 the plan was refused, 5 the state is locked,
6 max_delete kept all deletes from being done, or another guard refused a
row, 7 only conflicts are left, 8 images moved but the state could not be
written, 64 wrong usage or config, 129, 130 or 143 interrupted. After 3
and an interruption the same command goes on; 7 needs a person who decides.""",
)
@click.argument("plan_file", metavar="[PLAN]", required=False, type=file_path())
@saved_plan_option
@auto_approve_option
@parallelism_option("How many images to have open at once.")
@on_rate_limit_option
@click.option("--strict", is_flag=True, help="Refuse the whole plan if any row is stale.")
@click.option(
    "--expect-sha256", metavar="HEX", help="Refuse PLAN unless sha256sum prints this for it."
)
@lock_timeout_option
@telling_options(EVERY_IMAGE)
@json_option
@planning_options
@limit_options
@outage_option
@evidence_options
@locked_option
@oneshot_options
@foreign_options
@common_options
@pass_settings
def apply(
    settings: Settings,
    plan_file: Path | None,
    saved_plan: str | None,
    auto_approve: bool,
    parallelism: int,
    on_rate_limit: OnRateLimit,
    strict: bool,
    expect_sha256: str | None,
    lock_timeout: float,
    as_json: bool,
    report: Path | None,
    sign: str | None,
) -> Applied | Declined:
    """Carry out a plan, image by image, recording each.

    With PLAN, or --plan, exactly that is done, without asking; --target and --exclude choose
    rows of it, the others wait for another apply. Without either, imgmigrate plans, shows the
    plan and asks for `yes`; with --auto-approve it does all of it in one process, and asks
    nobody.
    """
    settings.output.left_something = True
    if as_json:
        settings.output.open_stream()
    if plan_file is None and saved_plan is None:
        _check_can_ask(auto_approve, as_json, expect_sha256)
    elif settings.locked:
        message = "--locked is for planning, and PLAN is planned"
        raise UsageError(message, hint="leave --locked out: PLAN knows what it was made from")
    else:
        choosing.refuse_planning(settings)
    same, limits = partial(again, settings, "apply"), limits_of(settings)
    is_kept = saved_plan is not None
    evidence = evidence_of(report, sign)
    task = Task(
        settings,
        same,
        parallelism,
        on_rate_limit,
        strict,
        lock_timeout,
        limits,
        is_kept,
        evidence,
    )
    if saved_plan is not None:
        return task.from_state(
            fetch_plan(settings, saved_plan, plan_file, expect_sha256=expect_sha256)
        )
    if plan_file is not None:
        return task.from_file(plan_file, expect_sha256)
    return task.from_config(auto_approve)


def _check_can_ask(auto_approve: bool, as_json: bool, expect_sha256: str | None) -> None:
    """Refuse before planning what could not be approved after it."""
    if expect_sha256:
        message = "--expect-sha256 needs the plan file that it is the sha256 of"
        raise UsageError(message, hint="imgmigrate apply plan.out --expect-sha256 HEX")
    check_can_ask(
        auto_approve=auto_approve, as_json=as_json, instead="save a plan and apply its file"
    )


class Receipts:
    """A sink that keeps what became of each row."""

    def __init__(self) -> None:
        self.found: dict[Reference, Receipt] = {}

    def emit(self, event: Event) -> None:
        """Keep a receipt."""
        from imgmigrate.events import ImageFinished

        if isinstance(event, ImageFinished):
            self.found[event.receipt.address] = event.receipt


class Task(Struct, frozen=True):
    """One apply, as the command line asks for it; `same` prints the command that asks.

    `is_kept` says that its plan lies where the state does; `evidence` is the report that is kept.
    """

    settings: Settings
    same: Callable[..., str]
    parallelism: int
    on_rate_limit: OnRateLimit
    strict: bool
    lock_timeout: float
    limits: Limits
    is_kept: bool = False
    evidence: Evidence | None = None

    def from_file(self, path: Path, expect_sha256: str | None) -> Applied:
        """Apply exactly the plan in a file."""
        from imgmigrate.plan import read_plan

        return self._reviewed(read_plan(path, expect_sha256=expect_sha256), str(path))

    def from_state(self, fetched: Fetched) -> Applied:
        """Apply exactly a plan that was kept where the state is, and note there what did."""
        applied = self._reviewed(fetched.plan, "--plan", fetched.key)
        if applied.result is not None:
            fetched.note_run(applied.result.run)
        return applied

    def _reviewed(self, whole: Plan, *named: str) -> Applied:
        """Apply exactly a plan that was made before; it is `named` so on a command line."""
        from imgmigrate.applying.resume.plan_checks import check_first
        from imgmigrate.applying.resume.warrant import check_summary
        from imgmigrate.planning.passes.known_conflicts import marked

        # What is announced, asked and counted from here on is what the rows are.
        check_summary(whole, self._replan(whole, named[-1]))
        plan = choosing.chosen(self.settings, whole)
        config = _config_of(self.settings, plan, *named)
        plan = marked(plan, config.known, datetime.now(UTC).date())
        self._warn_of_differences(config, plan)
        left = len(whole.changes) - len(plan.changes)
        check_first(plan, config, named[-1])
        self._announce(plan, left)
        most = self.limits.max_duration
        applied = self._apply(config, plan, self._same(*named), most, named[-1])
        if left and not self.settings.output.stream:
            self.settings.output.line(f"Left for another apply: {left:,} of the plan's rows.")
        return applied

    def from_config(self, auto_approve: bool) -> Applied | Declined:
        """Plan, show, ask, apply."""
        config = open_config(self.settings)
        longest, most = self.limits.outage, self.limits.max_duration
        options = planning_of(self.settings).options(
            parallelism=self.parallelism,
            on_rate_limit=self.on_rate_limit,
            outage=longest if most is None else min(longest, most),
            awaits_strangers=self.limits.awaits_strangers,
        )
        began = monotonic()
        plan = plan_now(self.settings, config, options)
        planned_in = monotonic() - began
        self._show(plan, is_asked=not auto_approve)
        from imgmigrate.render.words import has_work

        if has_work(plan.summary) and not approved(
            self.settings.output, "Do this?", auto_approve=auto_approve, refused="not applied"
        ):
            return Declined()
        left = None if most is None else max(0.0, most - planned_in)
        return self._apply(config, plan, self._same(), left)

    def _same(self, *named: str) -> str:
        """The command that goes on in the same way; how old a plan may be is asked once."""
        return self.same(*named, drop=("--max-plan-age",))

    def _replan(self, plan: Plan, file: str | None = None) -> str:
        """The command that plans the same again, and allows the deletes that were too many.

        `file` is where the plan was saved, or its key where it lies beside the state.
        """
        from imgmigrate.render.changes.hints import allowing

        may_delete = was_given(self.settings, "--allow-delete", "--allow-delete-gone")
        allowed = () if may_delete else allowing(plan)
        if plan.header.undoes:
            out = "back.out" if self.is_kept or file is None else file
            words = ("rollback", plan.header.undoes, *allowed, "--out", out)
            return again(self.settings, *words)
        refresh = ("--refresh-only",) if plan.header.refresh_only else ()
        chosen = self._chosen(plan)
        saved = ("--save",) if self.is_kept else ("--out", file or "plan.out")
        return again(self.settings, "plan", *refresh, *allowed, *chosen, *saved)

    def _chosen(self, plan: Plan) -> tuple[str, ...]:
        """What the plan was limited to, as long as a command line is the place for it."""
        filters = plan.whole.header.filters
        names = (("--target", filters.target), ("--exclude", filters.exclude))
        chosen = tuple(part for name, globs in names for glob in globs for part in (name, glob))
        is_typed = was_given(self.settings, "--target-file")
        return () if is_typed or len(chosen) > 2 * MOST_CHOSEN else chosen

    def _apply(
        self,
        config: Config,
        plan: Plan,
        command: str,
        max_duration: float | None,
        file: str | None = None,
    ) -> Applied:
        from imgmigrate.render.words import has_work

        if self.evidence is not None:
            self.evidence.check(self.settings, config, file)
        if not has_work(plan.summary):
            self._keep_books(config, plan, command)
            self._report(plan, None, {})
            return Applied(plan, None)
        from imgmigrate.render.changes.tally import Tally
        from imgmigrate.render.summary import result_text

        tally, output = Tally(), self.settings.output
        options = self._options(plan, command, max_duration, file)

        def ended(result: RunFinished) -> str:
            return result_text(
                plan,
                result,
                resume=command,
                replan=self._replan(plan, file),
                style=output.style(),
                verbose=output.is_verbose,
            )

        receipts = Receipts()
        result = apply_now(self.settings, config, plan, options, tally, ended, receipts)
        self._report(plan, result, receipts.found)
        return Applied(plan, result)

    def _report(
        self, plan: Plan, result: RunFinished | None, receipts: Mapping[Reference, Receipt]
    ) -> None:
        """Write the report of what was done, if one is kept."""
        if self.evidence is None:
            return
        import socket

        from imgmigrate import __version__
        from imgmigrate.applying.statement import run_statement
        from imgmigrate.clock import timestamp

        statement = run_statement(
            plan,
            result,
            receipts,
            at=timestamp(datetime.now(UTC)),
            version=__version__,
            host=socket.gethostname(),
        )
        self.evidence.save(self.settings, statement)

    def _keep_books(self, config: Config, plan: Plan, command: str) -> None:
        """Note in the state what the config says of it, although nothing else is to be done."""
        from imgmigrate.applying.resume.books import keep_books
        from imgmigrate.cli.run import run

        told = run(
            lambda: keep_books(
                config,
                plan,
                command=command,
                lock_timeout=self.lock_timeout,
                warned=self.settings.output.warned,
            )
        )
        if told:
            self.settings.output.warn("state_bound", told)

    def _options(
        self, plan: Plan, command: str, max_duration: float | None, file: str | None
    ) -> ApplyOptions:
        from imgmigrate.applying.apply import ApplyOptions

        return ApplyOptions(
            parallelism=self.parallelism,
            strict=self.strict,
            lock_timeout=self.lock_timeout,
            command=command,
            on_rate_limit=self.on_rate_limit,
            outage=self.limits.outage,
            awaits_strangers=self.limits.awaits_strangers,
            fail_fast=self.limits.fail_fast,
            max_failures=self.limits.max_failures,
            max_duration=max_duration,
            max_plan_age=self.limits.max_plan_age,
            replan=self._replan(plan, file),
            file=file or "plan.out",
        )

    def _announce(self, plan: Plan, left: int) -> None:
        """Say what begins, and how many rows of the plan are left for another apply.

        A plan of conflicts and errors alone is shown, as nothing follows.
        """
        from imgmigrate.render.words import has_work

        output = self.settings.output
        if output.stream:
            output.stream.plan(plan, rows=(), **({"rows_left": left} if left else {}))
        elif not has_work(plan.summary):
            self._show(plan)
        elif not output.is_quiet:
            show_headline(self.settings, plan)

    def _show(self, plan: Plan, *, is_asked: bool = False) -> None:
        """Show a plan; a quiet one is shown to whoever is asked about it."""
        output = self.settings.output
        if output.stream:
            output.stream.plan(plan)
            return
        from imgmigrate.render.changes.hints import plan_hints
        from imgmigrate.render.changes.text import View, plan_text
        from imgmigrate.render.words import has_work

        if output.is_quiet and has_work(plan.summary) and not is_asked:
            return  # the end of its apply follows

        hints = plan_hints(plan, partial(again, self.settings))
        output.text(plan_text(plan, View(output.style(), verbose=output.is_verbose, hints=hints)))

    def _warn_of_differences(self, config: Config, plan: Plan) -> None:
        """Tell that the config has moved on; the plan alone decides what is written."""
        from imgmigrate.planning.heading import git_commit

        header, warn = plan.header, self.settings.output.warn
        if header.config_sha256 and header.config_sha256 != config.sha256:
            warn(
                "config_differs",
                f"{shown(config.path)} is not the config that this plan was made from; "
                "the plan is applied as it was reviewed",
            )
        commit = git_commit(config.base) if header.git_commit else None
        if commit and commit != header.git_commit:
            warn(
                "commit_differs",
                f"the plan was made at commit {str(header.git_commit)[:12]}, this is {commit[:12]}",
            )


def _config_of(settings: Settings, plan: Plan, *file: str) -> Config:
    """Open the config that a plan is applied with; one without says so by having no sha256 of it.

    Where a config lies at hand, a plan that none stands behind has to be meant: its ends are
    named again, or whoever can edit its file would choose that no rule is asked.
    """
    named = next((name for name in ENDS if name in settings.oneshot), None)
    if plan.header.config_sha256 is not None:
        if named is not None:
            message = f"{named} belongs to a plan without a config, and this one has one"
            raise UsageError(message, hint=f"leave {named} out")
        return open_config(settings)
    if named is not None:
        return with_state(settings, load_oneshot(settings))
    config = load_for_apply(settings)
    if not plan.header.undoes and DEFAULT_CONFIG.exists():
        message = f"plan {plan.plan_id}: made without a config, and {DEFAULT_CONFIG} is here"
        right = again(settings, "apply", *_ends(plan), *file)
        raise PlanRefused(message, hint=f"if that is meant, name its ends: {right}")
    return with_state(settings, config)


def _ends(plan: Plan) -> tuple[str, ...]:
    """The options that name the ends of a plan without a config."""
    ends = plan.header.ends
    source, there = (ends.source, ends.destinations) if ends else ("SRC", ("DST",))
    return ("--from", source, *(word for each in there for word in ("--to", each)))


def apply_now(
    settings: Settings,
    config: Config,
    plan: Plan,
    options: ApplyOptions,
    tally: Tally,
    ended: Callable[[RunFinished], str],
    receipts: Receipts | None = None,
) -> RunFinished:
    """Apply while showing progress, and print how it `ended`, also if the state failed then.

    An interruption tells how far it came and what goes on. `receipts` are filled.
    """
    from imgmigrate.applying.apply import apply_plan
    from imgmigrate.cli.run import Both, run, watching
    from imgmigrate.render.summary import interrupted_text

    try:
        with watching(settings.output, tally) as sink:
            seen: Sink = sink if receipts is None else Both(receipts, sink)
            is_bulk = plan.summary.transfer_bytes > BULK * plan.summary.writes
            result = run(lambda: apply_plan(config, plan, options, sink=seen), is_bulk=is_bulk)
    except StateError:
        if tally.finished is not None and not settings.output.stream:
            settings.output.text(ended(tally.finished))
        raise
    except Interrupted as error:
        message = interrupted_text(tally.done, tally.images, shown(config.state_place))
        hint = f"to go on: {options.command}"
        raise Interrupted(error.signal_number, message, hint=hint) from None
    if not settings.output.stream:
        settings.output.text(ended(result))
    return result
