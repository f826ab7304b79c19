"""What a foreign config says, in our words: what a reader of one makes, and what loads it.

A document becomes the very tree that our own file would have, with the lines and keys of
the foreign one, so that both are checked by the same code and mean the same. Only `read_tree`
reads a file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.config.load import decode, read_file
from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.config.reading.tree import Mapping, Node, Scalar, Sequence, Tree, print_path
from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.config.reading.tree import KeyPath

# Our keys, and those of the foreign file that they are made of.
Origins = dict[tuple[str | int, ...], tuple[str | int, ...]]

__all__ = ["Document", "Entry", "ForeignTree", "Remark", "Told", "read_tree"]

# Of the lines that say the same so many are named.
MOST_PLACES = 3


class Entry(Struct, frozen=True):
    """A registry by its key, or an image by its source; `settings` are what stands below it.

    `path` and `line` are where the foreign file says so. Texts have our variables. `remarks`
    tell what could not be said.
    """

    name: str
    settings: dict[str, Any]
    path: KeyPath
    line: int
    remarks: tuple[str, ...] = ()
    # Where it is another than the document's.
    file: str = ""


class Remark(str):
    """What is told of a line; `reason` says the same wherever it is told.

    `is_left` tells that what stands there is left out.
    """

    __slots__ = ("file", "is_left", "line", "reason")
    line: int
    reason: str
    is_left: bool
    file: str

    def __new__(cls, line: int, reason: str, *, is_left: bool = False, file: str = "") -> Self:
        """Make a text that remembers what it is made of; `file` as an entry's."""
        made = super().__new__(cls, f"line {line}: {reason}")
        made.line, made.reason, made.is_left, made.file = line, reason, is_left, file
        return made

    def reworded(self, change: Callable[[str], str]) -> Remark:
        """Make the same with another reason."""
        return Remark(self.line, change(self.reason), is_left=self.is_left, file=self.file)


@dataclass(slots=True)
class Told:
    """One reason, and where it holds: `places` are whole texts, `lines` their lines.

    `is_general` tells that it is no image's or registry's own.
    """

    reason: str
    is_general: bool = False
    places: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    is_left: bool = False

    @property
    def is_shared(self) -> bool:
        """Tell whether it holds in several places."""
        return len(self.lines) > 1

    def __str__(self) -> str:
        if not self.is_shared:
            return f"line {self.lines[0]}: {self.reason}" if self.lines else self.reason
        named = ", ".join(str(each) for each in sorted(self.lines)[:MOST_PLACES])
        more = ", ..." if len(self.lines) > MOST_PLACES else ""
        return f"{self.reason} ({len(self.lines):,} times, in lines {named}{more})"


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
    # Run as it is, what nothing fits is skipped and told, as the tool itself does.
    is_lenient: bool = False

    def told(self) -> list[tuple[str, Told]]:
        """What could not be said, once for each reason, with its file; what is left out first."""
        found: dict[tuple[str, str], Told] = {}
        for remark in self.remarks:
            reason, file = remark, self.file
            if isinstance(remark, Remark):
                reason, file = remark.reason, remark.file or self.file
            one = found.setdefault((file, reason), Told(reason, is_general=True))
            one.places.append(f"{file}: {remark}")
            if isinstance(remark, Remark):
                one.lines.append(remark.line)
                one.is_left = remark.is_left
        for file, entries in (
            (self.file, self.images),
            (self.registries_file or self.file, self.registries),
        ):
            for entry in entries:
                key = f": {print_path(entry.path)}" if entry.path else ""
                place = f"{entry.file or file}:{entry.line}{key}"
                for remark in entry.remarks:
                    one = found.setdefault((entry.file or file, remark), Told(remark))
                    # An entry that became several rules says the same of each.
                    if f"{place}: {remark}" not in one.places[-1:]:
                        one.places.append(f"{place}: {remark}")
                        one.lines.append(entry.line)
        return sorted(
            ((file, one) for (file, _), one in found.items()), key=lambda each: not each[1].is_left
        )

    def warnings(self) -> list[str]:
        """What could not be said, one line for each reason, with the places of the file."""
        return [f"{file}: {one}" if one.is_shared else one.places[0] for file, one in self.told()]

    def reworded(self, change: Callable[[str], str]) -> Document:
        """Make the same document with other words in all that it tells people."""

        def told(entries: list[Entry]) -> list[Entry]:
            return [replace(each, remarks=tuple(map(change, each.remarks))) for each in entries]

        def of_a_line(remark: str) -> str:
            return remark.reworded(change) if isinstance(remark, Remark) else change(remark)

        return dataclasses.replace(
            self,
            images=told(self.images),
            registries=told(self.registries),
            remarks=[of_a_line(each) for each in self.remarks],
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
        origins: Origins = {
            ("images", number): entry.path for number, entry in enumerate(self.images)
        }
        files: dict[KeyPath, str] = {
            ("images", number): entry.file for number, entry in enumerate(self.images) if entry.file
        }
        return ForeignTree(self.file, root, origins, files)

    def registry_tree(self) -> Tree:
        """The tree of the registries alone."""
        root, registries = Mapping(1), Mapping(1)
        for entry in self.registries:
            _put(registries, entry.name, entry.settings, entry.line)
        root.entries["registries"], root.lines["registries"] = registries, 1
        origins: Origins = {("registries", entry.name): entry.path for entry in self.registries}
        return ForeignTree(self.registries_file or self.file, root, origins)


@dataclass(frozen=True, slots=True)
class ForeignTree(Tree):
    """A tree whose errors name the foreign file's keys; `origins` maps ours to them.

    `files` says of which another file is meant.
    """

    origins: Origins = field(default_factory=dict)
    files: dict[KeyPath, str] = field(default_factory=dict)

    def error(
        self, message: str, path: KeyPath = (), *, hint: str | None = None, line: int | None = None
    ) -> ConfigError:
        """Make the error that names the file, line and key as its user knows them."""
        place = self.origins.get(path[:2])
        key = path if place is None else place
        if place is not None and path[:1] == ("registries",):
            key = (*place, *path[2:])
        return ConfigError(
            message,
            file=self.files.get(path[:2], self.file),
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
    """Read a file of another tool, in JSON or YAML; values may be missing in it."""
    return parse_config_text(decode(read_file(path), str(path)), str(path), nulls=True)
