"""The contract of DESIGN section 5, against a slow reference model, over any order of events.

Sources move, somebody else pushes to the destination and deletes there, rules and guards change,
records are removed and moved, plans are made, kept and applied late, undone, and applies crash at
any request, with or without a power loss that takes the journal's unsynced end along. The model
reads nothing but the lines that were written to the journal, and knows of each address what is
ours.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.contract.elsewhere import ContractElsewhere
from tests.integration.contract.machine import Contract
from tests.support.states.kinds import SHARED, serve

if TYPE_CHECKING:
    from pathlib import Path

TestContract = Contract.TestCase
# Without `explain`, which traces every line of every run.
TestContract.settings = settings(
    max_examples=45, stateful_step_count=50, phases=(Phase.generate, Phase.shrink)
)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", SHARED)
def test_the_contract_holds_wherever_the_state_is(kind: str, tmp_path: Path) -> None:
    """The same model, over each place that machines share; few stories, as each line travels."""
    folders = (tmp_path / str(number) for number in itertools.count())
    with serve(kind, tmp_path / "servers") as states, states.found():

        class There(ContractElsewhere):
            def __init__(self) -> None:
                super().__init__(states, next(folders))

        run_state_machine_as_test(
            There,
            settings=settings(max_examples=3, stateful_step_count=25, phases=(Phase.generate,)),
        )
