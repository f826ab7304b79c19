"""Show why tags are or are not selected: stage by stage, as text or as JSON lines.

Pure: explanations in, lines out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.errors import StoreError
from imgmigrate.redaction import printable
from imgmigrate.render.options import spoken
from imgmigrate.render.schema import report_lines
from imgmigrate.render.style import PLAIN, Style
from imgmigrate.render.units import count, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgmigrate.planning.desired.explain import Explained, Fate
    from imgmigrate.planning.desired.select import Choice, Dropped, Stage
    from imgmigrate.render.json import JsonStream

__all__ = ["selection_lines", "write_selection"]

# Enough to see the kind; `--verbose` lists all.
MOST_TAGS = 12


def selection_lines(
    explained: Sequence[Explained], style: Style = PLAIN, *, verbose: bool = False
) -> Iterator[str]:
    """Explain rule by rule; the fate of the address that was asked for comes first."""
    for number, each in enumerate(explained):
        if number:
            yield ""
        rule = each.rule
        title = f"rule {rule.number} ({rule.file}:{rule.line}): {rule.source}"
        yield from (style.paint(line, "bold") for line in style.wrap(printable(title, 500)))
        if isinstance(each.choice, StoreError):
            yield "  could not be read"
            continue
        if each.address is not None:
            yield from style.wrap(_fate(each), indent="  ", hanging="    ")
        if rule.digest is not None:
            yield "  names a digest: there is nothing to select"
            continue
        yield from _stages(each, each.choice, style, most=None if verbose else MOST_TAGS)


def write_selection(explained: Sequence[Explained], stream: JsonStream) -> None:
    """Write one `selection` line a rule."""
    for each in explained:
        rule, choice = each.rule, each.choice
        source = str(rule.source)
        fields: dict[str, Any] = {
            "rule": rule.number,
            "file": rule.file,
            "line": rule.line,
            "source": source,
        }
        if isinstance(choice, StoreError):
            unread = report_lines.Selection(**fields, error=spoken(choice.message))
            stream.line(unread, f"{source}: could not be read", "error")
            continue
        if each.address is not None:
            fields["address"] = str(each.address)
            fields["fates"] = [_fate_document(fate) for fate in each.fates]
        selection = report_lines.Selection(
            **fields,
            listed=len(choice.listing),
            skipped=each.skipped.total if each.skipped else 0,
            skipped_names=[printable(name) for name in each.skipped.names] if each.skipped else [],
            filters=[[_stage_document(stage) for stage in stages] for stages in choice.filters],
            selected=list(choice.tags),
            shortages=list(choice.shortages),
            dangling=list(choice.dangling),
        )
        message = _fate(each) if each.address is not None else f"{source}: {_selected(choice)}"
        stream.line(selection, message)


def _stages(each: Explained, choice: Choice, style: Style, *, most: int | None) -> Iterator[str]:
    if choice.rule.has_patterns:
        yield f"  {count(len(choice.listing), 'tag')} listed"
    if each.skipped is not None and choice.rule.has_patterns:
        yield from style.wrap(printable(each.skipped.what, 500), indent="  ", hanging="    ")
    for number, stages in enumerate(choice.filters):
        indent = "  "
        if len(choice.filters) > 1:
            yield f"  any[{number}]"
            indent = "    "
        if not choice.rule.has_patterns:
            continue
        for stage in stages:
            title = f"{stage.name} {stage.condition}: {len(stage.left):,} left"
            yield from style.wrap(printable(title, 500), indent=indent, hanging=f"{indent}  ")
            for reason, drops in _by_reason(stage.dropped).items():
                names = [
                    f"{each.tag}{f' ({each.detail})' if each.detail else ''}" for each in drops
                ]
                text = f"- {reason} ({len(drops):,}): {listed(names, most)}"
                deeper = f"{indent}  "
                yield from style.wrap(text, indent=deeper, hanging=f"{deeper}  ")
    text = _selected(choice) + (f": {listed(choice.tags, most)}" if choice.tags else "")
    yield from style.wrap(text, indent="  ", hanging="    ")
    missing = sorted({*choice.tags} - choice.listing) if choice.rule.has_patterns else []
    if missing:
        text = f"named, and not there: {listed(missing, most)}"
        yield from style.wrap(text, indent="  ", hanging="    ")
    if choice.dangling:
        text = f"listed, and not to be had: {listed(choice.dangling, most)}"
        yield from style.wrap(text, indent="  ", hanging="    ")
    for shortage in choice.shortages:
        yield from style.wrap(f"too few: {shortage}", indent="  ", hanging="    ")


def _by_reason(dropped: Iterable[Dropped]) -> dict[str, list[Dropped]]:
    groups: dict[str, list[Dropped]] = {}
    for each in dropped:
        groups.setdefault(each.reason, []).append(each)
    return groups


def _selected(choice: Choice) -> str:
    return f"{count(len(choice.tags), 'tag')} selected"


def _fate(each: Explained) -> str:
    """Say what becomes of the address that was asked for."""
    address = each.address
    if each.rule.digest is not None:
        is_asked = address in each.rule.digest_addresses()
        return f"{address} is {'' if is_asked else 'not '}what this rule writes"
    if not each.fates:
        return f"{address} is not selected: no tag that the source lists goes there"
    return f"{address}: {'; '.join(_one_fate(fate) for fate in each.fates)}"


def _one_fate(fate: Fate) -> str:
    if fate.is_selected:
        unlisted = "" if fate.is_listed else " by its name, whatever the source lists"
        return f"tag {fate.tag} is selected{unlisted}"
    reasons = dict.fromkeys(
        f"{loss.stage}: {loss.reason}{f' ({loss.detail})' if loss.detail else ''}"
        for loss in fate.losses
    )
    return f"tag {fate.tag} drops out at {', and at '.join(reasons)}"


def _fate_document(fate: Fate) -> dict[str, Any]:
    return {
        "tag": fate.tag,
        "selected": fate.is_selected,
        "listed": fate.is_listed,
        "losses": [
            {
                "filter": loss.filter,
                "stage": loss.stage,
                "reason": loss.reason,
                "detail": loss.detail or None,
            }
            for loss in fate.losses
        ],
    }


def _stage_document(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "condition": stage.condition,
        "left": len(stage.left),
        "dropped": [
            {"tag": drop.tag, "reason": drop.reason, "detail": drop.detail or None}
            for drop in stage.dropped
        ],
    }
