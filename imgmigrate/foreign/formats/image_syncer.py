"""Read image-syncer's files: `auth` and `images`, in one file or in two.

Pure. What its version 1.5.5 does with each rule form is kept, its bugs are not: the longest
matching key of `auth` wins, `$` in a password stays, a key given twice and an unknown key are
errors, an unset variable in a destination is too. What has no value is empty, as up to 1.5.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.config.reading.schema import raise_all
from imgmigrate.config.reading.text import is_image_syncer
from imgmigrate.config.reading.tree import Mapping, Scalar, Sequence
from imgmigrate.errors import ConfigError, UsageError
from imgmigrate.foreign.document import Document, Entry, read_tree
from imgmigrate.foreign.reading.dollars import as_literal, as_template, is_bare_variable
from imgmigrate.foreign.reading.platforms import platforms_of
from imgmigrate.foreign.reading.values import BOOLEANS, refuse_unknown
from imgmigrate.matching import has_wildcard, split_target
from imgmigrate.oci.reference import normalise_host

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from imgmigrate.config.reading.tree import KeyPath, Node, Tree
    from imgmigrate.foreign.formats import Given

__all__ = ["OVERWRITE_NOTE", "Options", "read", "read_pair", "read_whole"]

OVERWRITE_NOTE = (
    "as image-syncer does, a destination tag that differs is replaced, whoever wrote it "
    "(overwrite: always)"
)
NOTHING = "it names no image: there is nothing to do"
UNFIT = (
    "image-syncer skips images that its --os and --arch do not fit; here they are error rows, "
    "unless the rule selects others"
)
BY_DIGEST = "it is copied by its digest; its tag is not looked at"
_AUTH_KEYS = ("username", "password", "insecure")
_DEFAULTS = (("registry", "DEFAULT_REGISTRY"), ("namespace", "DEFAULT_NAMESPACE"))


class Options(Struct, frozen=True):
    """What image-syncer has on its command line: where empty destinations go, which platforms."""

    registry: str | None = None
    namespace: str | None = None
    os: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()


def read(given: Given) -> Document:
    """Read one whole config, or rules and credentials, in whatever order they are named."""
    document = _read(given)
    if given.os or given.arch:
        document.remarks.append(UNFIT)
    return document


def _read(given: Given) -> Document:
    options = Options(
        registry=given.registry, namespace=given.namespace, os=given.os, arch=given.arch
    )
    trees = [read_tree(path) for path in dict.fromkeys(given.files)]
    if len(trees) == 1 and is_image_syncer(trees[0]):
        return read_whole(trees[0], options, given.environ)
    auth: list[Tree] = []
    images: list[Tree] = []
    for tree in trees:
        entries = tree.root.entries.values()
        # What has no value is a login that is not said, or an empty destination.
        valued = [each for each in entries if not (isinstance(each, Scalar) and each.is_null)]
        is_auth = bool(valued) and all(isinstance(each, Mapping) for each in valued)
        (auth if is_auth else images).append(tree)
    if len(images) != 1 or len(auth) > 1:
        message = "image-syncer has one config, or one file of rules and one of credentials"
        raise UsageError(message, hint="imgmigrate convert image-syncer auth.yaml images.yaml")
    return read_pair(images[0], auth[0] if auth else None, options, given.environ)


def read_whole(tree: Tree, options: Options, known: Container[str]) -> Document:
    """Read a file with `auth` and `images`; `known` are the variables that are set."""
    if not is_image_syncer(tree):
        hint = "rules and credentials in two files are `images` FILE `auth` FILE"
        message = "this is not image-syncer's config, which has auth and images as mappings"
        raise ConfigError(message, file=tree.file, hint=hint)
    refuse_unknown(tree, (), tree.root.entries, ("auth", "images"))
    if tree.node(("images",)) is None:
        hint = 'write "images": {"FROM": "TO"}'
        raise tree.error("is missing", ("images",), hint=hint)
    reader = _Reader(options, known, whole=True)
    return reader.read(tree, ("images",), tree, ("auth",))


def read_pair(images: Tree, auth: Tree | None, options: Options, known: Container[str]) -> Document:
    """Read rules and credentials from a file each."""
    for tree in (images, auth):
        if tree is not None and isinstance(tree.root.entries.get("images"), Mapping):
            hint = f"give it alone: `path` {tree.file}"
            raise tree.error("holds auth and images together", (), hint=hint)
    return _Reader(options, known, whole=False).read(images, (), auth, ())


class _Reader:
    """Translates one config."""

    def __init__(self, options: Options, known: Container[str], *, whole: bool) -> None:
        self.options, self.known, self.whole = options, known, whole

    def read(
        self, images: Tree, images_at: KeyPath, auth: Tree | None, auth_at: KeyPath
    ) -> Document:
        document = Document(images.file, registries_file=auth.file if auth else "")
        document.notes.append(OVERWRITE_NOTE)
        document.is_lenient = True
        errors: list[ConfigError] = []
        for read, tree, at, entries in (
            (self._images, images, images_at, document.images),
            (self._registries, auth, auth_at, document.registries),
        ):
            try:
                if tree is not None:
                    entries += read(tree, at)
            except ConfigError as error:
                errors.append(error)
        raise_all(errors)
        if not document.images:
            document.remarks.append(NOTHING)
        document.defaults = {"overwrite": "always"}
        platforms = platforms_of(self.options.os, self.options.arch)
        if platforms:
            document.defaults["platforms"] = platforms
        document.notes += document.warnings()
        return document

    def _images(self, tree: Tree, at: KeyPath) -> list[Entry]:
        images = tree.node(at)
        if isinstance(images, Scalar) and images.is_null:
            return []
        if not isinstance(images, Mapping):
            hint = 'write "FROM": "TO", or several destinations: "FROM": ["TO", "ALSO TO"]'
            raise tree.error("must be a mapping", at, hint=hint)
        entries, errors = [], []
        for source, node in images.entries.items():
            try:
                entries.append(self._image(tree, (*at, source), source, node))
            except ConfigError as error:
                errors.append(error)
        raise_all(errors)
        return entries

    def _image(self, tree: Tree, path: KeyPath, written: str, node: Node) -> Entry:
        line, remarks = tree.line(path), []
        if has_wildcard(written.partition(":/")[0]) or "{" in split_target(written)[0]:
            message = "image-syncer has neither wildcards nor placeholders"
            hint = "select tags by a regex, NAME:/.../, or write the rule in an imgmigrate.yaml"
            raise tree.error(message, path, hint=hint)
        source = _without_tag_of_digest(written)
        if source != written:
            remarks.append(BY_DIGEST)
        targets = _texts(tree, path, node)
        destinations = [self._destination(tree, path, source, each) for each in targets]
        settings: dict[str, Any] = {"destination": list(dict.fromkeys(destinations))}
        name, separator, target = split_target(source)
        if separator == ":" and target.startswith("/"):
            # A regex that matches none is no mistake to image-syncer.
            source, settings["tags"] = name, {"include": [target], "min": 0}
        return Entry(source, settings, path, line, tuple(remarks))

    def _destination(self, tree: Tree, path: KeyPath, source: str, text: str) -> str:
        if has_wildcard(text) or "{" in text.replace("${", ""):
            message = "a destination of image-syncer has neither wildcards nor placeholders"
            raise tree.error(message, path, hint="write the name out")
        if text == "":
            return self._default(tree, path, source)
        return as_template(_without_tag_of_digest(text))

    def _default(self, tree: Tree, path: KeyPath, source: str) -> str:
        """Where an empty destination goes: the same name in the default namespace."""
        parts = []
        for name, variable in _DEFAULTS:
            given: str | None = getattr(self.options, name)
            if given is None and variable not in self.known:
                message = f"its destination is empty, and there is no default {name}"
                hint = f"give `{name}`, set {variable}, or write the destination"
                raise tree.error(message, path, hint=hint)
            parts.append(as_literal(given.strip("/")) if given else f"${{{variable}}}")
        name = split_target(source)[0].rpartition("/")[2]
        return "/".join((*parts, name))

    def _registries(self, tree: Tree, at: KeyPath) -> list[Entry]:
        auth = tree.node(at)
        if auth is None or (isinstance(auth, Scalar) and auth.is_null):
            return []
        if not isinstance(auth, Mapping):
            hint = 'write "HOST": {"username": ..., "password": ...}'
            raise tree.error("must be a mapping", at, hint=hint)
        entries, errors = [], []
        insecure: dict[str, bool] = {}
        for key in auth.entries:
            try:
                entry, is_insecure = self._registry(tree, (*at, key), key)
                host = normalise_host(key.partition("/")[0])
                if insecure.setdefault(host, is_insecure) != is_insecure:
                    message = f"insecure is true for one part of {host} and not for another"
                    hint = "it is about the whole host: say the same at each of its keys"
                    raise tree.error(message, (*at, key), hint=hint)
                entries.append(entry)
            except ConfigError as error:
                errors.append(error)
        raise_all(errors)
        return list(_with_hosts(entries, insecure))

    def _registry(self, tree: Tree, path: KeyPath, key: str) -> tuple[Entry, bool]:
        node = tree.node(path)
        if isinstance(node, Scalar) and node.is_null:
            node = Mapping(node.line)
        if not isinstance(node, Mapping):
            hint = 'write {"username": ..., "password": ..., "insecure": true}'
            raise tree.error("must be a mapping", path, hint=hint)
        refuse_unknown(tree, path, node.entries, _AUTH_KEYS)
        values: dict[str, str] = {}
        for name, each in node.entries.items():
            if not isinstance(each, Scalar):
                raise tree.error("must be a text", (*path, name), hint="quote it")
            if not each.is_null:
                values[name] = each.value
        insecure = BOOLEANS.get(values.pop("insecure", "false").lower())
        if insecure is None:
            raise tree.error("must be true or false", (*path, "insecure"))
        if not any(values.values()):
            values.clear()  # as docker's own credentials are used then
        for name in ("username", "password"):
            if values and not values.get(name):
                message = f"has no {name}, so the other half of the login would not be used either"
                raise tree.error(message, path, hint="give username and password, or neither")
        remarks = [
            f"{name} looks like a variable, but {why}"
            for name, value in values.items()
            if is_bare_variable(value) and (why := self._why_literal(value))
        ]
        settings: dict[str, object] = {
            name: as_literal(value) if self.whole else as_template(value, self.known)
            for name, value in values.items()
        }
        return Entry(key, settings, path, tree.line(path), tuple(remarks)), insecure

    def _why_literal(self, value: str) -> str:
        """Why what looks like a variable is none; empty if it is one."""
        if self.whole:
            name = value.strip("${}")
            is_set = name in self.known
            return "a file with auth and images together has none (use `auth`)" if is_set else ""
        if value.startswith("${") or value[1:] in self.known:
            return ""
        return "is not set: it is sent as it stands"


def _with_hosts(entries: list[Entry], insecure: dict[str, bool]) -> Iterator[Entry]:
    """Say `insecure` once for each host, since a connection belongs to the whole host."""
    own = {normalise_host(entry.name) for entry in entries if "/" not in entry.name}
    said: set[str] = set()
    for entry in entries:
        host = normalise_host(entry.name.partition("/")[0])
        if insecure[host] and "/" not in entry.name:
            entry.settings["insecure"] = True
        elif insecure[host] and host not in own | said:
            said.add(host)
            yield Entry(host, {"insecure": True}, entry.path, entry.line)
        yield entry


def _texts(tree: Tree, path: KeyPath, node: Node) -> list[str]:
    """A destination, or a list of them."""
    if isinstance(node, Scalar):
        return [node.value]
    items = node.items if isinstance(node, Sequence) else []
    texts = [each.value for each in items if isinstance(each, Scalar)]
    if not texts or len(texts) != len(items):
        message = "must be a text or a list of texts"
        hint = "write one destination, or a list of them"
        if not isinstance(node, Scalar) and any(not isinstance(each, Scalar) for each in items):
            message = f"{message}: this is not a file of image-syncer's rules"
            hint = 'they are "FROM": "TO", or "FROM": ["TO", "ALSO TO"]'
        raise tree.error(message, path, hint=hint)
    return texts


def _without_tag_of_digest(text: str) -> str:
    """`repo:tag@digest` means the digest alone (AliyunContainerService/image-syncer#132)."""
    name, separator, target = split_target(text)
    if separator == "@":
        return f"{split_target(name)[0]}@{target}"
    if separator == ":" and not target.startswith("/") and "@" in target:
        return f"{name}@{target.partition('@')[2]}"
    return text
