"""Decide which tags of a listing a rule wants.

Pure: no I/O. The planner lists, this selects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.config.model import Rule
    from imgmigrate.state.record import ImageRecord

__all__ = ["select_tags", "would_select"]


def select_tags(rule: Rule, listing: Iterable[str]) -> list[str]:
    """List the tags that the rule wants, sorted: its exact ones always, others if listed."""
    found = {tag for tag in listing if rule.selects(tag)}
    return sorted(found.union(rule.explicit_tags))


def would_select(rule: Rule, record: ImageRecord) -> bool:
    """Tell whether the rule still asks for what the record says, were the source still there."""
    source = record.source.reference
    if rule.source != source.repository:
        return False
    if rule.digest is not None:
        return record.address in rule.digest_addresses()
    tag = source.tag
    return tag is not None and rule.selects(tag) and record.address in rule.addresses(tag)
