"""What a foreign config says, in our words: what a reader of one makes, and what loads it.

A document becomes the very tree that our own file would have, with the lines and keys of
the foreign one, so that both are checked by the same code and mean the same. Only `read_tree`
reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imgmigrate.config.load import decode, read_file
from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.config.reading.tree import Mapping, Node, Scalar, Sequence, Tree, print_path
from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.config.reading.tree import KeyPath

Places = dict[tuple[str | int, ...], tuple[str | int, ...]]

__all__ = ["Document", "Entry", "ForeignTree", "read_tree"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A registry by its key, or an image by its source; `settings` are what stands below it.

    `path` and `line` are where the foreign file says so. Texts have our variables. `remarks`
    tell what could not be said.
    """

    name: str
    settings: dict[str, Any]
    path: KeyPath
    line: int
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class Document:
    """A whole foreign config; `registries_file` differs where credentials have their own file.

    `remarks` are what a converted file says at its top, `notes` what whoever plans must know.
    """

    file: str
    images: list[Entry] = field(default_factory=list)
    registries: list[Entry] = field(default_factory=list)
    registries_file: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def warnings(self) -> list[str]:
        """What could not be said, with the places of the foreign file."""
        found = [
            f"{file or self.file}:{entry.line}: {print_path(entry.path)}: {remark}"
            for file, entries in (
                (self.file, self.images),
                (self.registries_file, self.registries),
            )
            for entry in entries
            for remark in entry.remarks
        ]
        # An entry that became several rules says the same of each.
        return [*(f"{self.file}: {remark}" for remark in self.remarks), *dict.fromkeys(found)]

    def reworded(self, change: Callable[[str], str]) -> Document:
        """Make the same document with other words in all that it tells people."""

        def told(entries: list[Entry]) -> list[Entry]:
            return [replace(each, remarks=tuple(map(change, each.remarks))) for each in entries]

        return replace(
            self,
            images=told(self.images),
            registries=told(self.registries),
            remarks=[change(each) for each in self.remarks],
            notes=[change(each) for each in self.notes],
        )

    def image_tree(self) -> Tree:
        """The tree of everything but registries."""
        root = Mapping(1)
        _put(root, "version", "1", 1)
        if self.defaults:
            _put(root, "defaults", self.defaults, 1)
        images = Sequence(self.images[0].line if self.images else 1)
        for entry in self.images:
            images.items.append(_node({"source": entry.name, **entry.settings}, entry.line))
        root.entries["images"], root.lines["images"] = images, images.line
        places: Places = {
            ("images", number): entry.path for number, entry in enumerate(self.images)
        }
        return ForeignTree(self.file, root, places)

    def registry_tree(self) -> Tree:
        """The tree of the registries alone."""
        root, registries = Mapping(1), Mapping(1)
        for entry in self.registries:
            _put(registries, entry.name, entry.settings, entry.line)
        root.entries["registries"], root.lines["registries"] = registries, 1
        places: Places = {("registries", entry.name): entry.path for entry in self.registries}
        return ForeignTree(self.registries_file or self.file, root, places)


@dataclass(frozen=True, slots=True)
class ForeignTree(Tree):
    """A tree whose errors name the foreign file's keys; `places` maps ours to them."""

    places: Places = field(default_factory=dict)

    def error(
        self, message: str, path: KeyPath = (), *, hint: str | None = None, line: int | None = None
    ) -> ConfigError:
        """Make the error that names the file, line and key as its user knows them."""
        place = self.places.get(path[:2])
        key = path if place is None else place
        if place is not None and path[:1] == ("registries",):
            key = (*place, *path[2:])
        return ConfigError(
            message,
            file=self.file,
            line=line or self.line(path),
            key=print_path(key) or None,
            path=key,
            hint=hint,
        )


def _put(mapping: Mapping, key: str, value: Any, line: int) -> None:
    mapping.entries[key] = _node(value, line)
    mapping.lines[key] = line


def _node(value: Any, line: int) -> Node:
    if isinstance(value, dict):
        mapping = Mapping(line)
        for key, each in value.items():
            _put(mapping, key, each, line)
        return mapping
    if isinstance(value, (list, tuple)):
        return Sequence(line, [_node(each, line) for each in value])
    return Scalar(_text(value), line)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_tree(path: Path) -> Tree:
    """Read a file of another tool, in JSON or YAML."""
    return parse_config_text(decode(read_file(path), str(path)), str(path))
