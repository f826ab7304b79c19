"""Show a plan as a comment on a pull request: headline first and last, danger before routine.

Pure: a Plan in, GitHub-flavoured Markdown out. Names, reasons and explanations come from
registries, that is from others: all of them stand in code, where nothing is a mention, a link,
an image or a tag. What does not fit is cut by section, harmless ones first, and said so.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.causes import grouped
from imgmigrate.oci.reference import Digest
from imgmigrate.redaction import printable
from imgmigrate.render.causes import cause_title, hint_text, why_text
from imgmigrate.render.facts import Bytes, facts_of, in_sections
from imgmigrate.render.options import spoken
from imgmigrate.render.units import UNKNOWN, amount, count, moment
from imgmigrate.render.words import headline_of, traffic_lines, unwanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgmigrate.causes import Cause
    from imgmigrate.plan import Change, Plan
    from imgmigrate.render.changes.hints import Hint
    from imgmigrate.render.facts import Fact, RowFacts, Value
    from imgmigrate.vocabulary.sections import Section

__all__ = ["LIMIT", "code", "plan_markdown"]

# Bytes; GitHub refuses a comment of more than 65,536 characters, and others add a footer.
LIMIT = 60_000
# A longer list is folded into <details>, unless it is one that must be seen.
MOST_OPEN = 12
# What a section's heading, table head and cut notice take at most, in bytes.
FRAME = 600
# A foreign config may have one for each of its rules.
MOST_NOTES = 10
# An explanation of a server may be long.
LONGEST = 300
# An update of a big image can differ in hundreds of places.
MOST_INSIDE = 4
# Addresses that help to see what one cause is about.
MOST_NAMED = 5

# A comment has no option: what shows whoever reads it the whole plan.
_ALL = "`imgmigrate show --verbose PLAN`"

_CODE_BREAKERS = re.compile(r"[`|\\]")
_PLAIN_WORDS = re.compile(r"[A-Za-z ,:;-]+")


def plan_markdown(
    plan: Plan,
    rows: Sequence[Change] | None = None,
    hints: Iterable[Hint] = (),
    *,
    limit: int = LIMIT,
) -> str:
    """Show a plan, or `rows` of it, as Markdown of at most `limit` bytes that ends with a newline.

    `limit` is for the whole; headline, advice and what was cut are always there.
    """
    chosen = plan.changes if rows is None else tuple(rows)
    title = headline_of(plan)
    top = [f"<!-- imgmigrate plan={plan.plan_id} -->", f"### {title}", *_identity(plan)]
    top += [code(line) for line in traffic_lines(plan)]
    if rows is not None:
        top.append(f"Shown: {len(chosen):,} of {count(len(plan.changes), 'row')}.")
    bottom = [*_advice(hints), f"**{title}**"]
    page = _Page(limit - _length([*top, *bottom]) - FRAME)
    page.sections += in_sections(chosen)
    body = page.render()
    cut = [page.notice(len(chosen))] if page.left_out else []
    return "\n\n".join([*top, *cut, *body, *cut, *bottom]) + "\n"


class _Page(Struct):
    """What is left of the budget, and what did not fit into it."""

    left: int
    sections: list[tuple[Section, list[Change]]] = field(default_factory=list)
    left_out: int = 0

    def render(self) -> list[str]:
        """Lay out the sections in their order; each leaves room for the frames of the others."""
        blocks = []
        for number, (section, changes) in enumerate(self.sections):
            reserve = FRAME * (len(self.sections) - number)
            block = self._section(section, changes, self.left - reserve)
            self.left -= _length([block])
            blocks.append(block)
        return blocks

    def notice(self, rows: int) -> str:
        """Say that something was cut, and where it is."""
        return (
            f"**Cut to fit a comment: {rows - self.left_out:,} of {count(rows, 'row')} are listed "
            f"here. All of them are in the plan file: {_ALL}.**"
        )

    def _section(self, section: Section, changes: list[Change], room: int) -> str:
        title = f"{section.title} ({len(changes):,}): {section.meaning}"
        groups, alone = grouped(changes, lambda change: change.shared)
        lines = [_group(section, *group) for group in groups] + [_row(change) for change in alone]
        weights = [len(members) for _, members in groups] + [1] * len(alone)
        head = _head(section)
        fitting = _fitting(lines, room)
        note = ""
        if fitting < len(lines) and not section.is_dangerous:
            # A line a repository says more than the first rows of many.
            head, lines = _REPOSITORIES, list(_by_repository(changes))
            fitting = _fitting(lines, room)
            self.left_out += len(changes)
            note = "One line a repository: too many rows for a comment."
            if fitting < len(lines):
                gone = count(len(lines) - fitting, "repository", "repositories")
                note += f" {gone} more not shown."
        elif fitting < len(lines):
            gone_rows = sum(weights[fitting:])
            self.left_out += gone_rows
            note = f"**{gone_rows:,} more not shown: too large to review here.**"
        table = "\n".join([head, *lines[:fitting]]) if fitting else ""
        body = "\n\n".join(part for part in (table, note) if part)
        if not section.is_dangerous and fitting > MOST_OPEN:
            summary = f"<summary><b>{section.mark} {title}</b></summary>"
            return f"<details>{summary}\n\n{body}\n\n</details>"
        return f"#### {_mark(section)} {title}\n\n{body}"


_REPOSITORIES = "| repository | images | to transfer |\n| --- | ---: | ---: |"


def _mark(section: Section) -> str:
    """The section's mark; one that Markdown could take for something else stands in code."""
    return section.mark if section.mark.isalnum() else code(section.mark)


def _head(section: Section) -> str:
    names = ["address", "source", "details"] if section.is_sourced else ["address", "details"]
    return f"| {' | '.join(names)} |\n|{' --- |' * len(names)}"


def _row(change: Change) -> str:
    facts = facts_of(change)
    cells = [code(str(change.address))]
    if facts.section.is_sourced:
        cells.append(code(str(facts.source)) if facts.source else "")
    cells.append("<br>".join(_details(facts)))
    return f"| {' | '.join(cells)} |"


def _group(section: Section, cause: Cause, members: list[Change]) -> str:
    """One row for all that one cause keeps from being decided."""
    named = [code(str(each.address)) for each in members[:MOST_NAMED]]
    if len(members) > MOST_NAMED:
        named.append(f"and {len(members) - MOST_NAMED:,} more; {_ALL} lists all")
    hint = hint_text(cause)
    said = [code(cause_title(cause, len(members))), code(why_text(cause))]
    cells = ["<br>".join(named), *([""] if section.is_sourced else [])]
    return f"| {' | '.join([*cells, '<br>'.join([*said, *([code(hint)] if hint else [])])])} |"


def _details(facts: RowFacts) -> Iterator[str]:
    if facts.beside:
        yield ", ".join(_said(fact) for fact in facts.beside)
    yield from (_said(fact) for fact in facts.below)
    yield from (code(line) for line in facts.inside[:MOST_INSIDE])
    if len(facts.inside) > MOST_INSIDE:
        yield f"and {count(len(facts.inside) - MOST_INSIDE, 'more difference')}"


def _said(fact: Fact) -> str:
    return fact.words.format(*(_value(value, fact.key) for value in fact.values))


def _value(value: Value, key: str) -> str:
    match value:
        case None:
            return "none"
        case Digest():
            return f"`{value.short}`"
        case Bytes():
            return amount(value.count, value.unsure)
        case str() if key == "reason" and _PLAIN_WORDS.fullmatch(value):
            return value
        case _:
            return code(str(value))


def _by_repository(changes: list[Change]) -> Iterator[str]:
    ordered = sorted(changes, key=lambda change: str(change.address.repository))
    for repository, group in groupby(ordered, key=lambda change: str(change.address.repository)):
        members = list(group)
        sizes = [change.transfer_bytes for change in members if change.action.writes]
        known = [each for each in sizes if each is not None]
        unsure = sum(change.unsure_bytes or 0 for change in members)
        moved = amount(sum(known), unsure) if len(known) == len(sizes) else UNKNOWN
        yield f"| {code(repository)} | {len(members):,} | {moved if sizes else ''} |"


def _identity(plan: Plan) -> Iterator[str]:
    header = plan.header
    parts = [f"plan `{plan.plan_id}`", f"made {code(moment(header.created_at))}"]
    if header.state.lineage:
        parts.append(f"state sequence {header.state.sequence:,}")
    elif header.state.name:
        parts.append(f"the first of {code(header.state.name)}")
    if header.git_commit:
        parts.append(f"commit {code(header.git_commit[:12])}")
    if header.undoes:
        parts.append(f"undoes {code(header.undoes)}")
    yield ", ".join(parts)
    if header.lock_sha256:
        yield f"Locked: from the pins {code(header.lock_sha256[:12])}."
    if header.max_delete is not None:
        yield f"**{code(f'--max-delete {header.max_delete}')} was given.**"
    for note in header.notes[:MOST_NOTES]:
        yield f"**Note:** {code(spoken(note))}"
    if len(header.notes) > MOST_NOTES:
        yield f"And {count(len(header.notes) - MOST_NOTES, 'more note')}."
    filters = header.filters.model_dump().items()
    if said := unwanted(plan.summary):
        yield f"{said.capitalize()}."
    limits = [f"--{name} {glob}" for name, globs in filters for glob in globs or ()]
    if limits:
        yield f"Not the whole: limited by {code(', '.join(limits))}."


def _advice(hints: Iterable[Hint]) -> Iterator[str]:
    for hint in hints:
        yield hint.text
        if hint.command:
            command = printable(hint.command, LONGEST * 10)
            longest = max((len(run) for run in re.findall("`+", command)), default=0)
            fence = "`" * max(3, longest + 1)
            yield f"{fence}sh\n{command}\n{fence}"


def code(text: str) -> str:
    """Put untrusted text into code, exactly as it is, also where code could be broken out of."""
    text = printable(text, LONGEST)
    if not text:
        return ""
    if not _CODE_BREAKERS.search(text):
        return f"`{text}`"
    # Entities have no meaning to Markdown's grammar (CommonMark 2.5), and <code> none to mentions.
    return f"<code>{re.sub(r'[^A-Za-z0-9 ]', lambda found: f'&#{ord(found[0])};', text)}</code>"


def _fitting(lines: list[str], room: int) -> int:
    """How many of the lines fit into so many bytes."""
    for number, line in enumerate(lines):
        room -= _length([line])
        if room < 0:
            return number
    return len(lines)


def _length(parts: Iterable[str]) -> int:
    return sum(len(part.encode()) + 2 for part in parts)
