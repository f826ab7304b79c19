"""Read a config of regsync (regclient), as far as ours can say it. Pure.

What has no equivalent becomes a remark. A rule that would copy more than it asks for is left
out, and its remark says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imgmigrate.config.foreign.document import Document, Entry
from imgmigrate.config.foreign.dollars import as_literal
from imgmigrate.matching import split_target

if TYPE_CHECKING:
    from imgmigrate.config.tree import KeyPath, Tree

__all__ = ["read_regsync"]

_ENV = re.compile(r'\{\{-?\s*env\s+["`]([A-Za-z_][A-Za-z0-9_]*)["`]\s*-?\}\}')
_TLS: dict[str, dict[str, Any]] = {
    "enabled": {},
    "insecure": {"tls": {"verify": False}},
    "disabled": {"plain_http": True},
}
_KNOWN = frozenset({"source", "target", "type", "tags", "platform", "platforms"})
_INSTEAD = {
    "interval": "run imgmigrate from cron or CI",
    "schedule": "run imgmigrate from cron or CI",
    "parallel": "use plan and apply --parallelism",
    "credHelper": "docker's own config names the helper (credHelpers), or use credential_command",
    "regcert": "save it as a file and name it in tls.ca_file",
    "clientCert": "save it as a file and name it in tls.client_cert",
    "clientKey": "save it as a file and name it in tls.client_key",
    "skipDockerConfig": "docker's config is used where a registry has no credentials here",
}


class _Left(Exception):
    """An entry has to be left out, for this reason."""


def read_regsync(tree: Tree) -> Document:
    """Read a whole file; ConfigError where it is not regsync's."""
    plain = tree.plain()
    document = Document(tree.file, defaults={"overwrite": "always"})
    if not isinstance(plain.get("sync"), list):
        raise tree.error("is missing", ("sync",), hint="this is not a config of regsync")
    for key in plain:
        if key not in ("version", "creds", "defaults", "sync") and not key.startswith("x-"):
            document.remarks.append(_without(key))
    defaults = plain.get("defaults") if isinstance(plain.get("defaults"), dict) else {}
    document.remarks += [_without(key) for key in defaults if key not in _KNOWN]
    for number, entry in enumerate(_mappings(tree, plain, "creds")):
        path = ("creds", number)
        document.registries.append(_registry(tree, path, entry))
    for number, entry in enumerate(_mappings(tree, plain, "sync")):
        path = ("sync", number)
        try:
            document.images.append(_image(tree, path, {**_shared(defaults), **entry}))
        except _Left as reason:
            document.remarks.append(f"line {tree.line(path)}: {reason}; the rule is left out")
    return document


def _mappings(tree: Tree, plain: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = plain.get(key, [])
    for number, each in enumerate(found if isinstance(found, list) else [found]):
        if not isinstance(each, dict):
            raise tree.error("must be a mapping", (key, number))
    return list(found)


def _shared(defaults: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in defaults.items() if key in ("platform", "platforms")}


def _registry(tree: Tree, path: KeyPath, entry: dict[str, Any]) -> Entry:
    name = str(entry.get("registry", ""))
    settings: dict[str, Any] = {}
    remarks = []
    for key, value in entry.items():
        if key == "tls" and value in _TLS:
            settings |= _TLS[value]
        elif key in ("user", "pass"):
            try:
                settings[{"user": "username", "pass": "password"}[key]] = _text(value)
            except _Left as reason:
                remarks.append(f"{key}: {reason}")
        elif key in ("reqPerSec", "reqConcurrent"):
            settings[{"reqPerSec": "rate_limit", "reqConcurrent": "concurrency"}[key]] = value
        elif key != "registry" and not (key == "hostname" and value == name):
            remarks.append(_without(key))
    if ("username" in settings) != ("password" in settings):
        remarks.append("give both username and password, or neither")
        settings.pop("username", None)
        settings.pop("password", None)
    return Entry(name, settings, path, tree.line(path), tuple(remarks))


def _image(tree: Tree, path: KeyPath, entry: dict[str, Any]) -> Entry:
    source, target = _text(entry.get("source", "")), _text(entry.get("target", ""))
    source, target = (each.replace("ocidir://", "oci:") for each in (source, target))
    remarks = [_without(key) for key in entry if key not in _KNOWN]
    settings: dict[str, Any] = {}
    kind = entry.get("type", "image")
    if kind == "image":
        source, settings["destination"] = _single(source, target)
    elif kind == "repository":
        settings["destination"] = target
        tags = _tags(entry.get("tags", {}))
        if tags:
            settings["tags"] = tags
    elif kind == "registry":
        if "repos" in entry:
            raise _Left("repositories selected by regexes cannot be said")
        source, settings["destination"] = f"{source}/**", f"{target}/{{repository}}"
        tags = _tags(entry.get("tags", {}))
        if tags:
            settings["tags"] = tags
    else:
        raise tree.error(f"{kind!r} is none of image, repository, registry", (*path, "type"))
    platforms = entry.get("platforms") or entry.get("platform")
    if platforms:
        settings["platforms"] = platforms if isinstance(platforms, list) else [platforms]
    return Entry(source, settings, path, tree.line(path), tuple(remarks))


def _single(source: str, target: str) -> tuple[str, str]:
    """Both ends of one image: a name without a tag is its `latest`, a digest hides a tag."""
    name, separator, wanted = split_target(source)
    if not separator:
        source = f"{source}:latest"
    elif separator == ":" and "@" in wanted:
        source = f"{name}@{wanted.partition('@')[2]}"
    elif separator == "@":
        source = f"{split_target(name)[0]}@{wanted}"
    return source, target if split_target(target)[1] else f"{target}:latest"


def _tags(tags: dict[str, Any]) -> dict[str, Any] | list[str]:
    """Its regexes are anchored at both ends, as `regsync` compiles them."""
    left = [key for key in tags if key not in ("allow", "deny", "semverRange")]
    if left:
        raise _Left(f"tags.{left[0]} has no equivalent here")
    allow, deny = ([f"/^{each}$/" for each in tags.get(key, [])] for key in ("allow", "deny"))
    ranges = tags.get("semverRange", [])
    if not deny and not ranges:
        return allow
    found: dict[str, Any] = {"include": allow} if allow else {}
    if deny:
        found["exclude"] = deny
    if ranges:
        found["semver"] = " || ".join(ranges)
    return found


def _text(value: object) -> str:
    """Translate a text: `{{env "X"}}` is a variable, any other template cannot be said."""
    text = str(value)
    if "{{" in _ENV.sub("", text):
        raise _Left("a template other than {{env}} has no equivalent here")
    pieces, position = "", 0
    for found in _ENV.finditer(text):
        pieces += as_literal(text[position : found.start()]) + f"${{{found[1]}}}"
        position = found.end()
    return pieces + as_literal(text[position:])


def _without(key: str) -> str:
    return f"{key} has no equivalent here: {_INSTEAD.get(key, 'it is left out')}"
