"""Read a config of dregsy, as far as ours can say it. Pure."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from imgmigrate.config.foreign.document import Document, Entry
from imgmigrate.config.foreign.dollars import as_literal

if TYPE_CHECKING:
    from imgmigrate.config.tree import KeyPath, Tree

__all__ = ["read_dregsy"]

_END_KEYS = frozenset({"registry", "auth", "skip-tls-verify"})
_MAPPING_KEYS = frozenset({"from", "to", "tags", "platform"})
_REGEX = "regex:"
ONE_PLATFORM = (
    "dregsy copies one platform of an image unless its platform is all; here every one is "
    "copied, unless platforms says which"
)
ANCHORS = "dregsy's regex became ours, which may match within a tag: add ^ and $ as intended"


def read_dregsy(tree: Tree) -> Document:
    """Read a whole file; ConfigError where it is not dregsy's."""
    plain = tree.plain()
    document = Document(tree.file, defaults={"overwrite": "always"})
    if not isinstance(plain.get("tasks"), list):
        raise tree.error("is missing", ("tasks",), hint="this is not a config of dregsy")
    for key in plain:
        if key not in ("tasks", "relay"):
            document.remarks.append(f"{key} has no equivalent here: it is left out")
    for number, task in enumerate(plain["tasks"]):
        _task(tree, ("tasks", number), task, document)
    return document


def _task(tree: Tree, path: KeyPath, task: Any, document: Document) -> None:
    if not isinstance(task, dict):
        raise tree.error("must be a mapping", path)
    hosts = []
    for key in ("source", "target"):
        end = task.get(key)
        if not isinstance(end, dict) or not end.get("registry"):
            raise tree.error("names no registry", (*path, key), hint="write registry: HOST")
        _registry(tree, (*path, key), end, document)
        hosts.append(str(end["registry"]).rstrip("/"))
    for key in task:
        if key not in ("name", "source", "target", "mappings", "verbose"):
            reason = "run imgmigrate from cron or CI" if key == "interval" else "it is left out"
            line = tree.line((*path, key))
            document.remarks.append(f"line {line}: {key} has no equivalent here: {reason}")
    mappings = task.get("mappings", [])
    for number, mapping in enumerate(mappings if isinstance(mappings, list) else [mappings]):
        place: KeyPath = (*path, "mappings", number)
        if not isinstance(mapping, dict) or not mapping.get("from"):
            raise tree.error("must be a mapping with from", place)
        _mapping(tree, place, mapping, hosts, document)


def _registry(tree: Tree, path: KeyPath, end: dict[str, Any], document: Document) -> None:
    """Add a registry once; a second one with other credentials is told."""
    found: dict[str, Any] = {}
    remarks = [
        f"{key} has no equivalent here: use credential_command for logins that end"
        for key in end
        if key not in _END_KEYS
    ]
    auth = end.get("auth", "none")
    if auth not in ("none", "") and not auth.startswith("$"):
        found |= _credentials(tree, (*path, "auth"), auth)
    elif auth.startswith("$"):
        remarks.append("auth comes from a variable: write username and password here")
    if end.get("skip-tls-verify") == "true":
        # skopeo, which does the work for dregsy, also tries plain HTTP then.
        found["insecure"] = True
    name = str(end["registry"])
    first = next((each for each in document.registries if each.name == name), None)
    if first is None:
        if found or remarks:
            entry = Entry(name, found, path, tree.line(path), tuple(remarks))
            document.registries.append(entry)
    elif first.settings != found:
        message = f"line {tree.line(path)}: other credentials for {name} than before are left out"
        document.remarks.append(message)


def _credentials(tree: Tree, path: KeyPath, text: str) -> dict[str, str]:
    try:
        found = json.loads(base64.b64decode(text, validate=True))
        return {key: as_literal(str(found[key])) for key in ("username", "password")}
    except (ValueError, KeyError, TypeError):
        hint = 'it is base64 of {"username": ..., "password": ...}'
        raise tree.error("is not what dregsy reads", path, hint=hint) from None


def _mapping(
    tree: Tree, path: KeyPath, mapping: dict[str, Any], hosts: list[str], document: Document
) -> None:
    line, written = tree.line(path), str(mapping["from"])
    target = str(mapping.get("to") or written)
    if written.startswith(_REGEX) or _REGEX in target or "," in target:
        reason = "repositories selected or renamed by regexes cannot be said"
        document.remarks.append(f"line {line}: {reason}; the mapping is left out")
        return
    if mapping.get("platform") is None and ONE_PLATFORM not in document.remarks:
        document.remarks.append(ONE_PLATFORM)
    remarks = [
        f"{key} has no equivalent here: it is left out"
        for key in mapping
        if key not in _MAPPING_KEYS
    ]
    tags = mapping.get("tags", [])
    tags = [str(each) for each in (tags if isinstance(tags, list) else [tags])]
    sources = [(f"{written}@{each}", None) for each in tags if each.startswith("sha256:")]
    chosen, unsaid = _tags([each for each in tags if not each.startswith("sha256:")])
    if chosen or not sources:
        sources.append((written, chosen))
    platform = mapping.get("platform")
    for source, selected in sources:
        settings: dict[str, Any] = {"destination": f"{hosts[1]}/{target.strip('/')}"}
        if selected:
            settings["tags"] = selected
        if platform not in (None, "all"):
            settings["platforms"] = [platform]
        name = f"{hosts[0]}/{source.strip('/')}"
        document.images.append(Entry(name, settings, path, line, (*remarks, *unsaid)))


def _tags(tags: list[str]) -> tuple[Any, list[str]]:
    """Translate a list of tags, `semver:`, `regex:` and `keep:`; and what could not be said."""
    plain: list[str] = []
    ranges: list[str] = []
    newest: str | None = None
    unsaid: list[str] = []
    for tag in tags:
        kind, _, value = (part.strip() for part in tag.partition(":"))
        if kind == "semver":
            ranges.append(value)
        elif kind == "regex":
            plain.append(f"/{value}/")
            unsaid.append(ANCHORS)
        elif kind == "keep" and value.startswith("latest "):
            newest = value.removeprefix("latest ").strip()
        elif kind == "keep":
            unsaid.append(f"keep: {value} has no equivalent here")
        else:
            plain.append(tag)
    groups: list[dict[str, Any]] = [{"include": plain}] if plain else []
    groups += [{"semver": each} for each in ranges]
    if newest is not None and len(groups) > 1:
        unsaid.append("keep: latest counts over all its selectors; here it would be over each")
    elif newest is not None:
        groups = [{**(groups[0] if groups else {}), "newest": newest}]
    if len(groups) > 1:
        return {"any": groups}, unsaid
    if plain and newest is None:
        return plain, unsaid
    return (groups[0] if groups else []), unsaid
