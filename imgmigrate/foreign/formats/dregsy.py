"""Read a config of dregsy, as far as ours can say it. Pure.

The rules are those of its README, of `doc/design-image-matching.md` and of
`internal/pkg/sync/mapping.go`. A mapping that would copy more than it asks for is left out.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from imgmigrate.foreign.document import Document, Entry, Remark
from imgmigrate.foreign.formats.dregsy_tags import CannotSay, Tags
from imgmigrate.foreign.reading.dollars import as_literal, as_template, envsubst, has_variable
from imgmigrate.foreign.reading.repositories import globs_of, literal_of
from imgmigrate.foreign.reading.values import (
    boolean,
    mapping,
    mappings,
    merged,
    refuse_unknown,
    said,
    text,
    texts,
)
from imgmigrate.matching import compile_regex, has_wildcard
from imgmigrate.oci.reference import login_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.config.reading.tree import KeyPath, Tree
    from imgmigrate.foreign.formats import Given

__all__ = ["read", "read_dregsy"]

_TOP = ("relay", "skopeo", "docker", "dockerhost", "api-version", "lister", "watch", "tasks")
_TASK = ("name", "interval", "verbose", "source", "target", "mappings")
_END = ("registry", "auth", "auth-refresh", "skip-tls-verify", "lister")
_MAPPING = ("from", "to", "tags", "platform", "digests", "preserve-digests")
_REGEX = "regex:"
_ALL = "all"
ONE_PLATFORM = (
    "dregsy copies one platform of an image unless its platform is all; here every one is "
    "copied, unless platforms says which"
)
NO_LIMIT = (
    "dregsy lists 100 repositories at most unless lister.maxItems says otherwise; here all that "
    "a glob matches are taken"
)
ENVSUBST = envsubst("dregsy")
HALF = "give both username and password, or neither"
SPELLED_OUT = "dregsy skips what is not listed; here a name that its regex spells out must exist"
ONCE = "the regex of its to is applied to what stands before the first wildcard alone"


def read(given: Given) -> Document:
    """Read dregsy.yaml."""
    return read_dregsy(given.tree())


def read_dregsy(tree: Tree) -> Document:
    """Read a whole file; ConfigError where it is not dregsy's."""
    plain = merged(tree)
    document = Document(tree.file, defaults={"overwrite": "always"})
    if not isinstance(plain.get("tasks", ""), list | None):
        raise tree.error("is missing", ("tasks",), hint="this is not a config of dregsy")
    refuse_unknown(tree, (), plain, _TOP)
    relay = mapping(tree, ("skopeo",), plain.get("skopeo"))
    if "certs-dir" in relay:
        document.remarks.append(
            "skopeo.certs-dir has no equivalent here: name the files of each registry in its tls"
        )
    if said(plain.get("watch")):
        document.remarks.append("watch has no equivalent here: a config is read when it is planned")
    for path, task in mappings(tree, ("tasks",), plain.get("tasks")):
        _task(tree, path, task, document)
    return document


def _task(tree: Tree, path: KeyPath, task: dict[str, Any], document: Document) -> None:
    refuse_unknown(tree, path, task, _TASK)
    hosts = []
    for key in ("source", "target"):
        end = task.get(key)
        if not isinstance(end, dict) or not end.get("registry"):
            raise tree.error("names no registry", (*path, key), hint="write registry: HOST")
        hosts.append(_registry(tree, (*path, key), end, document))
    if said(task.get("interval")):
        reason = "interval has no equivalent here: run imgmigrate from cron or CI"
        document.remarks.append(Remark(tree.line((*path, "interval")), reason))
    for place, each in mappings(tree, (*path, "mappings"), task.get("mappings")):
        refuse_unknown(tree, place, each, _MAPPING)
        try:
            document.images += list(_mapping(tree, place, each, hosts, document))
        except CannotSay as error:
            reason = f"{error}; the mapping is left out"
            document.remarks.append(Remark(tree.line(place), reason, is_left=True))


def _registry(tree: Tree, path: KeyPath, end: dict[str, Any], document: Document) -> str:
    """Add a registry once, a second one with other credentials is told; give its name."""
    refuse_unknown(tree, path, end, _END)
    # An account before an @ is only for the login at ECR Public.
    written = text(tree, (*path, "registry"), end["registry"])
    name = login_host(as_template(written).rstrip("/").rpartition("@")[2])
    found: dict[str, Any] = {}
    remarks = [ENVSUBST] if has_variable(written) else []
    if said(end.get("auth-refresh")):
        remarks.append(
            "auth-refresh has no equivalent here: a credential_command is asked again in time, "
            "such as [aws, ecr, get-login-password]"
        )
    if end.get("lister"):
        remarks.append("lister has no equivalent here: a registry is listed in its own way")
    auth = text(tree, (*path, "auth"), end.get("auth")).strip()
    if auth.startswith("$"):
        remarks.append("auth comes from a variable: write username and password here")
    elif auth not in ("none", ""):
        found |= _credentials(tree, (*path, "auth"), auth)
        if len(found) == 1:
            remarks.append(HALF)
            found.clear()
    if boolean(tree, (*path, "skip-tls-verify"), end.get("skip-tls-verify")):
        # skopeo, which does the work for dregsy, also tries plain HTTP then.
        found["insecure"] = True
    first = next((each for each in document.registries if each.name == name), None)
    if first is None:
        if found or remarks:
            entry = Entry(name, found, path, tree.line(path), tuple(remarks))
            document.registries.append(entry)
    elif first.settings != found:
        reason = f"other credentials for {name} than before are left out"
        document.remarks.append(Remark(tree.line(path), reason))
    return name


def _credentials(tree: Tree, path: KeyPath, encoded: str) -> dict[str, str]:
    """What is said of a login; what is missing, null or empty is not."""
    try:
        found = json.loads(base64.b64decode(encoded, validate=True))
        values = {key: found.get(key) for key in ("username", "password")}
        return {key: as_literal(str(value)) for key, value in values.items() if value}
    except (ValueError, AttributeError):
        hint = 'it is base64 of {"username": ..., "password": ...}'
        raise tree.error("is not what dregsy reads", path, hint=hint) from None


def _mapping(
    tree: Tree, path: KeyPath, entry: dict[str, Any], hosts: list[str], document: Document
) -> Iterator[Entry]:
    if not entry.get("from"):
        raise tree.error("must be a mapping with from", path, hint="write from: REPOSITORY")
    platform = text(tree, (*path, "platform"), entry.get("platform"))
    if not platform and ONE_PLATFORM not in document.remarks:
        document.remarks.append(ONE_PLATFORM)
    try:
        tags = Tags.read(texts(tree, (*path, "tags"), entry.get("tags")))
    except ValueError as error:
        raise tree.error(str(error), (*path, "tags")) from None
    digests = texts(tree, (*path, "digests"), entry.get("digests")) + tags.digests
    is_all = not (digests or tags.pinned)
    selection, remarks = tags.selection() if is_all or tags.selects else None, tags.remarks()
    line, written = tree.line(path), text(tree, (*path, "from"), entry["from"])
    is_regex = written.startswith(_REGEX)
    names = "" if is_regex else written + text(tree, (*path, "to"), entry.get("to"))
    if tags.has_variable or has_variable(names):
        remarks.append(ENVSUBST)
    for name in _sources(written):
        if has_wildcard(name) and NO_LIMIT not in document.remarks:
            document.remarks.append(NO_LIMIT)
        target, told = _target(tree, path, entry, name, is_regex=is_regex)
        told += [SPELLED_OUT] if is_regex and not has_wildcard(name) else []
        settings: dict[str, Any] = {"destination": f"{hosts[1]}/{target.strip('/')}"}
        if platform not in ("", _ALL):
            settings["platforms"] = [platform]
        source = f"{hosts[0]}/{name}"
        for digest in digests:
            yield Entry(f"{source}@{digest}", settings, path, line)
        for tag, digest in tags.pinned:
            named = {**settings, "destination": f"{settings['destination']}:{tag}"}
            yield Entry(f"{source}@{digest}", named, path, line)
        if selection or is_all:
            chosen = {**settings, "tags": selection} if selection else settings
            yield Entry(source, chosen, path, line, (*remarks, *told))


def _sources(written: str) -> list[str]:
    """The names or globs that a `from` means."""
    if not written.startswith(_REGEX):
        if has_wildcard(written):
            msg = f"{written!r} has a wildcard, and dregsy has none but in a regex"
            raise CannotSay(msg)
        return [as_template(written).strip("/")]
    regex = written.removeprefix(_REGEX)
    if regex != regex.strip():
        msg = f"blanks are a part of the regex {regex!r}, so dregsy matches nothing by it"
        raise CannotSay(msg)
    found = globs_of(regex)
    if found is None:
        msg = f"repositories selected by the regex {regex!r} cannot be said by a glob"
        raise CannotSay(msg)
    return found


def _target(
    tree: Tree, path: KeyPath, entry: dict[str, Any], name: str, *, is_regex: bool
) -> tuple[str, list[str]]:
    """Where a name or a glob goes, and what is to be told of it."""
    to = text(tree, (*path, "to"), entry.get("to"))
    is_glob = has_wildcard(name)
    prefix = re.split(r"[*?]", name, maxsplit=1)[0]
    rest = "{match}" if is_glob else ""
    if to.startswith(_REGEX):
        return _replaced(tree, path, to.removeprefix(_REGEX), prefix, is_glob=is_glob)
    if is_regex:
        # A path in front of the names that a regex chose, the whole name of one that is named.
        return f"{to.strip('/')}/{prefix}{rest}", []
    return as_template(to) or name, []


def _replaced(
    tree: Tree, path: KeyPath, written: str, prefix: str, *, is_glob: bool
) -> tuple[str, list[str]]:
    """Replace by a regex, in the name as dregsy has it: with a slash in front."""
    regex, comma, replacement = written.partition(",")
    if not comma:
        hint = "write to: regex:WHAT,REPLACEMENT"
        raise tree.error("has no replacement", (*path, "to"), hint=hint)
    try:
        expression = compile_regex(f"/{regex}/")
    except ValueError as error:
        raise tree.error(str(error), (*path, "to")) from None
    if is_glob and literal_of(regex.removeprefix("^")) is None:
        msg = f"names that are changed by the regex {regex!r} cannot be said"
        raise CannotSay(msg)
    name = f"/{prefix}"
    if is_glob and not expression.search(name):
        msg = f"what the regex {regex!r} changes is not in every name"
        raise CannotSay(msg)
    changed = expression.sub(lambda found: _filled(found, replacement), name)
    return (changed + "{match}", [ONCE]) if is_glob else (changed, [])


def _filled(found: Any, replacement: str) -> str:
    """Fill in groups as Go does: `$1`, `${1}` and `${name}`; `$$` is a dollar."""

    def value(reference: re.Match[str]) -> str:
        if reference[0] == "$$":
            return "$"
        group = reference[1] or reference[2]
        try:
            return found.group(int(group) if group.isdigit() else group) or ""
        except (IndexError, KeyError):
            return ""

    return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", value, replacement)
