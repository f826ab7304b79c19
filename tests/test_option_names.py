"""The library, which is all but `cli` and `render`, names parameters and no option."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from imgmigrate.cli import commands
from imgmigrate.observing.globs import Globs
from imgmigrate.plan import Reason
from imgmigrate.remedies import remedy
from imgmigrate.render.options import OPTIONS, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[1] / "imgmigrate"
LIBRARY = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] not in ("cli", "render")
)
# An option of another tool may be named where its files are read.
OTHERS = {
    "foreign/formats/image_syncer.py": {"--arch", "--os"},
    "foreign/formats/lists.py": {"--alias", "--platform"},
    "foreign/formats/skopeo.py": {"--all", "--src"},
    "foreign/reading/platforms.py": {"--os", "--arch"},
}
# A long option, also one whose name is put behind its dashes, or one of our two short ones.
_OPTION = re.compile(r"(?<![\w-])--(?:[a-z][\w-]*|$)|(?<!\S)-[ch](?=\s|$)")
_NAMED = re.compile(r"`([a-z_]+)`")


@cache
def parsed(path: Path) -> ast.Module:
    """A module's tree."""
    return ast.parse(path.read_text())


@cache
def literals(path: Path, *, docstrings: bool) -> tuple[str, ...]:
    """The texts of a module; what stands between them in an f-string is not known."""
    tree = parsed(path)
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return tuple(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and (docstrings or id(node) not in documented)
    )


def options(command: click.Command) -> Iterator[str]:
    """Every option of a command and of those below it."""
    for each in command.params:
        if isinstance(each, click.Option):
            yield from each.opts
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from options(inner)


def test_no_option_is_named_in_the_library() -> None:
    """Neither a text nor a docstring has one, but those of other tools where these are read."""
    found: dict[str, set[str]] = {}
    for path in LIBRARY:
        if path.is_relative_to(PACKAGE / "state/shared/git"):
            continue  # the options there are git's own
        names = {name for text in literals(path, docstrings=True) for name in _OPTION.findall(text)}
        if names:
            found[str(path.relative_to(PACKAGE))] = names
    assert found == OTHERS


@pytest.mark.parametrize("text", ["--out", "plan --out x", "(`--os`", "--", "apply -c x", "-c"])
def test_an_option_is_found_wherever_it_stands(text: str) -> None:
    """The look at the library would see one in a sentence, in an f-string and alone."""
    assert _OPTION.search(text)


def test_what_the_library_names_has_an_option() -> None:
    """A parameter in backticks that no option stands for would reach a terminal as it is."""
    named = {
        name
        for path in LIBRARY
        for text in literals(path, docstrings=False)
        for name in _NAMED.findall(text)
    }
    assert named <= OPTIONS.keys()


def test_each_option_of_the_table_is_one_of_a_command() -> None:
    """Nobody is told of an option that does not exist."""
    assert set(OPTIONS.values()) <= set(options(commands))


def test_what_the_command_line_knows_by_its_name_is_in_the_table() -> None:
    """Parameters that no text spells out: those of globs, and those that allow more deletes."""
    allowing = {each.traits.allowed_by for each in Reason if each.traits.allowed_by}
    globs = {
        node.args[0].value
        for path in LIBRARY
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == Globs.__name__
        and isinstance(node.args[0], ast.Constant)
    }
    remedies = {
        keyword.arg
        for path in LIBRARY
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == remedy.__name__
        for keyword in node.keywords
    }
    assert allowing | globs | remedies <= OPTIONS.keys()
    assert {"allow_delete", "upgrade", "out"} <= allowing | globs | remedies


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plan with `allow_delete`", "plan with --allow-delete"),
        ("`max_failures` 25%: 3 of 10", "--max-failures 25%: 3 of 10"),
        ("`outage` says how long", "--wait-for-registries says how long"),
        ("`a_later_one` and `Makefile` stay", "`a_later_one` and `Makefile` stay"),
        ("plan with --allow-delete", "plan with --allow-delete"),
        ("allow_delete without backticks", "allow_delete without backticks"),
    ],
)
def test_a_parameter_is_said_as_its_option(text: str, said: str) -> None:
    """What is no parameter of the table stays as it is, so do words of an older version's plan."""
    assert spoken(text) == said


@pytest.mark.parametrize(
    ("made", "typed"),
    [
        (remedy("plan", out="plan.out"), "imgmigrate plan --out plan.out"),
        (remedy("state", "repair", dry_run=True), "imgmigrate state repair --dry-run"),
        (remedy("apply", config="my team.yaml"), "imgmigrate apply -c 'my team.yaml'"),
        (remedy("state", "rebind", config=None, state=None), "imgmigrate state rebind"),
    ],
)
def test_a_remedy_can_be_pasted(made: str, typed: str) -> None:
    """A command that the library names is printed as it is typed, quoted for a shell."""
    assert spoken(made) == typed
    assert "-" not in made.replace("plan.out", "")
