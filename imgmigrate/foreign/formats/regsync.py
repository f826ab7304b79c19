"""Read a config of regsync (regclient), as far as ours can say it. Pure.

What has no equivalent becomes a remark. A rule that would copy more than it asks for is left
out, and its remark says so. The rules are those of regclient.org/usage/regsync and of
`cmd/regsync/root` and `config/host.go` of its source.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imgmigrate.foreign.document import Document, Entry, Remark
from imgmigrate.foreign.formats.regsync_keys import CREDS, GENERAL, MEDIA_TYPES, SHARED
from imgmigrate.foreign.reading.dollars import (
    as_template,
    envsubst,
    has_variable,
    is_braced_variable,
)
from imgmigrate.foreign.reading.go_templates import TemplateError, expand_template, only_file
from imgmigrate.foreign.reading.ranges import Dialect, filters_of, translate
from imgmigrate.foreign.reading.repositories import exclusion_of, globs_of
from imgmigrate.foreign.reading.values import (
    mapping,
    mappings,
    merged,
    number,
    refuse_unknown,
    said,
    text,
    texts,
)
from imgmigrate.matching import compile_regex, has_wildcard, split_target
from imgmigrate.oci.reference import login_host, normalise_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.foreign.formats import Given

__all__ = ["read", "read_regsync"]

_TLS: dict[str, dict[str, Any]] = {
    "": {},
    "enabled": {},
    "insecure": {"tls": {"verify": False}},
    "disabled": {"plain_http": True},
}
_TYPES = ("image", "repository", "registry")
_KNOWN_CREDS = frozenset({"registry", "tls", "user", "pass", "reqPerSec", "reqConcurrent", *CREDS})
_RULE_KEYS = frozenset(
    {"source", "target", "type", "tags", "tagSets", "repos", "platform", "platforms", *SHARED}
)
ENVSUBST = envsubst("regsync")
CLOSE = (
    "regsync counts the digits within a word such as rc10; here they are letters, as semver.org "
    "has it, so pre-releases near the end of a range may fall on its other side"
)
SPARSE = (
    "regsync copies the list of all platforms and leaves images out of it; here a list of the "
    "chosen ones is written, so its digest differs"
)
SINGLE = (
    "regsync copies the image of one platform alone; here a list that holds it is written, so its "
    "digest differs"
)


SPELLED_OUT = "regsync skips what is not listed; here a name that a regex spells out must exist"


class _Left(Exception):
    """An entry has to be left out, for this reason."""


def read(given: Given) -> Document:
    """Read regsync.yml."""
    return read_regsync(given.tree())


def read_regsync(tree: Tree) -> Document:
    """Read a whole file; ConfigError where it is not regsync's."""
    plain = _without_extensions(merged(tree))
    document = Document(tree.file, defaults={"overwrite": "always"})
    if not isinstance(plain.get("sync", ""), list | None):
        raise tree.error("is missing", ("sync",), hint="this is not a config of regsync")
    refuse_unknown(tree, (), plain, ("version", "creds", "defaults", "sync"))
    if (plain.get("version") or "1") not in ("0", "1"):
        message = "is not supported: regsync has version 1"
        raise tree.error(message, ("version",), hint="write version: 1")
    defaults = _without_extensions(mapping(tree, ("defaults",), plain.get("defaults")))
    refuse_unknown(tree, ("defaults",), defaults, {**SHARED, **GENERAL})
    document.remarks += _remarks(defaults, {**SHARED, **GENERAL}, "defaults.")
    for path, entry in mappings(tree, ("creds",), plain.get("creds")):
        try:
            document.registries.append(_registry(tree, path, _without_extensions(entry)))
        except TemplateError as reason:
            told = f"{reason}; the credentials are left out"
            document.remarks.append(Remark(tree.line(path), told, is_left=True))
    for path, entry in mappings(tree, ("sync",), plain.get("sync")):
        rule = _without_extensions(entry)
        refuse_unknown(tree, path, rule, _RULE_KEYS)
        try:
            document.images += _Rule(tree, path, rule).images()
        except (_Left, TemplateError) as reason:
            told = f"{reason}; the rule is left out"
            document.remarks.append(Remark(tree.line(path), told, is_left=True))
    return document


def _without_extensions(entry: dict[str, Any]) -> dict[str, Any]:
    """Any key that begins with x- is the user's own, often the place of anchors."""
    return {key: value for key, value in entry.items() if not key.startswith("x-")}


def _remarks(entry: dict[str, Any], instead: dict[str, str], above: str = "") -> list[str]:
    """Tell what cannot be said of an entry, once for each reason."""
    keys: dict[str, list[str]] = {}
    for key, value in entry.items():
        reason = instead.get(key)
        is_usual = key == "mediaTypes" and isinstance(value, list) and set(value) == MEDIA_TYPES
        if reason and said(value) and not is_usual:
            keys.setdefault(reason, []).append(f"{above}{key}")
    return [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no equivalent here: {reason}"
        for reason, names in keys.items()
    ]


def _registry(tree: Tree, path: KeyPath, entry: dict[str, Any]) -> Entry:
    refuse_unknown(tree, path, entry, _KNOWN_CREDS)
    written = text(tree, (*path, "registry"), entry.get("registry"))
    if not written:
        raise tree.error("is missing", (*path, "registry"), hint="write registry: HOST")
    name = login_host(expand_template(written, is_name=True))
    scheme, is_url, rest = name.partition("://")
    name = rest.partition("/")[0] if is_url else name
    is_own = normalise_host(str(entry.get("hostname") or written)) == normalise_host(written)
    remarks = _remarks({key: entry[key] for key in entry if key != "hostname" or not is_own}, CREDS)
    remarks += [ENVSUBST] if has_variable(written) else []
    settings: dict[str, Any] = {}
    tls = text(tree, (*path, "tls"), entry.get("tls")).lower()
    if tls not in _TLS:
        hint = "write enabled, insecure or disabled"
        raise tree.error(f"{tls!r} is no way of TLS", (*path, "tls"), hint=hint)
    settings |= _TLS["disabled" if scheme == "http" else tls]
    for key, ours in (("user", "username"), ("pass", "password")):
        if not entry.get(key):
            continue
        value = text(tree, (*path, key), entry[key])
        is_variable = is_braced_variable(value)
        if is_variable and ENVSUBST not in remarks:
            remarks.append(ENVSUBST)
        try:
            settings[ours] = expand_template(value, is_name=is_variable)
        except TemplateError:
            variable = re.sub(r"[^A-Z0-9]+", "_", f"{name}_{ours}".upper()).strip("_")
            variable = f"REGISTRY_{variable}" if variable[0].isdigit() else variable
            settings[ours] = f"${{{variable}}}"
            remarks.append(f"{key} comes from {only_file(value)}: set {variable} to it")
    if ("username" in settings) != ("password" in settings):
        remarks.append("give both username and password, or neither")
        settings.pop("username", None)
        settings.pop("password", None)
    for key, ours in (("reqPerSec", "rate_limit"), ("reqConcurrent", "concurrency")):
        if key in entry and number(tree, (*path, key), entry[key]):
            settings[ours] = entry[key]
    return Entry(name, settings, path, tree.line(path), tuple(remarks))


class _Rule:
    """Translates one entry of `sync`."""

    def __init__(self, tree: Tree, path: KeyPath, entry: dict[str, Any]) -> None:
        self.tree, self.path, self.entry = tree, path, entry
        self.remarks = _remarks(entry, SHARED)

    def images(self) -> Iterator[Entry]:
        """Give the rules that it becomes, all of them or none."""
        kind = self.entry.get("type")
        if kind not in _TYPES:
            message = f"{kind!r} is none of {', '.join(_TYPES)}" if kind else "is missing"
            raise self._error("type", message, f"write type: {', '.join(_TYPES)}")
        source, target = self._ends()
        settings: dict[str, Any] = {}
        sources: list[tuple[str, dict[str, Any]]] = [(source, {})]
        if kind == "image":
            source, target = _single(source, target)
            sources = [(source, {})]
            ignored = [key for key in ("tags", "tagSets", "repos") if said(self.entry.get(key))]
            if ignored:
                self.remarks.append(f"{', '.join(ignored)} means nothing for an image")
        elif kind == "repository":
            self._refuse_target(source, "source", "a repository has no tag: type: image has")
            self._refuse_target(target, "target", "every tag keeps its name")
        else:
            sources = list(self._repositories(source))
            if "/" in target:  # else a colon is that of a port
                self._refuse_target(target, "target", "every tag keeps its name")
            target = f"{target}/{{repository}}"
        settings["destination"] = target
        if kind != "image" and (tags := self._tags()):
            settings["tags"] = tags
        settings |= self._platforms()
        line = self.tree.line(self.path)
        for name, more in sources:
            is_spelled_out = kind == "registry" and not has_wildcard(name)
            remarks = (*self.remarks, *([SPELLED_OUT] if is_spelled_out else []))
            yield Entry(name, {**settings, **more}, self.path, line, remarks)

    def _ends(self) -> tuple[str, str]:
        """Both ends, expanded in regsync's order: the target may name the source."""
        known = {"Sync.Type": str(self.entry.get("type"))}
        found = []
        for key, variable in (("source", "Sync.Source"), ("target", "Sync.Target")):
            written = text(self.tree, (*self.path, key), self.entry.get(key))
            if not written:
                raise self._error(key, "is missing", f"write {key}: REFERENCE")
            if has_variable(written) and ENVSUBST not in self.remarks:
                self.remarks.append(ENVSUBST)
            name = expand_template(written, known, is_name=True)
            found.append(name.replace("ocidir://", "oci:").rstrip("/"))
            known[variable] = found[-1]
        return found[0], found[1]

    def _repositories(self, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The sources of a whole registry, each with the repositories that it leaves out."""
        if "/" in source:
            hint = f"write source: {source.partition('/')[0]}, and repos: {{allow: [...]}}"
            raise self._error("source", "a registry is host[:port] alone", hint)
        if not (set(".:$") & set(source) or source == "localhost"):
            message = f"{source!r} would be a name at Docker Hub here"
            raise self._error("source", message, "write host.domain or host:port")
        repos = mapping(self.tree, (*self.path, "repos"), self.entry.get("repos"))
        refuse_unknown(self.tree, (*self.path, "repos"), repos, ("allow", "deny"))
        allow, deny = (
            texts(self.tree, (*self.path, "repos", key), repos.get(key))
            for key in ("allow", "deny")
        )
        left_out = [self._exclusion(source, each) for each in deny]
        for each in self._globs(allow) if allow else ["**"]:
            name = f"{source}/{each}"
            if has_wildcard(each):
                yield name, {"exclude_repositories": left_out} if left_out else {}
            elif not any(compile_regex(regex).search(name) for regex in left_out):
                yield name, {}

    def _exclusion(self, source: str, expression: str) -> str:
        found = None if "$" in source else exclusion_of(normalise_host(source), expression)
        if found is None:
            msg = f"repositories denied by {expression!r} cannot be said"
            raise _Left(msg)
        try:
            compile_regex(found)
        except ValueError as error:
            raise self._error("repos", str(error), "write a regex of Go's syntax") from None
        return found

    def _globs(self, expressions: list[str]) -> list[str]:
        found: list[str] = []
        for expression in expressions:
            globs = globs_of(expression)
            if globs is None:
                msg = f"repositories selected by the regex {expression!r} cannot be said by a glob"
                raise _Left(msg)
            found += globs
        return list(dict.fromkeys(found))

    def _tags(self) -> dict[str, Any] | list[str]:
        """What some set lets through is copied; a set that says nothing lets all through."""
        filters: list[dict[str, Any]] = []
        sets = list(mappings(self.tree, (*self.path, "tagSets"), self.entry.get("tagSets")))
        at: KeyPath = (*self.path, "tags")
        own = mapping(self.tree, at, self.entry.get("tags"))
        for path, each in [*sets, *([(at, own)] if any(own.values()) else [])]:
            found = self._filters(path, each)
            if not found:
                return {}
            filters += found
        if len(filters) == 1:
            only = filters[0]
            return list(only["include"]) if set(only) == {"include"} else only
        return {"any": filters} if filters else {}

    def _filters(self, path: KeyPath, tags: dict[str, Any]) -> list[dict[str, Any]]:
        """Its regexes are anchored at both ends, as regsync compiles them."""
        tree = self.tree
        refuse_unknown(tree, path, tags, ("allow", "deny", "semverRange"))
        allow, deny = (
            [self._regex(each) for each in texts(tree, (*path, key), tags.get(key))]
            for key in ("allow", "deny")
        )
        shared: dict[str, Any] = {"include": allow} if allow else {}
        shared |= {"exclude": deny} if deny else {}
        at: KeyPath = (*path, "semverRange")
        ranges = [each for each in texts(tree, at, tags.get("semverRange")) if each]
        try:
            sides = [side for each in ranges for side in translate(each, Dialect.REGSYNC)]
        except ValueError as error:
            raise tree.error(str(error), at) from None
        if sides:
            shared |= filters_of(sides)[0]
            is_close = any(each.is_close for each in sides) and CLOSE not in self.remarks
            self.remarks += [CLOSE] if is_close else []
        return [shared] if shared else []

    def _regex(self, written: str) -> str:
        """A dollar without braces is the end of a regex, and no variable."""
        if has_variable(written, braced=True) and ENVSUBST not in self.remarks:
            self.remarks.append(ENVSUBST)
        return f"/^{as_template(written, ())}$/"

    def _platforms(self) -> dict[str, Any]:
        several, single = self.entry.get("platforms"), self.entry.get("platform")
        names = texts(self.tree, (*self.path, "platforms"), several)
        one = text(self.tree, (*self.path, "platform"), single)
        if one:
            self.remarks.append(SINGLE)
            return {"platforms": [one]}
        if names:
            self.remarks.append(SPARSE)
        return {"platforms": names} if names else {}

    def _refuse_target(self, name: str, key: str, hint: str) -> None:
        if split_target(name)[1]:
            raise self._error(key, "names a tag or a digest", hint)

    def _error(self, key: str, message: str, hint: str) -> Exception:
        return self.tree.error(message, (*self.path, key), hint=hint)


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
