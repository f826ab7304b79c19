"""Show the state: a summary, a list of records, one record.

Pure: a State in, lines out.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from imgmigrate.redaction import printable
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style
from imgmigrate.render.units import UNKNOWN, count, moment, size
from imgmigrate.render.words import counted_text
from imgmigrate.state.record import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imgmigrate.oci.reference import Reference
    from imgmigrate.state.record import ImageRecord, Run, State
    from imgmigrate.state.saved import SavedPlan

__all__ = [
    "move_lines",
    "plan_line",
    "plans_lines",
    "record_lines",
    "records_lines",
    "state_lines",
]

# Enough to see what happened lately; the rest is in the state itself.
MOST_RUNS = 5


def state_lines(state: State, place: str, style: Style = PLAIN) -> Iterator[str]:
    """Summarise a state: how many images, where, and the last runs."""
    if state.lineage is None:
        yield f"No state yet in {place}: nothing has been applied."
        return
    live = list(state.live())
    others = Counter(record.status for record in state.every() if not record.is_live)
    yield style.paint(f"State {place}: {count(len(live), 'image')} recorded", "bold")
    if state.name:
        yield style.paint(f"  belongs to {printable(state.name)}", "dim")
    yield style.paint(f"  lineage {state.lineage}, sequence {state.sequence:,}", "dim")
    for status, word in ((Status.FORGOTTEN, "forgotten"), (Status.DELETED, "deleted")):
        if others[status]:
            yield f"  {others[status]:,} {word}"
    if state.claims:
        yield (
            f"  {count(len(state.claims), 'image')} in doubt after an interrupted run; "
            "the next apply settles them"
        )
    repositories = Counter(str(record.address.repository) for record in live)
    if repositories:
        yield ""
        yield f"{count(len(repositories), 'repository', 'repositories')}:"
        widest = max(len(f"{number:,}") for number in repositories.values())
        for repository, number in sorted(repositories.items()):
            yield f"  {number:>{widest},}  {printable(repository, 500)}"
    if state.runs:
        yield ""
        yield f"last runs (of {len(state.runs):,}):"
        yield from (f"  {_run(run)}" for run in state.runs[-MOST_RUNS:])


def records_lines(records: Iterable[ImageRecord]) -> Iterator[str]:
    """List records: one line each, made for grep; tombstones and protected ones say so."""
    for record in records:
        mark = "" if record.is_live else f"  ({record.status.value})"
        if record.protected:
            mark += "  (protected)"
        yield f"{printable(str(record.address), 500)}  {record.digest.short}{mark}"


def plan_line(plan: SavedPlan) -> report_lines.KeptPlan:
    """Lay out a plan that is kept."""
    return report_lines.KeptPlan(
        sha256=plan.sha256,
        plan_id=plan.plan_id,
        saved_at=plan.saved_at,
        config=plan.config and printable(plan.config, 500),
        run=plan.run,
        applied_at=plan.applied_at,
    )


def plans_lines(plans: Iterable[SavedPlan], style: Style = PLAIN) -> Iterator[str]:
    """List plans that are kept: how to name each, when and of what it was made, what applied it."""
    for plan in plans:
        yield style.paint(f"sha256:{plan.sha256}", "bold")
        made = f"of {printable(plan.config, 500)}" if plan.config else "without a config"
        saved = f"plan {printable(plan.plan_id)}, saved {moment(plan.saved_at)} {made}"
        yield from style.wrap(saved, indent="  ")
        if plan.run:
            at = f", {moment(plan.applied_at)}" if plan.applied_at else ""
            yield from style.wrap(f"applied by run {printable(plan.run)}{at}", indent="  ")
        else:
            yield "  not applied"


def move_lines(pairs: Iterable[tuple[Reference, Reference]]) -> Iterator[str]:
    """List which address becomes which; the new one stands below where the line is too long."""
    for old, new in pairs:
        before, after = printable(str(old), 500), printable(str(new), 500)
        if len(before) + len(after) + 4 <= PLAIN.columns:
            yield f"{before} -> {after}"
        else:
            yield before
            yield f"  -> {after}"


def record_lines(record: ImageRecord) -> Iterator[str]:
    """Show everything about one record, digests in full."""
    rows = [
        ("address", printable(str(record.address), 500)),
        ("status", record.status.value),
        ("protected", "yes" if record.protected else "no"),
        ("digest", record.digest),
        ("previous", record.previous or "none"),
        ("source", printable(str(record.source.reference), 500)),
        ("source digest", record.source.digest),
        ("platforms", (record.filter and ", ".join(record.filter.platforms)) or "all"),
        ("index", record.filter.form.value if record.filter else "as it was"),
        ("media type", printable(record.media_type)),
        ("size", size(record.size) if record.size is not None else UNKNOWN),
        ("recorded", moment(record.at)),
        ("sequence", str(record.sequence)),
        ("run", printable(record.run)),
        ("plan", printable(record.plan_id)),
    ]
    widest = max(len(name) for name, _ in rows)
    yield from (f"{name:<{widest}}  {value}" for name, value in rows)


def _run(run: Run) -> str:
    ended = ", ".join(counted_text(word, number) for word, number in run.counts.items() if number)
    what = (ended or "nothing done") if run.ended_at else "not ended"
    return f"{moment(run.began_at)}  plan {printable(run.plan_id) or 'none'}  {printable(what)}"
