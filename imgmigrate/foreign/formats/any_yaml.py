"""Read the images that any YAML names: what stands at `image:` and `images:`, wherever that is.

Compose files, manifests of Kubernetes, values of Helm, zarf's packages, hauler's and
oc-mirror's lists, the locks of imgpkg and kbld, kustomizations: they all use these keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.config.load import decode, read_file
from imgmigrate.config.reading.tree import Mapping, Scalar, Sequence, parse_documents
from imgmigrate.foreign.reading.images import Listed, Places

if TYPE_CHECKING:
    from imgmigrate.config.reading.tree import KeyPath, Node
    from imgmigrate.foreign.document import Document
    from imgmigrate.foreign.formats import Given

__all__ = ["read"]

_LISTS = ("images", "additionalImages")
# A name by parts, as charts and kustomizations write it; the first that is there counts.
_NAMES = ("newImage", "image", "newName", "repository", "reference", "name")
_TAGS = ("newTag", "tag")
BUILT = "it is built here, from what stands at build"


def read(given: Given) -> Document:
    """Read the images of YAML files; `to` is where they go."""
    places = Places(given, strict=False)
    for path in given.files:
        file = str(path)
        for tree in parse_documents(decode(read_file(path), file), file):
            _Walk(file, places).top(tree.root.entries[""])
    return places.document()


class _Walk:
    """Goes through one document."""

    def __init__(self, file: str, places: Places) -> None:
        self.file, self.places = file, places

    def top(self, node: Node) -> None:
        """Look through a document; one that is a list of texts is a list of images."""
        if isinstance(node, Sequence) and all(isinstance(each, Scalar) for each in node.items):
            self.listed((), node)
        else:
            self.node((), node)

    def listed(self, path: KeyPath, node: Sequence) -> None:
        """Take every entry of a list of images."""
        for number, item in enumerate(node.items):
            self._item((*path, number), item)

    def node(self, path: KeyPath, node: Node) -> None:
        """Look below a node, for images at any depth."""
        if isinstance(node, Sequence):
            for number, each in enumerate(node.items):
                self.node((*path, number), each)
        elif isinstance(node, Mapping):
            for key, each in node.entries.items():
                place, line = (*path, key), node.lines[key]
                if key == "image" and (_is_named(each) or _has_name(each)):
                    self._one(place, line, each, node)
                elif key in _LISTS and isinstance(each, Sequence):
                    self.listed(place, each)
                elif key == "images" and isinstance(each, Mapping):
                    # A chart's, each by a name of its own; image-syncer's have a source there.
                    for name, item in each.entries.items():
                        if not {"/", ":", "."} & set(name):
                            self._item((*place, name), item)
                else:
                    self.node(place, each)

    def _item(self, path: KeyPath, item: Node) -> None:
        """An image of a list: a text, or a mapping that names it."""
        if _is_named(item) or _has_name(item):
            self._one(path, item.line, item, item if isinstance(item, Mapping) else None)
        else:
            self.node(path, item)

    def _one(self, path: KeyPath, line: int, node: Node, beside: Mapping | None) -> None:
        source = _name(node)
        if beside is not None and _text(beside, "newImage"):
            source = _text(beside, "newImage")
        if not source:
            return
        platform = _text(beside, "platform") if beside is not None else ""
        listed = Listed(
            self.file, path, line, source, platforms=tuple(platform.split(",")) if platform else ()
        )
        if beside is not None and "build" in beside.entries:
            self.places.leave(listed, BUILT)
        else:
            self.places.add(listed)


def _is_named(node: Node) -> bool:
    return isinstance(node, Scalar) or (
        isinstance(node, Mapping)
        and any(_text(node, key) for key in ("repository", "image", "reference"))
    )


def _has_name(node: Node) -> bool:
    return isinstance(node, Mapping) and bool(_text(node, "name"))


def _name(node: Node) -> str:
    """The image that a text or a mapping of parts names; empty if it names none."""
    if isinstance(node, Scalar):
        return node.value.strip()
    if not isinstance(node, Mapping):
        return ""
    name = next((found for key in _NAMES if (found := _text(node, key))), "")
    registry = _text(node, "registry") if _text(node, "repository") == name else ""
    name = f"{registry.rstrip('/')}/{name}" if registry else name
    tag = next((found for key in _TAGS if (found := _text(node, key))), "")
    digest = _text(node, "digest")
    return f"{name}{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}"


def _text(mapping: Mapping, key: str) -> str:
    node = mapping.entries.get(key)
    return node.value.strip() if isinstance(node, Scalar) else ""
