"""The tree of modules: rooms that the page names, no corridors, no circles, no deep chains."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "imgmigrate"
PAGE = (ROOT / "docs/architecture.md").read_text()
# A room with more files side by side needs rooms of its own.
MOST_FILES = 14
LONGEST_CHAIN = 14


def modules() -> dict[str, Path]:
    """Find every module by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imports(name: str) -> frozenset[str]:
    """List what a module imports of ours when it is loaded."""
    tree = ast.parse(MODULES[name].read_text())
    return frozenset(each for each in _loaded(tree) if each in MODULES and each != name)


def _loaded(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            for alias in child.names:
                inner = f"{child.module}.{alias.name}"
                yield inner if inner in MODULES else child.module
        else:
            yield from _loaded(child)


@cache
def chain(name: str) -> tuple[str, ...]:
    """Follow the longest chain of imports from a module."""
    return (name, *max((chain(each) for each in sorted(imports(name))), key=len, default=()))


def test_no_module_imports_itself_by_a_detour() -> None:
    """A circle of imports is two rooms that are one."""
    done: set[str] = set()
    open_: list[str] = []

    def visit(name: str) -> None:
        assert name not in open_, [*open_, name]
        if name in done:
            return
        open_.append(name)
        for each in imports(name):
            visit(each)
        done.add(open_.pop())

    for name in MODULES:
        visit(name)


def test_no_chain_of_imports_is_long() -> None:
    """Whoever changes the lowest module need not read a dozen floors."""
    longest = max((chain(name) for name in MODULES), key=len)
    assert len(longest) <= LONGEST_CHAIN, longest


def test_no_room_is_crowded() -> None:
    """What stands side by side can be taken in at once."""
    files = Counter(path.parent for path in MODULES.values() if path.stem != "__init__")
    assert {room: count for room, count in files.items() if count > MOST_FILES} == {}


@pytest.mark.parametrize("room", sorted(each.name for each in PACKAGE.iterdir() if each.is_dir()))
def test_the_page_names_every_room(room: str) -> None:
    """A room that is not on the page is one that nobody finds."""
    if room != "__pycache__":
        assert f"`imgmigrate/{room}`" in PAGE


def test_what_the_page_names_is_there() -> None:
    """Files, folders and tables that somebody is sent to."""
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.py)`", PAGE)
    for path in paths:
        places = (ROOT / path, PACKAGE / path, *PACKAGE.rglob(path.rstrip("/")))
        assert any(each.exists() for each in places), path
