"""Read YAML so that every scalar stays the string it was written as, and every line is known.

No I/O: text in, tree out. The parser's events are walked here, without recursion (the parser's
own composer overflows the stack on deep nesting) and without YAML's ideas of types: `1.20`,
`010`, `on` and `2024-01-01` are those texts. What a reader would take for something else (a key
given twice, a value that is missing or has become a mapping) is an error with its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from imgmigrate.config.reading import traps
from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = [
    "KeyPath",
    "Mapping",
    "Node",
    "Scalar",
    "Sequence",
    "Tree",
    "parse_documents",
    "parse_only",
    "parse_tree",
]

KeyPath = tuple[str | int, ...]

# Far above any config; the parser would go on until memory ends.
DEEPEST = 50
# How many nodes aliases may add: an alias bomb is billions of them, or a long text many times.
MOST_COPIES = 100_000
# How alike a key is to the one that was meant, to be shown: `imags` is, `auths` is not.
NEARLY = 0.8
# So many characters count as one more node.
TEXT_OF_A_NODE = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# How plain YAML writes that a value is missing.
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TAGS = frozenset({None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})


@dataclass(slots=True)
class Scalar:
    """A text, and its line from 1; what YAML calls null is an empty one, where it may stand."""

    value: str
    line: int
    size: int = 1
    is_null: bool = False


@dataclass(slots=True)
class Sequence:
    """A list. `size` counts its nodes, those that aliases repeat included."""

    line: int
    items: list[Node] = field(default_factory=list)
    size: int = 1


@dataclass(slots=True)
class Mapping:
    """A mapping; `lines` holds the line of each key, `brace` the column of its `{`, if any."""

    line: int
    entries: dict[str, Node] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    size: int = 1
    brace: int | None = None
    pending: Scalar | None = None


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole file."""

    file: str
    root: Mapping

    def node(self, path: KeyPath) -> Node | None:
        """The node at a path; None if there is none."""
        node: Node | None = self.root
        for step in path:
            node = _child(node, step)
        return node

    def line(self, path: KeyPath) -> int:
        """Where the key at a path stands, or else the nearest thing around it."""
        node: Node = self.root
        line = node.line
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            line = found.line
            if isinstance(node, Mapping):
                line = node.lines.get(str(step), line)
            node = found
        return line

    def plain(
        self, path: KeyPath = (), convert: Callable[[str, KeyPath], str] | None = None
    ) -> Any:
        """The value at a path as dicts, lists, strings and None; `convert` gets every string."""
        node = self.node(path)
        return None if node is None else _plain(node, path, convert)

    def error(
        self, message: str, path: KeyPath = (), *, hint: str | None = None, line: int | None = None
    ) -> ConfigError:
        """Make the error that names file, line and key; a single value may stand for a list."""
        while path and isinstance(path[-1], int) and self.node(path) is None:
            path = path[:-1]
        return ConfigError(
            message,
            file=self.file,
            line=line or self.line(path),
            key=print_path(path) or None,
            path=path,
            hint=hint,
        )


def print_path(path: KeyPath) -> str:
    """Print a path as people write it: `images[2].source`, `registries."localhost:5000"`."""
    printed = ""
    for step in path:
        if isinstance(step, int):
            printed += f"[{step}]"
        else:
            name = step if _BARE_KEY.fullmatch(step) else f'"{step}"'
            printed += f".{name}" if printed else name
    return printed


def parse_tree(text: str, file: str, *, nulls: bool = False) -> Tree:
    """Parse one YAML document whose top is a mapping; ConfigError names the line and the fix.

    With `nulls` a value may be missing, as it may in the files of other tools, and so may all.
    """
    return _Builder(text, file, nulls=nulls).build()


def parse_documents(text: str, file: str) -> list[Tree]:
    """Parse whatever YAML holds: several documents, each of any kind below a key of no name.

    Values and whole documents may be missing.
    """
    builder = _Builder(text, file, nulls=True, several=True)
    builder.read()
    return [Tree(file, Mapping(root.line, {"": root}, {"": root.line})) for root in builder.roots]


def parse_only(text: str, file: str, keys: Collection[str], what: str) -> Tree:
    """Parse a file that may be anybody's: unless its keys are `keys`, no error shows what it holds.

    A config names such files, and may name a wrong one; `what` it should be is for messages. A
    key that is nearly one of them is left for who checks the file.
    """
    tree = _Builder(text, file, what).build()
    for key in tree.root.entries:
        if key not in keys and not _is_nearly(key, keys):
            message = f"this is not {what}: a key stands here that it does not have"
            hint = f"known there: {', '.join(keys)}"
            raise ConfigError(message, file=file, line=tree.line((key,)), hint=hint)
    return tree


def _is_nearly(key: str, keys: Collection[str]) -> bool:
    import difflib

    return bool(difflib.get_close_matches(key, keys, 1, NEARLY))


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, _LOADER)


def _child(node: Node | None, step: str | int) -> Node | None:
    if isinstance(node, Mapping) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None


def _plain(node: Node, path: KeyPath, convert: Callable[[str, KeyPath], str] | None) -> Any:
    if isinstance(node, Scalar):
        if node.is_null:
            return None
        return convert(node.value, path) if convert else node.value
    if isinstance(node, Sequence):
        return [_plain(each, (*path, i), convert) for i, each in enumerate(node.items)]
    return {key: _plain(each, (*path, key), convert) for key, each in node.entries.items()}


class _Builder:
    """Turns the parser's events into nodes; knows the path for messages.

    Where only something in particular is expected, `what`, the text is shown nowhere.
    """

    def __init__(
        self,
        text: str,
        file: str,
        what: str | None = None,
        *,
        nulls: bool = False,
        several: bool = False,
    ) -> None:
        self.text, self.file, self.what = text, file, what
        self.nulls, self.several = nulls, several
        self.roots: list[Node] = []
        self.open: list[Sequence | Mapping] = []
        self.anchors: dict[str, Node] = {}
        self.anchored: list[str | None] = []
        self.root: Node | None = None
        self.documents = self.copies = 0

    def read(self) -> None:
        self._refuse_unreadable()
        try:
            for event in _events(self.text):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            trap = traps.explain(error, self._lines(), is_shown=not self.what)
            raise self._error(trap.line, trap.message, trap.hint, path=False) from None

    def build(self) -> Tree:
        self.read()
        if self.root is None and self.nulls:
            return Tree(self.file, Mapping(1))
        if self.root is None:
            raise self._error(
                1, "it is empty", "start from what this writes: imgmigrate init", path=False
            )
        if not isinstance(self.root, Mapping):
            message, hint = "its top must be a mapping", "name a file of that tool"
            if not self.nulls:  # ours
                message += " with the keys version and images"
                hint = "write `images:` and put the list below it"
            raise self._error(self.root.line, message, hint, path=False)
        return Tree(self.file, self.root)

    def _refuse_unreadable(self) -> None:
        # The parser lets one through that is a mark of the order of bytes, and no text.
        found = yaml.reader.Reader.NON_PRINTABLE.search(self.text)
        at = found.start() if found else self.text.find("\ufeff")
        if at >= 0:
            line = self.text.count("\n", 0, at) + 1
            shown = "a character" if self.what else f"the character U+{ord(self.text[at]):04X}"
            message = f"it holds {shown}, which YAML does not allow"
            raise self._error(line, message, "remove it", path=False)

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin(event, is_sequence=False)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin(event, is_sequence=True)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1 and not self.several:
                line = self._line(event)
                hint = "keep one document in the file"
                raise self._error(line, "a second document begins here", hint, path=False)

    def _scalar(self, event: Any) -> None:
        self._refuse_tag(event)
        line = self._line(event)
        inside = self.open[-1] if self.open else None
        is_key = isinstance(inside, Mapping) and inside.pending is None
        is_null = self.nulls and event.implicit[0] and event.value in _NULLS and not is_key
        if event.value == "" and event.implicit[0] and self.open and not is_null:
            raise self._no_value(line)
        value = "" if is_null else event.value
        node = Scalar(value, line, 1 + len(value) // TEXT_OF_A_NODE, is_null)
        if is_key and isinstance(inside, Mapping):
            self._key(inside, node)
        elif (value or not event.implicit[0]) or (is_null and self.open):
            self._add(node, event.anchor)

    def _key(self, mapping: Mapping, key: Scalar) -> None:
        first = mapping.lines.get(key.value)
        mapping.pending = key
        if first is not None:
            message = f"the key is given twice, first in line {first}"
            raise self._error(key.line, message, "merge the two, or remove one")
        mapping.lines[key.value] = key.line
        mapping.size += key.size

    def _begin(self, event: Any, *, is_sequence: bool) -> None:
        self._refuse_tag(event)
        line = self._line(event)
        inside = self.open[-1] if self.open else None
        if isinstance(inside, Mapping) and inside.pending is None:
            if any(isinstance(each, Mapping) and each.brace is not None for each in self.open):
                raise self._no_value(line)
            raise self._error(line, "a key cannot be a list or a mapping", "quote it")
        if len(self.open) >= DEEPEST:
            raise self._error(
                line, f"it is nested more than {DEEPEST} deep", "flatten it", path=False
            )
        begun: Sequence | Mapping = Sequence(line)
        if not is_sequence:
            begun = Mapping(line, brace=event.start_mark.column if event.flow_style else None)
        self.open.append(begun)
        self.anchored.append(event.anchor)

    def _end(self) -> None:
        self._add(self.open.pop(), self.anchored.pop())

    def _alias(self, event: Any) -> None:
        line = self._line(event)
        node = self.anchors.get(event.anchor)
        inside = self.open[-1] if self.open else None
        if node is None or (isinstance(inside, Mapping) and inside.pending is None):
            text = self._lines()[line - 1]
            raise self._trapped(traps.undefined_alias(line, event.start_mark.column, text))
        self.copies += node.size
        if self.copies > MOST_COPIES:
            message = f"its aliases repeat more than {MOST_COPIES} values"
            raise self._error(line, message, "write them out, or use fewer aliases")
        self._add(node, None)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if not self.open:
            self.root = node
            self.roots.append(node)
            return
        inside = self.open[-1]
        inside.size += node.size
        if isinstance(inside, Sequence):
            inside.items.append(node)
        elif inside.pending is not None:
            inside.entries[inside.pending.value] = node
            inside.pending = None

    def _no_value(self, line: int) -> ConfigError:
        """Explain by the outermost `{` if there is one: a value that wants quotes."""
        lines = self._lines()
        for number, each in enumerate(self.open):
            if isinstance(each, Mapping) and each.brace is not None:
                del self.open[number:]
                trap = traps.braces(each.line, each.brace, lines[each.line - 1])
                return self._trapped(trap)
        return self._trapped(traps.no_value(line, lines[line - 1] if line <= len(lines) else ""))

    def _refuse_tag(self, event: Any) -> None:
        # Where anything may stand, what a tag means is nothing to us.
        if event.tag not in _TAGS and not self.several:
            line = self._line(event)
            text = self._lines()[line - 1]
            raise self._trapped(traps.unknown_tag(line, event.start_mark.column, text))

    def _line(self, event: Any) -> int:
        return int(event.start_mark.line) + 1

    def _lines(self) -> list[str]:
        return self.text.splitlines()

    def _path(self) -> KeyPath:
        path: list[str | int] = []
        for each in self.open:
            if isinstance(each, Sequence):
                path.append(len(each.items))
            elif each.pending is not None:
                path.append(each.pending.value)
        return tuple(path)

    def _trapped(self, trap: traps.Trap) -> ConfigError:
        return self._error(trap.line, trap.message, trap.hint)

    def _error(self, line: int, message: str, hint: str, *, path: bool = True) -> ConfigError:
        if self.what:
            hint = f"expected {self.what}"
            return ConfigError(message, file=self.file, line=line, hint=hint)
        where = self._path() if path else ()
        key = print_path(where) or None
        return ConfigError(message, file=self.file, line=line, key=key, path=where, hint=hint)
