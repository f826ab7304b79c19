"""Read the YAML file of `skopeo sync --src yaml`, as far as ours can say it. Pure.

Where images go is not in that file but on skopeo's command line, and so it is on ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgmigrate.config.foreign.document import Document, Entry
from imgmigrate.config.foreign.dollars import as_literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.config.tree import KeyPath, Tree

__all__ = ["read_skopeo"]

_RULES = ("images", "images-by-tag-regex", "images-by-semver")
ONE_PLATFORM = (
    "skopeo sync without --all copies one platform of an image; here every one is copied, "
    "unless platforms says which"
)


def read_skopeo(tree: Tree, to: str, *, scoped: bool = False) -> Document:
    """Read a whole file, for images that go below `to`; `scoped` keeps their whole names."""
    document = Document(tree.file, defaults={"overwrite": "always"}, remarks=[ONE_PLATFORM])
    to = to.removeprefix("docker://").rstrip("/")
    for host, settings in tree.plain().items():
        if not isinstance(settings, dict):
            hint = "this is not a file of skopeo sync: a registry's entry holds images"
            raise tree.error("must be a mapping", (host,), hint=hint)
        registry = _registry(tree, host, settings)
        if registry.settings or registry.remarks:
            document.registries.append(registry)
        for kind in _RULES:
            for repo, wanted in _repositories(tree, (host, kind), settings.get(kind, {})):
                name = f"{host}/{repo}"
                below = name if scoped else repo.rpartition("/")[2]
                place: KeyPath = (host, kind, repo)
                line = tree.line(place)
                for source, tags in _selected(tree, place, kind, name, wanted):
                    rule = {"destination": f"{to}/{below}", **({"tags": tags} if tags else {})}
                    document.images.append(Entry(source, rule, place, line))
    return document


def _repositories(tree: Tree, path: KeyPath, value: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise tree.error("must be a mapping of repositories", path)
    yield from value.items()


def _selected(
    tree: Tree, path: KeyPath, kind: str, name: str, wanted: Any
) -> Iterator[tuple[str, Any]]:
    """Yield each source with its tags: all of them for none."""
    if kind == "images-by-tag-regex":
        yield name, [f"/{wanted}/"]
    elif kind == "images-by-semver":
        yield name, {"semver": str(wanted)}
    elif not isinstance(wanted, list):
        raise tree.error("must be a list of tags", path, hint="[] is all tags")
    else:
        tags = [each for each in wanted if ":" not in each]
        yield from ((f"{name}@{each}", None) for each in wanted if ":" in each)
        if tags or not wanted:
            yield name, tags


def _registry(tree: Tree, host: str, settings: dict[str, Any]) -> Entry:
    found: dict[str, Any] = {}
    remarks = []
    for key, value in settings.items():
        if key == "credentials" and isinstance(value, dict):
            for each in ("username", "password"):
                if value.get(each):
                    found[each] = as_literal(value[each])
        elif key == "tls-verify":
            if value == "false":
                # skopeo also tries plain HTTP then.
                found["insecure"] = True
        elif key == "cert-dir":
            remarks.append("cert-dir has no equivalent here: name its files in tls")
        elif key not in _RULES:
            remarks.append(f"{key} has no equivalent here: it is left out")
    return Entry(host, found, (host,), tree.line((host,)), tuple(remarks))
