"""Take apart what another tool's file holds: merges, types, keys; every mistake has its line.

Pure. The paths are those of the file, so that an error names its key as the user wrote it. What
has no value, or null, is what Go's libraries make of it: empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.config.reading.schema import raise_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from imgmigrate.config.reading.tree import KeyPath, Tree

__all__ = [
    "BOOLEANS",
    "boolean",
    "mapping",
    "mappings",
    "merged",
    "number",
    "refuse_unknown",
    "said",
    "text",
    "texts",
]

# What YAML 1.1 calls booleans, which the libraries of Go still read.
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MERGE = "<<"


def merged(tree: Tree) -> dict[str, Any]:
    """The whole file, with `<<: *anchor` resolved: a key that stands beside it wins."""
    found: dict[str, Any] = _merged(tree, tree.plain(), ())
    return found


def mapping(tree: Tree, path: KeyPath, value: Any, hint: str | None = None) -> dict[str, Any]:
    """A mapping, or an error."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise tree.error("must be a mapping", path, hint=hint or "write its keys below it")
    return value


def mappings(tree: Tree, path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Each mapping of a list, with its path."""
    if value is None:
        return
    if not isinstance(value, list):
        raise tree.error("must be a list", path, hint="begin each entry with -")
    for index, each in enumerate(value):
        yield (*path, index), mapping(tree, (*path, index), each)


def text(tree: Tree, path: KeyPath, value: Any) -> str:
    """A text, or an error."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise tree.error("must be a text", path, hint="write one value; quote it if in doubt")
    return value


def texts(tree: Tree, path: KeyPath, value: Any, hint: str | None = None) -> list[str]:
    """A list of texts, or an error."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise tree.error("must be a list of texts", path, hint=hint or "write [a, b]")
    return [text(tree, (*path, index), each) for index, each in enumerate(value)]


def boolean(tree: Tree, path: KeyPath, value: Any) -> bool:
    """True or false, or an error."""
    if value is None:
        return False
    found = BOOLEANS.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise tree.error("must be true or false", path)
    return found


def number(tree: Tree, path: KeyPath, value: Any) -> float:
    """A number that is not below 0, or an error."""
    try:
        found = float(text(tree, path, value) or "0")
    except ValueError:
        found = -1
    if not 0 <= found < float("inf"):
        raise tree.error("must be a number, 0 or more", path)
    return found


def said(value: Any) -> bool:
    """Tell whether a setting says anything; `false`, `0` and nothing do not."""
    return value not in (None, "", "0", [], {}) and BOOLEANS.get(str(value).lower(), True)


def refuse_unknown(tree: Tree, path: KeyPath, found: Iterable[str], known: Collection[str]) -> None:
    """Refuse keys that the tool does not have: it would ignore them, and mean something else."""
    import difflib

    errors = []
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
            errors.append(tree.error("is not a known key", (*path, key), hint=hint))
    raise_all(errors)


def _merged(tree: Tree, value: Any, path: KeyPath) -> Any:
    if isinstance(value, list):
        return [_merged(tree, each, (*path, index)) for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    own = {key: _merged(tree, each, (*path, key)) for key, each in value.items()}
    if _MERGE not in own:
        return own
    below = own.pop(_MERGE)
    found: dict[str, Any] = {}
    # Of several the first wins (YAML's merge key, yaml.org/type/merge.html).
    for each in reversed(below if isinstance(below, list) else [below]):
        hint = "write <<: *anchor, with the anchor at a mapping"
        found |= mapping(tree, (*path, _MERGE), each, hint)
    return {**found, **own}
