"""The table of formats: a new one is a module and a row."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from imgmigrate.foreign.document import Document, Entry
from imgmigrate.foreign.formats import FORMATS, Given, read
from imgmigrate.foreign.writer import write

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_new_format_is_a_module_and_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images come out as a config of ours, like everybody's."""

    def read_pairs(given: Given) -> Document:
        """Read a mapping of sources to destinations."""
        document = Document(str(given.files[0]))
        for source, target in given.tree().plain().items():
            document.images.append(Entry(source, {"destination": target}, (source,), 1))
        return document

    module = ModuleType("imgmigrate.foreign.formats.pairs")
    module.read = read_pairs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(FORMATS, "pairs", "pairs")
    path = tmp_path / "pairs.yaml"
    path.write_text("old.example/team/api: new.example/team/api\n")
    written = write(read(Given("pairs", (path,), {})), title="Of pairs.")
    assert 'source: "old.example/team/api"' in written.text


def test_every_row_has_a_module_that_reads() -> None:
    """A row without one would fail when somebody needs it."""
    from importlib import import_module

    for name in FORMATS.values():
        assert callable(import_module(f"imgmigrate.foreign.formats.{name}").read)
