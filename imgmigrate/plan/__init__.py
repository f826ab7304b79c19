"""The plan: what planning makes, people review, and applying carries out."""

from imgmigrate.plan.file import decode_plan, read_plan
from imgmigrate.plan.model import (
    FORMAT_VERSION,
    Change,
    Ends,
    Filters,
    Header,
    Known,
    Plan,
    StateBinding,
)
from imgmigrate.plan.summary import Summary
from imgmigrate.state.record import Carried, Filter
from imgmigrate.vocabulary.actions import Action
from imgmigrate.vocabulary.reasons import Reason

__all__ = [
    "FORMAT_VERSION",
    "Action",
    "Carried",
    "Change",
    "Ends",
    "Filter",
    "Filters",
    "Header",
    "Known",
    "Plan",
    "Reason",
    "StateBinding",
    "Summary",
    "decode_plan",
    "read_plan",
]
