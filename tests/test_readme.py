"""What the documents tell is there: commands, options, keys of the config, code, links."""

from __future__ import annotations

import ast
import re
import shlex
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import imgmigrate
from imgmigrate.cli import commands
from imgmigrate.config.model import Defaults, RegistryConfig, Tls
from imgmigrate.config.reading.schema import FileModel, ImageModel
from imgmigrate.config.values.tags import TagsModel
from imgmigrate.foreign.load import load_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = tuple(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "state/README.md", *PAGES)
RULE = 'images: [{source: "a.example/a", destination: "b.example/b"}]\n'

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")
_OPTION = re.compile(r"`[^`]*?(--[a-z][a-z0-9-]+)")
# Options of other programs.
_FOREIGN = frozenset({"--body-file"})


def blocks(language: str) -> list[str]:
    """Every fenced block of a language in the README."""
    return [text for kind, text in _FENCE.findall(README) if kind == language]


# The trusted file is none; test_schemas.py reads it.
CONFIGS = [text for text in blocks("yaml") if not text.startswith("# trusted.yaml")]


def shell_lines() -> Iterator[tuple[str, ...]]:
    """Every call of the command in a shell block, split as a shell does."""
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            for ends, call in groupby(words, lambda word: set(word) <= set("|&;<>()")):
                found = list(call)
                if not ends and "imgmigrate" in found:
                    yield tuple(found[found.index("imgmigrate") + 1 :])


def find(words: tuple[str, ...]) -> tuple[click.Command, tuple[str, ...]]:
    """Follow the words to a command as deep as they go; what is left are its arguments."""
    command: click.Command = commands
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
    return command, words


def options(command: click.Command) -> set[str]:
    """Every option of a command and of those below it."""
    own = {name for each in command.params if isinstance(each, click.Option) for name in each.opts}
    if isinstance(command, click.Group):
        own |= {name for each in command.commands.values() for name in options(each)}
    return own


@pytest.mark.parametrize("words", list(dict.fromkeys(shell_lines())), ids=" ".join)
def test_every_command_line_is_understood(words: tuple[str, ...]) -> None:
    """Commands and options that the README shows are those of the program."""
    command, arguments = find(words)
    given = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
    assert given <= options(command) | {"--version"}
    assert not command.hidden


@pytest.mark.parametrize("document", ["README.md", *PAGES])
def test_every_option_in_the_text_exists(document: str) -> None:
    """An option that is named in a sentence or a table is one of some command."""
    text = _FENCE.sub("", (ROOT / document).read_text())
    assert set(_OPTION.findall(text)) - options(commands) - _FOREIGN == set()


@pytest.mark.parametrize("block", CONFIGS, ids=lambda block: block.split("\n")[0])
def test_every_config_is_valid(block: str, tmp_path: Path) -> None:
    """What the README shows of a config can be pasted."""
    text = block if "version:" in block else f"version: 1\n{block}"
    path = tmp_path / "imgmigrate.yaml"
    path.write_text(text if "images:" in text else text + RULE)
    assert load_config(path, environ={}).rules or load_config(path, environ={}).globs


@pytest.mark.parametrize(
    ("model", "after", "before"),
    [
        (FileModel, "## The config", "A rule:"),
        (Defaults, "| `defaults` |", "\n"),
        (ImageModel, "A rule:", "A registry"),
        (RegistryConfig, "A registry", "A place"),
        (Tls, "| `tls` |", "\n"),
        (TagsModel, "**Tags.**", "**Repositories.**"),
    ],
    ids=lambda part: part.__name__ if isinstance(part, type) else "",
)
def test_every_key_of_the_config_is_told(model: type[BaseModel], after: str, before: str) -> None:
    """The table of a part of the config leaves none of its keys out."""
    text = README.partition(after)[2].partition(before)[0]
    named = set(re.findall(r"`([a-z_]+)[`:. ]", text))
    assert {field.alias or name for name, field in model.model_fields.items()} <= named


def test_the_python_example_uses_the_public_api() -> None:
    """Every name that it imports is there."""
    (block,) = blocks("python")
    imported = [
        alias.name
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module == "imgmigrate"
        for alias in node.names
    ]
    assert imported
    assert set(imported) <= set(imgmigrate.__all__)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    """Files exist, and anchors are headings, of this page or of another."""
    path = ROOT / document
    for target in _LINK.findall(path.read_text()):
        name, _, anchor = target.partition("#")
        page = path.parent / name if name else path
        assert page.exists(), target
        assert not anchor or anchor in headings(page), target


def headings(path: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    return {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text()), re.MULTILINE)
    }
