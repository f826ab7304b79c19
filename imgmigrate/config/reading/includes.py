"""Read the files that a config includes: more rules, each error with its own file and line.

Only rules are merged. What holds for a whole run (registries, state, defaults) stays in the
one file that the command names, so that nobody has to look for it. Paths in `include` are
relative to the file that they stand in; whatever else is relative to a folder is so to that of
the main config, as addresses are.
"""

from __future__ import annotations

import glob
import os.path
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.config.reading.schema import IncludedModel, validate
from imgmigrate.config.reading.tree import parse_only

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgmigrate.config.reading.schema import ImageModel
    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.config.untrusted import Bounds

__all__ = ["Part", "read_includes"]

# Far above any config; a pattern over a whole disk would read on and on.
MOST_FILES = 1000
# Nobody finds a rule that is deeper.
DEEPEST = 20
_MAIN_ONLY = (
    *("name", "state", "registries", "defaults", "protect", "max_delete", "max_plan_age"),
    *("moved", "keep_previous", "known_conflicts"),
)
_KEYS = ("version", "include", "images", *_MAIN_ONLY)
_WHAT = "a file of more rules (images or include)"


@dataclass(frozen=True, slots=True)
class Part:
    """The rules of one file."""

    tree: Tree
    images: Sequence[ImageModel]


def read_includes(
    path: Path,
    tree: Tree,
    patterns: Sequence[str],
    *,
    read: Callable[[Path], bytes],
    decode: Callable[[bytes, str], str],
    expander: Callable[[Tree], Callable[[str, KeyPath], str]],
    bounds: Bounds | None = None,
) -> tuple[list[Part], bytes]:
    """Read what a config includes, and what that includes; each file once, in order.

    Returns the parts and the bytes of all files, for the config's digest. A ConfigError names
    a pattern that no file matches, and a file that includes itself; it shows nothing of a file
    that holds no rules. What lies out of `bounds` is not read.
    """
    reader = _Reader(read, decode, expander, [Path(os.path.realpath(path))], bounds)
    reader.include(path, tree, patterns)
    return reader.parts, b"".join(reader.data)


class _Reader:
    def __init__(
        self,
        read: Callable[[Path], bytes],
        decode: Callable[[bytes, str], str],
        expander: Callable[[Tree], Callable[[str, KeyPath], str]],
        open_files: list[Path],
        bounds: Bounds | None,
    ) -> None:
        self.parts: list[Part] = []
        self.data: list[bytes] = []
        self._read, self._decode, self._expander = read, decode, expander
        self._bounds = bounds
        # The files that are being read now, each included by the one before it.
        self._open = open_files
        self._done: set[Path] = set()

    def include(self, path: Path, tree: Tree, patterns: Sequence[str]) -> None:
        """Read the files that the patterns of one file name."""
        for number, pattern in enumerate(patterns):
            if self._bounds is not None and not self._bounds.may_include(pattern):
                continue
            for found in self._files(path, tree, pattern, number):
                self._file(found, tree, number)

    def _files(self, path: Path, tree: Tree, pattern: str, number: int) -> list[Path]:
        folder = os.path.dirname(path)
        names = sorted(glob.glob(os.path.join(glob.escape(folder), pattern), recursive=True))
        files = [Path(name) for name in names if os.path.isfile(name)]
        if not files:
            is_pattern = glob.has_magic(pattern)
            message = f"{pattern!r} matches no file" if is_pattern else f"there is no {pattern!r}"
            hint = f"it is looked for in {folder or '.'}"
            raise tree.error(message, ("include", number), hint=hint)
        return files

    def _file(self, path: Path, including: Tree, number: int) -> None:
        real = Path(os.path.realpath(path))
        if real in self._open:
            round_trip = " -> ".join(each.name for each in [*self._open, real])
            message = f"it includes itself: {round_trip}"
            hint = "leave it out, or choose a pattern that does not match it"
            raise including.error(message, ("include", number), hint=hint)
        if real in self._done:
            return
        if len(self._done) >= MOST_FILES or len(self._open) > DEEPEST:
            message = f"more than {MOST_FILES} files are included, or {DEEPEST} in one another"
            raise including.error(message, ("include", number), hint="use a narrower pattern")
        self._done.add(real)
        if self._bounds is not None and not self._bounds.may_read(path):
            message = f"it leads out of the config's folder: {path}"
            raise including.error(message, ("include", number), hint="put the file itself there")
        data = self._read(path)
        tree = parse_only(self._decode(data, str(path)), str(path), _KEYS, _WHAT)
        if self._bounds is not None:
            self._bounds.inspect(tree)
        for key in _MAIN_ONLY:
            if tree.node((key,)) is not None:
                hint = "move it into the config that includes this file"
                raise tree.error("cannot stand in an included file", (key,), hint=hint)
        model = validate(IncludedModel, tree.plain((), self._expander(tree)), tree)
        self.data.append(data)
        self.parts.append(Part(tree, model.images))
        self._open.append(real)
        self.include(path, tree, model.include)
        self._open.pop()
