"""Show a plan on a terminal: the headline first and last, danger before routine.

Pure: a Plan in, lines out. Long lists are folded per destination repository, but rows that
need a decision (errors, conflicts, lost images) are always listed in full. Names come from
registries, so each passes through `printable`.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.causes import grouped
from imgmigrate.oci.reference import Digest
from imgmigrate.redaction import printable
from imgmigrate.render.causes import cause_lines
from imgmigrate.render.changes.hints import shown_command
from imgmigrate.render.facts import Bytes, facts_of, in_sections, is_cut, is_sparse
from imgmigrate.render.options import spoken
from imgmigrate.render.style import PLAIN, Style, fold
from imgmigrate.render.units import UNKNOWN, amount, count, moment
from imgmigrate.render.words import headline_of, traffic_lines, unwanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgmigrate.plan import Change, Plan
    from imgmigrate.render.changes.hints import Hint
    from imgmigrate.render.facts import Fact, RowFacts, Value
    from imgmigrate.vocabulary.sections import Section

__all__ = ["View", "plan_lines", "plan_text"]

# A list that is longer does not fit on a screen or two; it is folded per repository.
MOST_ROWS = 50
# An update of a big image can differ in hundreds of places.
MOST_INSIDE = 8
# A file of targets may hold thousands.
MOST_FILTERS = 10
# A foreign config may have one for each of its rules.
MOST_NOTES = 10
# A server's explanation may be long; it is wrapped, and cut here.
LONGEST_NAME = 500


class View(Struct, frozen=True):
    """How to show a plan: `rows` are the changes to list (None: all), `hints` what to do next."""

    style: Style = PLAIN
    verbose: bool = False
    rows: Sequence[Change] | None = None
    hints: tuple[Hint, ...] = ()


def plan_text(plan: Plan, view: View | None = None) -> str:
    """Show a plan as one text that ends with a newline."""
    return "\n".join(plan_lines(plan, view)) + "\n"


def plan_lines(plan: Plan, view: View | None = None) -> Iterator[str]:
    """Show a plan line by line."""
    view = view or View()
    rows = plan.changes if view.rows is None else view.rows
    top = view.style.wrap(headline_of(plan), hanging="  ")
    bold = [view.style.paint(line, "bold") for line in top]
    yield from bold
    yield from _identity(plan, view.style)
    yield from _cut(plan.changes, view.style)
    for line in traffic_lines(plan):
        yield from view.style.wrap(line, indent="  ", hanging="    ")
    if said := unwanted(plan.summary):
        yield from view.style.wrap(said, indent="  ", hanging="    ")
    if view.rows is not None:
        yield f"  shown: {len(rows):,} of {count(len(plan.changes), 'row')}"
    for section, changes in in_sections(rows):
        yield ""
        yield from _section(section, changes, view)
    for hint in view.hints:
        yield ""
        yield from view.style.wrap(hint.text)
        if hint.command:
            yield f"  {shown_command(hint.command)}"
    if rows or view.hints:
        yield ""
        yield from bold


def _identity(plan: Plan, style: Style) -> Iterator[str]:
    header = plan.header
    parts = [f"plan {plan.plan_id}", f"made {moment(header.created_at)}"]
    if header.state.lineage:
        parts.append(f"state sequence {header.state.sequence:,}")
    elif header.state.name:
        parts.append(f"the first of {printable(header.state.name)}")
    if header.git_commit:
        parts.append(f"commit {printable(header.git_commit)[:12]}")
    yield from (style.paint(line, "dim") for line in style.wrap(", ".join(parts), indent="  "))
    if header.undoes:
        text = f"undoes {printable(header.undoes)}"
        yield from (style.paint(line, "dim") for line in style.wrap(text, indent="  "))
    if header.lock_sha256:
        pins = printable(header.lock_sha256)[:12]
        text = f"locked: from the pins {pins}, whatever the sources show now"
        yield from (style.paint(line, "dim") for line in style.wrap(text, indent="  "))
    if header.max_delete is not None:
        text = f"--max-delete {printable(header.max_delete)} was given"
        yield from (style.paint(line, "yellow") for line in style.wrap(text, indent="  "))
    for note in header.notes[:MOST_NOTES]:
        text = f"note: {printable(spoken(note), LONGEST_NAME)}"
        yield from (style.paint(line, "yellow") for line in style.wrap(text, indent="  "))
    if len(header.notes) > MOST_NOTES:
        yield f"  and {count(len(header.notes) - MOST_NOTES, 'more note')}"
    filters = [
        f"--{name} {printable(pattern)}"
        for name, patterns in (
            ("target", header.filters.target),
            ("exclude", header.filters.exclude),
        )
        for pattern in patterns
    ]
    if filters:
        more = len(filters) - MOST_FILTERS
        named = filters[:MOST_FILTERS] + ([f"and {more:,} more"] if more > 0 else [])
        text = f"not the whole: limited by {', '.join(named)}"
        yield from (style.paint(line, "yellow") for line in style.wrap(text, indent="  "))


def _cut(changes: Iterable[Change], style: Style) -> Iterator[str]:
    """Say once what a choice of platforms costs, also where the rows are folded."""
    changes = list(changes)
    if number := sum(map(is_cut, changes)):
        text = f"{count(number, 'image')} with some platforms only: the digest of the index "
        text += "changes, and signatures of the whole index no longer match"
        yield from (style.paint(line, "yellow") for line in style.wrap(text, indent="  "))
    if number := sum(map(is_sparse, changes)):
        text = f"{count(number, 'image')} with some platforms only, below the same index: its "
        text += "digest and its signatures stay, and pulls of its other platforms fail"
        yield from (style.paint(line, "yellow") for line in style.wrap(text, indent="  "))


def _section(section: Section, changes: list[Change], view: View) -> Iterator[str]:
    repositories = {change.address.repository for change in changes}
    folded = not section.is_dangerous and len(changes) > MOST_ROWS and not view.verbose
    number = f"{len(changes):,}"
    if folded:
        number += f" in {count(len(repositories), 'repository', 'repositories')}"
        number += "; --verbose lists all"
    title = f"{section.mark} {section.title} ({number}): {section.meaning}"
    yield from (view.style.paint(line, "bold") for line in view.style.wrap(title, hanging="  "))
    yield from _folded(section, changes, view) if folded else _listed(section, changes, view)


def _folded(section: Section, changes: list[Change], view: View) -> Iterator[str]:
    rows = []
    for repository, group in groupby(changes, key=lambda change: change.address.repository):
        members = list(group)
        details = [count(len(members), "image")]
        if section.key in ("copy", "update"):
            details.append(_total(members))
        rows.append((printable(str(repository), LONGEST_NAME), ", ".join(details)))
    yield from _aligned(section, rows, view.style)


def _listed(section: Section, changes: list[Change], view: View) -> Iterator[str]:
    if not view.verbose:
        groups, changes = grouped(changes, lambda change: change.shared)
        for cause, together in groups:
            named = [str(each.address) for each in together]
            how = "; --verbose lists all"
            yield from cause_lines(cause, named, view.style, indent="  ", how=how)
    # What has no source stands above all headings, or it would seem to be from the last one.
    told = sorted(map(facts_of, changes), key=lambda facts: facts.source is not None)
    for source, group in groupby(told, key=lambda facts: facts.source and facts.source.repository):
        members = list(group)
        if source:
            name = printable(str(source))
            pieces = fold(name, view.style.columns - len("  from "))
            yield view.style.paint(f"  from {pieces[0]}", "dim")
            yield from (view.style.paint(f"       {piece}", "dim") for piece in pieces[1:])
        rows = [
            (printable(str(facts.change.address), LONGEST_NAME), _detail(facts))
            for facts in members
        ]
        below = [tuple(_below(facts, view)) for facts in members]
        yield from _aligned(section, rows, view.style, below)


def _aligned(
    section: Section,
    rows: Sequence[tuple[str, str]],
    style: Style,
    below: Sequence[Iterable[str]] = (),
) -> Iterator[str]:
    """Put the details beside their names where all of a row fits, else below the name."""
    symbol = style.paint(section.symbol, section.tone)
    start = len("  + ")
    fitting = [
        len(name) for name, detail in rows if start + len(name) + 2 + len(detail) <= style.columns
    ]
    longest = max(fitting, default=0)
    for number, (name, detail) in enumerate(rows):
        pieces = fold(name, style.columns - start)
        # Aligned with the longest neighbour if that leaves room, else closer.
        gap = max(2, min(longest + 2, style.columns - start - len(detail)) - len(name))
        if detail and len(pieces) == 1 and start + len(name) + gap + len(detail) <= style.columns:
            yield f"  {symbol} {name}{' ' * gap}{detail}"
        else:
            yield f"  {symbol} {pieces[0]}"
            yield from (f"    {piece}" for piece in pieces[1:])
            if detail:
                yield from style.wrap(detail, indent="      ")
        for text in below[number] if below else ():
            yield from style.wrap(text, indent="      ", hanging="        ")


def _detail(facts: RowFacts) -> str:
    """The facts beside an address, in one line."""
    said = [_said(fact) for fact in facts.beside]
    if renamed := _renamed(facts):
        said.append(f"source {renamed}")
    return ", ".join(said)


def _below(facts: RowFacts, view: View) -> Iterator[str]:
    """What stands in lines of its own: why it failed, and what is inside."""
    yield from (_said(fact) for fact in facts.below)
    inside = facts.inside
    shown = inside if view.verbose else inside[:MOST_INSIDE]
    yield from (printable(line, LONGEST_NAME) for line in shown)
    if len(shown) < len(inside):
        yield f"and {count(len(inside) - len(shown), 'more difference')}; --verbose lists all"


def _said(fact: Fact) -> str:
    return fact.words.format(*(_value(value) for value in fact.values))


def _value(value: Value) -> str:
    match value:
        case None:
            return "none"
        case Digest():
            return value.short
        case Bytes():
            return amount(value.count, value.unsure)
        case _:
            return printable(str(value), LONGEST_NAME)


def _renamed(facts: RowFacts) -> str | None:
    """The source's tag or digest, where neither heading nor address say it already."""
    source, address = facts.source, facts.change.address
    if source is None:
        return None
    if source.digest:
        return None if address.digest else f"digest {source.digest.short}"
    if source.tag and source.tag != address.tag:
        return f"tag {printable(source.tag)}"
    return None


def _total(changes: Iterable[Change]) -> str:
    changes = list(changes)
    sizes = [change.transfer_bytes for change in changes]
    known = [each for each in sizes if each is not None]
    said = amount(sum(known), sum(change.unsure_bytes or 0 for change in changes))
    if len(known) == len(sizes):
        return said
    return f"{said} and {len(sizes) - len(known):,} of unknown size" if known else UNKNOWN
