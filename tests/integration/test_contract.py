"""The contract of DESIGN section 5, against a slow reference model, over any order of events.

Sources move, somebody else pushes to the destination and deletes there, rules and guards change,
records are removed and moved, plans are made, kept and applied late, undone, and applies crash at
any request, with or without a power loss that takes the journal's unsynced end along. The model
reads nothing but the lines that were written to the journal, and knows of each address what is
ours.
"""

from __future__ import annotations

from hypothesis import Phase, settings

from tests.integration.contract.machine import Contract

TestContract = Contract.TestCase
# Without `explain`, which traces every line of every run.
TestContract.settings = settings(
    max_examples=45, stateful_step_count=50, phases=(Phase.generate, Phase.shrink)
)
