"""What the README promises about data is attacked by tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/promises.md").read_text()
_ROW = re.compile(r"^\| (?P<promise>.+?) \| (?P<tests>`.+`) \|$", re.MULTILINE)
ROWS = [
    (found["promise"], re.findall(r"`([^`]+)`", found["tests"])) for found in _ROW.finditer(PAGE)
]


def plain(text: str) -> str:
    """The words alone: neither line breaks nor what marks bold words and comments."""
    return " ".join(re.sub(r"\*\*|^# ", "", text, flags=re.MULTILINE).split())


README = plain((ROOT / "README.md").read_text())


@cache
def names(path: Path) -> frozenset[str]:
    """Every function of a test file, those of classes with their class; and the classes."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
            found |= {f"{node.name}::{each.name}" for each in node.body if hasattr(each, "name")}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {each.id for each in node.targets if isinstance(each, ast.Name)}
    return frozenset(found)


def test_the_table_is_read_whole() -> None:
    """A row that is laid out otherwise would not be checked."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert len(ROWS) == len(lines) - 2 > 0


@pytest.mark.parametrize(("promise", "tests"), ROWS, ids=[promise[:60] for promise, _ in ROWS])
def test_a_promise_stands_in_the_readme_and_is_attacked(promise: str, tests: list[str]) -> None:
    """In its words; by at least one test, each of which is there."""
    assert plain(promise) in README
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        path = ROOT / file
        assert path.is_file(), file
        assert name in names(path), test
        assert name.rpartition("::")[2].startswith(("test_", "Test")), test
