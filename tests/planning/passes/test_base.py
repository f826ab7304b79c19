"""The passes: one signature, each in a tuple of whoever plans, run in that order."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING

import pytest

import imgmigrate.planning
from imgmigrate.planning import planner
from imgmigrate.planning.passes.base import Pass, run_passes
from imgmigrate.planning.rollback import rollback
from tests.render import samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked


def found_passes() -> dict[str, type]:
    """Every class below `planning` that settles something, by its name."""
    return {
        name: kind
        for each in pkgutil.walk_packages(imgmigrate.planning.__path__, "imgmigrate.planning.")
        for name, kind in inspect.getmembers(importlib.import_module(each.name), inspect.isclass)
        if "settle" in vars(kind) and kind.__module__ == each.name and kind is not Pass
    }


PASSES = found_passes()


def listed() -> set[str]:
    """The names of what is made in the modules that plan."""
    return {
        node.func.id
        for module in (planner, rollback)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_there_are_passes() -> None:
    """The search below finds something."""
    assert {"Moving", "Deltas", "Deleting", "Keeping", "Measure", "Spare"} <= set(PASSES)


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_has_the_one_signature(name: str) -> None:
    """Rows and what is asked for in, rows out; what else it needs it was made with."""
    settle = PASSES[name].__dict__["settle"]
    assert inspect.iscoroutinefunction(settle)
    assert [each.annotation for each in inspect.signature(settle).parameters.values()][1:] == [
        "Sequence[Change]",
        "Mapping[Reference, Asked]",
    ]
    assert inspect.signature(settle).return_annotation == "list[Change]"


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_is_made_by_whoever_plans(name: str) -> None:
    """None is run from inside another: the order stands in one place."""
    assert name in listed()


async def test_passes_run_in_the_order_of_their_tuple() -> None:
    """Each sees what the one before it gave; the rows that went in stay as they were."""

    class Add:
        def __init__(self, tag: str) -> None:
            self.tag = tag

        async def settle(
            self, changes: Sequence[Change], _: Mapping[Reference, Asked]
        ) -> list[Change]:
            seen.append(len(changes))
            return [*changes, samples.change(f"a.b/c:{self.tag}", "copy", "new")]

    seen: list[int] = []
    rows: list[Change] = []
    made = await run_passes((Add("1"), Add("2")), rows, {})
    assert [str(each.address) for each in made] == ["a.b/c:1", "a.b/c:2"]
    assert (seen, rows) == ([0, 1], [])
