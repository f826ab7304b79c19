"""Show how an apply ended: counts, bytes, time, each row that is not done, how to go on.

Pure: results in, lines out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.causes import cause_of, grouped
from imgmigrate.errors import OutOfReach
from imgmigrate.events import Outcome
from imgmigrate.plan import Action
from imgmigrate.redaction import printable
from imgmigrate.render.causes import MOST_ADDRESSES, cause_lines
from imgmigrate.render.changes.hints import shown_command
from imgmigrate.render.errors import cause_at, hint_of
from imgmigrate.render.options import spoken
from imgmigrate.render.style import PLAIN, Style, fold
from imgmigrate.render.units import count, duration, rate, size
from imgmigrate.render.words import counted_text, detail_of, rate_text, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.causes import Cause
    from imgmigrate.events import Receipt, Refusal, RunFinished
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change, Plan
    from imgmigrate.render.style import Colour

__all__ = ["interrupted_text", "result_lines", "result_text", "unplanned"]

# Rows that a stopped run did not reach; all of them would bury why.
MOST_UNREACHED = 10


def unplanned(plan: Plan, result: RunFinished | None) -> tuple[Change, ...]:
    """The plan's own conflicts, errors and deletes over the limit that the run did not report."""
    reported = {receipt.address for receipt in result.unfinished} if result else set()
    return tuple(
        change
        for change in plan.changes
        if (change.action.is_left or change.is_over_limit)
        and not change.is_known
        and change.address not in reported
    )


def result_text(
    plan: Plan,
    result: RunFinished,
    *,
    resume: str | None = None,
    replan: str | None = None,
    style: Style = PLAIN,
    verbose: bool = False,
) -> str:
    """Show the end of an apply as one text that ends with a newline."""
    lines = result_lines(plan, result, resume=resume, replan=replan, style=style, verbose=verbose)
    return "\n".join(lines) + "\n"


def result_lines(
    plan: Plan,
    result: RunFinished,
    *,
    resume: str | None = None,
    replan: str | None = None,
    style: Style = PLAIN,
    verbose: bool = False,
) -> Iterator[str]:
    """Show the end of an apply, and the command that helps with what is not done.

    `resume` goes on where this run ended; `replan` is for rows that need another plan.
    `verbose` lists each address.
    """
    most = None if verbose else MOST_UNREACHED
    groups = _shared(plan, result)
    told = {address for _, rows in groups for address in rows}
    left = tuple(each for each in unplanned(plan, result) if each.address not in told)
    others = [each for each in result.unfinished if each.address not in told]
    tried = [each for each in others if each.outcome is not Outcome.CANCELLED]
    if tried:
        yield style.paint(f"! not done ({len(tried):,})", "bold")
        for receipt in tried:
            yield from _unfinished(receipt, style)
        yield ""
    yield from _unreached(others, result.stopped, style, most)
    if left:
        title = f"! left out by the plan ({len(left):,})"
        yield style.paint(title, "bold")
        for change in left:
            yield from _row(str(change.address), detail_of(change) or reason(change), None, style)
        yield ""
    for cause, rows in groups:
        named, most = [str(each) for each in rows], None if verbose else MOST_ADDRESSES
        yield from cause_lines(cause, named, style, end=" not done", most=most)
        yield ""
    yield from _known(plan, style, most)
    for learnt in result.rates:
        yield from style.wrap(rate_text(learnt), hanging="  ")
    yield from _unasked(plan, result, style)
    complete = not result.unfinished and not left and not groups
    colour: Colour = "green" if complete else "red"
    for line in style.wrap(_headline(result, complete), hanging="  "):
        yield style.paint(line, "bold", colour)
    if resume and _can_resume(plan, result):
        yield "To go on where this ended:"
        yield f"  {shown_command(resume)}"
    elif replan and not complete:
        yield "The same plan cannot do more. When the causes are mended, plan again:"
        yield f"  {shown_command(replan)}"


def _unasked(plan: Plan, result: RunFinished, style: Style) -> Iterator[str]:
    """Say how many images went though what refers to them is not all known."""
    lost = {receipt.address for receipt in result.unfinished}
    number = sum(
        change.referrers_unread is not None and change.address not in lost
        for change in plan.changes
    )
    if number:
        said = f"Signatures and the like of {count(number, 'image')} could not all be asked for: "
        yield from style.wrap(f"{said}each plan asks again until they can.", hanging="  ")


def interrupted_text(done: int, images: int, state: str) -> str:
    """Say what an interrupted apply has saved; `state` names the state's folder."""
    if not images:
        return "interrupted before the first image; nothing was changed"
    return f"interrupted: {done:,} of {count(images, 'image')} done and recorded in {state}"


def _can_resume(plan: Plan, result: RunFinished) -> bool:
    """Tell whether the same plan can still do something that it has not done."""
    hopeless = {change.address for change in plan.changes if change.action.is_left}
    return any(
        receipt.outcome is not Outcome.CONFLICT and receipt.address not in hopeless
        for receipt in result.unfinished
    )


def _headline(result: RunFinished, complete: bool) -> str:
    parts = [
        f"{result.actions[action]:,} {action.traits.done}"
        for action in Action
        if result.actions.get(action)
    ]
    # Of a run that did not say what it did.
    untold = result.counts.get(Outcome.APPLIED, 0) - sum(result.actions.values())
    counts = result.counts | {Outcome.APPLIED: untold}
    parts += [
        counted_text(outcome, number) for outcome in Outcome if (number := counts.get(outcome, 0))
    ]
    start = "Apply complete" if complete else "Apply incomplete"
    moved = f"{size(result.moved)} moved in {duration(result.seconds)}"
    if result.moved:
        moved += f", {rate(result.moved, result.seconds)}"
    if result.spared:
        moved += f"; {size(result.spared)} mounted or there already"
    return f"{start}: {', '.join(parts) or 'nothing to do'}; {moved}."


def _unfinished(receipt: Receipt, style: Style) -> Iterator[str]:
    address = str(receipt.address)
    if receipt.error:
        yield from _row(address, cause_at(address, receipt.error), hint_of(receipt.error), style)
    else:
        word = "conflict" if receipt.outcome is Outcome.CONFLICT else "failed"
        yield from _row(address, word, None, style)


def _shared(plan: Plan, result: RunFinished) -> list[tuple[Cause, Sequence[Reference]]]:
    """Why rows are not done, where several share it: what the run stopped for, then the rest."""
    stopped = [
        (cause.model_copy(update={"place": each.name}), each.rows)
        for each in result.refusals
        if not _is_alone(each) and (cause := cause_of(each.error))
    ]
    told = {address for _, rows in stopped for address in rows}
    whys = {receipt.address: cause_of(receipt.error) for receipt in result.unfinished}
    whys |= {change.address: change.shared for change in plan.changes if change.shared}
    rest, _ = grouped((each for each in whys if each not in told), whys.__getitem__)
    return [*stopped, *rest]


def _is_alone(refusal: Refusal) -> bool:
    """Tell whether only one row needed what is down: its own error says more."""
    return isinstance(refusal.error, OutOfReach) and len(refusal.rows) == 1


def _unreached(
    receipts: list[Receipt], stopped: str | None, style: Style, most: int | None
) -> Iterator[str]:
    """The rows that a stopped run left: why once, and as many addresses as help."""
    left = [each for each in receipts if each.outcome is Outcome.CANCELLED]
    if not left:
        return
    yield style.paint(f"! not reached ({len(left):,})", "bold")
    if stopped:
        yield from style.wrap(printable(spoken(stopped), 500), indent="  ")
    hint = next((hint for each in left if each.error and (hint := hint_of(each.error))), None)
    if hint:
        yield from style.wrap(hint, indent="  hint: ", hanging="    ")
    for each in left[:most]:
        yield f"  {style.paint('!', 'red')} {printable(str(each.address), 500)}"
    yield from _more(left, most)
    yield ""


def _known(plan: Plan, style: Style, most: int | None) -> Iterator[str]:
    """The conflicts that were left alone because somebody knows of them."""
    rows = [change for change in plan.changes if change.is_known]
    if not rows:
        return
    yield style.paint(f"= known conflicts ({len(rows):,})", "bold")
    for change in rows[:most]:
        told = f"known until {change.known.until}: {change.known.because}" if change.known else ""
        yield from _row(str(change.address), told, None, style, mark="=")
    yield from _more(rows, most)
    yield ""


def _more(rows: Sequence[object], most: int | None) -> Iterator[str]:
    if most is not None and len(rows) > most:
        yield f"  and {len(rows) - most:,} more"


def _row(
    address: str, cause: str, hint: str | None, style: Style, *, mark: str = "!"
) -> Iterator[str]:
    address, cause = printable(address, 500), printable(cause, 500)
    head = f"  {style.paint(mark, 'red' if mark == '!' else 'dim')} "
    if len(address) + len(cause) + len("  ! : ") <= style.columns:
        yield f"{head}{address}: {cause}"
    else:
        pieces = fold(f"{address}:", style.columns - len("  ! "))
        yield f"{head}{pieces[0]}"
        yield from (f"    {piece}" for piece in pieces[1:])
        yield from style.wrap(cause, indent="      ")
    if hint:
        yield from style.wrap(hint, indent="      hint: ", hanging="        ")
