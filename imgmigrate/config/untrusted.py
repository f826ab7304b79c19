"""What a config that a stranger wrote may not ask for.

A config runs programs, reads files, sends credentials and names who gets them, so whoever edits
one owns the job that reads it. Of a stranger's only what the trusted file allows is left. All
refusals are found before anything is read or expanded, and told at once; what can be told of a
place only when it is reached (a placeholder, a folder that a wildcard found) is refused then.
"""

from __future__ import annotations

import os.path
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgmigrate.config.known import known_path
from imgmigrate.config.reading.schema import raise_all
from imgmigrate.config.reading.tree import Mapping, Scalar, Sequence
from imgmigrate.config.reading.variables import expand, names
from imgmigrate.config.registries import Registries
from imgmigrate.config.values.paths import resolve_path
from imgmigrate.errors import ConfigError
from imgmigrate.matching import has_wildcard, split_target
from imgmigrate.oci.reference import DOCKER_HUB, LAYOUTS, normalise_host, parse_endpoint
from imgmigrate.rules.templates import has_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.config.model import Config
    from imgmigrate.config.reading.tree import KeyPath, Node, Tree
    from imgmigrate.config.reading.variables import Environment
    from imgmigrate.config.trusted import Trusted
    from imgmigrate.oci.reference import Repository

__all__ = ["Bounds", "check_place", "refuse_link"]

# More would be no list any more.
MOST_REFUSALS = 1000
_HINT = "a stranger's config may use what the trusted file names"
# How fast the work goes is nobody's secret; the trusted file's settings hold all the same.
_HARMLESS = frozenset({"concurrency", "rate_limit", "bandwidth"})
# What says that nothing out of the ordinary is wanted.
_SAFE = {"plain_http": "false", "insecure": "false", "tls.verify": "true"}
_WHY = {
    "credential_command": "it runs a program",
    "username": "it chooses who we are there",
    "password": "it chooses what is sent there as a password",
    "plain_http": "it sends credentials in the clear",
    "insecure": "it takes anybody for the registry",
    "proxy": "it leads all that is sent through a host of its choice",
    "tls.verify": "it takes anybody for the registry",
    "tls.ca_file": "it reads a file, and chooses who is taken for the registry",
    "tls.client_cert": "it reads a file, and shows a certificate",
    "tls.client_key": "it reads a file",
}


class Bounds:
    """What the trusted file allows one config; collects what that config asks for beyond."""

    def __init__(self, trusted: Trusted, environ: Environment, path: Path) -> None:
        self.trusted, self._environ, self._path = trusted, environ, path
        self._base = Path(os.path.realpath(os.path.dirname(path)))
        self._found: list[ConfigError] = []
        self._refuse_elsewhere()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raise one ConfigError for all refusals, rather than what else is wrong."""
        try:
            yield
        except ConfigError:
            raise_all(self._found, most=MOST_REFUSALS)
            raise
        raise_all(self._found, most=MOST_REFUSALS)

    def may_expand(self, text: str) -> bool:
        """Tell whether all variables of a text are allowed; one that is malformed is no matter."""
        return self.trusted.variables.issuperset(names([text]))

    def may_include(self, pattern: str) -> bool:
        """Tell whether a pattern is one of the trusted file's."""
        return pattern in self.trusted.include

    def may_read(self, path: Path) -> bool:
        """Tell whether a file lies in the config's folder, wherever links lead."""
        return _is_within(path, self._base)

    def inspect_main(self, tree: Tree) -> None:
        """Look through the main file."""
        self.inspect(tree)
        for where in (("state", "path"), ("state", "backend")):
            place = tree.node(where)
            if isinstance(place, Scalar) and place.value != self.trusted.place:
                self._refuse(tree, where, "where a state is, only the trusted file says")
        self._inspect_registries(tree)
        self._inspect_keys(tree)

    def inspect(self, tree: Tree) -> None:
        """Look through a file, the main one or an included one."""
        for key, node in tree.root.entries.items():
            if key != "registries":
                self._inspect_variables(tree, (key,), node)
        for path, text in _texts(tree, ("include",)):
            if not self.may_include(text):
                self._refuse(tree, path, "it reads other files, and the trusted file names none so")
        images = tree.node(("images",))
        for number in range(len(images.items) if isinstance(images, Sequence) else 0):
            for key in ("source", "destination"):
                for path, text in _texts(tree, ("images", number, key)):
                    self._inspect_place(tree, path, text)

    def _inspect_variables(self, tree: Tree, path: KeyPath, node: Node) -> None:
        if isinstance(node, Scalar):
            for name in dict.fromkeys(names([node.value])):
                if name not in self.trusted.variables:
                    message = f"${{{name}}} is not a variable that the trusted file names"
                    self._refuse(tree, path, message)
        elif isinstance(node, Sequence):
            for number, each in enumerate(node.items):
                self._inspect_variables(tree, (*path, number), each)
        else:
            for key, each in node.entries.items():
                self._inspect_variables(tree, (*path, key), each)

    def _inspect_registries(self, tree: Tree) -> None:
        if not isinstance(tree.node(("registries",)), Mapping):
            return
        # Its names may have the variables that its values may.
        known = {name: self._environ[name] for name in self.trusted.variables & {*self._environ}}
        entries = Registries(tree, known, self._base)
        for path, host, below in entries.places():
            if not self.trusted.registries.covers(host, below):
                self._refuse(tree, path, "the trusted file does not name this registry")
            trusted = _flat(self.trusted.registries.written(host, below) or {})
            for setting, value in _flat(tree.plain(path)).items():
                where = (*path, *setting.split("."))
                if setting in _HARMLESS:
                    self._inspect_variables(tree, where, tree.node(where) or Scalar("", 0))
                elif value not in (trusted.get(setting), _SAFE.get(setting)):
                    why = _WHY.get(setting, "it is a setting of the registry")
                    self._refuse(tree, where, f"{why}; only the trusted file may say that")

    def _inspect_keys(self, tree: Tree) -> None:
        """Refuse keys elsewhere: an error would tell what files there are, and begin with."""
        entries = tree.node(("verify",))
        for number in range(len(entries.items) if isinstance(entries, Sequence) else 0):
            keys, roots = (("verify", number, key) for key in ("key", "trusted_root"))
            for path, text in (*_texts(tree, keys), *_texts(tree, roots)):
                if not self.may_expand(text):
                    continue  # which is refused already
                try:
                    where = resolve_path(expand(text, self._environ), self._base)
                except ValueError:
                    continue  # which is told where it is read
                if not self.may_read(where):
                    self._refuse(tree, path, "it reads a file outside the config's folder")

    def _inspect_place(self, tree: Tree, path: KeyPath, text: str) -> None:
        """Refuse a source or a destination that is not trusted, as far as its text tells."""
        if not self.may_expand(text):
            return  # which is refused already
        try:
            name = split_target(expand(text, self._environ))[0]
        except ValueError:
            return  # which is told where it is read
        if name.startswith(LAYOUTS):
            if not _is_within(self._base / _fixed(name.removeprefix(LAYOUTS)), self._base):
                self._refuse(tree, path, "this layout lies outside the config's folder")
            return
        host, below = _place(name)
        if has_wildcard(host) or has_placeholder(host):
            self._refuse(tree, path, "its registry has to be named, to be a trusted one")
        elif not self.trusted.registries.covers(host, below):
            self._refuse(tree, path, f"the trusted file does not name the registry {host}")

    def _refuse_elsewhere(self) -> None:
        """Refuse links in the place of the config, and of what is read beside it."""
        is_near = not self._path.is_absolute() and ".." not in self._path.parts
        folder = Path.cwd() if is_near else self._base
        for path in (self._path, known_path(self._path)):
            if not _is_within(path, folder) or not self.may_read(path):
                raise _leads_out(path)

    def _refuse(self, tree: Tree, path: KeyPath, message: str) -> None:
        self._found.append(tree.error(message, path))


def check_place(config: Config, repository: Repository) -> None:
    """Refuse a place that the config of a stranger may not lead to; ConfigError says why."""
    if not config.is_untrusted:
        return
    if repository.is_layout:
        if not _is_within(config.base / repository.path, config.base):
            message = f"{repository}: this layout lies outside the config's folder"
            raise ConfigError(message, hint=_HINT)
    elif not config.registries.covers(repository.store, repository.path):
        message = f"{repository}: the trusted file does not name this registry"
        raise ConfigError(message, hint=_HINT)


def refuse_link(path: Path) -> None:
    """Refuse a file beside a stranger's config that is a link to elsewhere."""
    if not _is_within(path, path.parent):
        raise _leads_out(path)


def _leads_out(path: Path) -> ConfigError:
    message = "it is a link that leads out of its folder, and a stranger made it"
    return ConfigError(message, file=str(path), hint="put the file itself there")


def _is_within(path: Path, folder: Path) -> bool:
    """Tell whether a path, all links followed, stays in a folder; what is not there is no link."""
    real = os.path.realpath(folder)
    return os.path.commonpath([real, os.path.realpath(path)]) == real


def _fixed(path: str) -> str:
    """The part of a layout's path that no wildcard or placeholder fills in.

    Behind one no step may go up again: a path with such a step leads out at once.
    """
    parts = path.split("/")
    for number, part in enumerate(parts):
        if has_wildcard(part) or has_placeholder(part):
            fixed = "/".join(parts[:number])
            return ".." if ".." in parts[number:] else fixed or path[: path.startswith("/")]
    return path


def _place(name: str) -> tuple[str, str]:
    """Split a name that may be a glob or a template into its host and the path there."""
    try:
        found = parse_endpoint(name).repository
    except ValueError:
        first, slash, below = name.partition("/")
        is_host = slash and ("." in first or ":" in first or first == "localhost")
        return (normalise_host(first), below) if is_host else (_hub(first), name)
    return found.store, found.path


def _hub(first: str) -> str:
    """Docker Hub, whose names have no host; unless what stands there may become one."""
    return first if has_wildcard(first) or has_placeholder(first) else DOCKER_HUB


def _texts(tree: Tree, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Every text at a path, which may hold one or a list of them."""
    node = tree.node(path)
    if isinstance(node, Scalar):
        yield path, node.value
    elif isinstance(node, Sequence):
        for number, each in enumerate(node.items):
            if isinstance(each, Scalar):
                yield (*path, number), each.value


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    """The settings of an entry by their names; those of a mapping each by its own."""
    found: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            found |= {f"{key}.{name}": each for name, each in value.items()}
        else:
            found[key] = value
    return found
