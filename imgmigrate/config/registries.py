"""Find a registry's settings, and resolve their variables when they are first used.

Variables in the name of a registry are resolved at once: it decides what the settings are for.
Reads the environment it was given and looks whether TLS files exist; nothing else. Passwords
are hidden from every message as soon as they are known.
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from imgmigrate.config.model import RegistryConfig, Tls
from imgmigrate.config.reading.schema import validate
from imgmigrate.config.reading.variables import Environment, check, expand, has_variable, names
from imgmigrate.config.values.paths import resolve_path
from imgmigrate.oci.reference import has_https_port, login_host, normalise_host, parse_endpoint
from imgmigrate.redaction import hide

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imgmigrate.config.reading.tree import KeyPath, Tree

__all__ = ["Registries"]

# What holds for all requests to a host cannot differ between its repositories.
_WHOLE = ("rate_limit", "bandwidth", "proxy", "insecure")
# What may leave HTTPS for a port that is not its own.
_CLEAR = ("plain_http", "insecure")
_TLS_FILES = ("ca_file", "client_cert", "client_key")


class Registries:
    """The entries of `registries`, each resolved once."""

    def __init__(self, tree: Tree, environ: Mapping[str, str], base: Path) -> None:
        self._tree, self._environ, self._base = tree, Environment.of(environ), base
        self._keys: dict[tuple[str, str], str] = {}
        self._resolved: dict[str, RegistryConfig] = {}
        self._login_places: dict[str, str | None] = {}
        for key in tree.plain(("registries",)) or {}:
            self._add(key)

    @property
    def hosts(self) -> frozenset[str]:
        """Every host[:port] that has an entry."""
        return frozenset(host for host, _ in self._keys)

    def find(self, host: str, repo: str | None = None) -> RegistryConfig:
        """The entry whose key is the longest match on segment borders, or the defaults."""
        key = self._key(host, repo)
        if key is None:
            return RegistryConfig()
        if key not in self._resolved:
            with self._environ.unshown():
                self._resolved[key] = self._resolve(key)
        return self._resolved[key]

    def login_place(self, host: str, repo: str | None = None) -> str | None:
        """Say where the login for a repository is written, and of which variables it is made.

        None if no entry has one. No value of a variable is in it.
        """
        key = self._key(host, repo)
        if key is None:
            return None
        if key not in self._login_places:
            self._login_places[key] = self._login_place(("registries", key))
        return self._login_places[key]

    def covers(self, host: str, repo: str) -> bool:
        """Tell whether an entry is about a repository, or a glob below its path."""
        return self._key(host, repo) is not None

    def written(self, host: str, below: str) -> Any:
        """What the entry of exactly this place says, as written; None if there is none."""
        key = self._keys.get((normalise_host(host), below))
        return None if key is None else self._tree.plain(("registries", key))

    def places(self) -> Iterator[tuple[KeyPath, str, str]]:
        """Every entry: where it stands, its host and the path below that."""
        for (host, below), key in self._keys.items():
            yield ("registries", key), host, below

    def _key(self, host: str, repo: str | None) -> str | None:
        host, segments = normalise_host(host), (repo or "").split("/")
        for count in range(len(segments), -1, -1):
            key = self._keys.get((host, "/".join(segments[:count])))
            if key is not None:
                return key
        return None

    def _add(self, key: str) -> None:
        """Check all that can be checked without the environment."""
        path: KeyPath = ("registries", key)
        written = self._expanded(key, path)
        name = self._name(login_host(written), path)
        if name in self._keys:
            first = self._tree.line(("registries", self._keys[name]))
            message = f"names the same registry as line {first}"
            raise self._tree.error(message, path, hint="merge the two, or remove one")
        self._keys[name] = key
        entry = self._tree.plain(path, self._checked)
        for each in _WHOLE:
            if name[1] and each in entry:
                hint = f'write it under "{name[0]}"'
                raise self._tree.error("is a registry's, not a path's", (*path, each), hint=hint)
        if ("username" in entry) != ("password" in entry):
            message = "username and password belong together"
            hint = "give both, or neither: docker's own credentials are used then"
            raise self._tree.error(message, path, hint=hint)
        if "credential_command" in entry and "username" in entry:
            message = "credential_command stands instead of username and password"
            raise self._tree.error(message, path, hint="keep one of them")
        clear = next((each for each in _CLEAR if entry.get(each, "false") != "false"), None)
        if clear is not None and has_https_port(written.partition("/")[0]):
            message = f"port 443 is that of HTTPS, which goes without saying, and {clear} is not"
            hint = f'write "{name[0]}" for port 80, or give the registry another port'
            raise self._tree.error(message, path, hint=hint)
        password = entry.get("password")
        if isinstance(password, str) and not has_variable(password):
            hide(expand(password, {}))
        known = _known_now(entry)
        _hide_proxy(known.get("proxy"))
        validate(RegistryConfig, known, self._tree, path)

    def _name(self, key: str, path: KeyPath) -> tuple[str, str]:
        host, _, below = key.partition("/")
        try:
            found = parse_endpoint(f"{key}/x").repository
        except ValueError:
            found = None
        if found is None or found.store != normalise_host(host):
            hint = "write host[:port] or host[:port]/path, without a scheme, a tag or a wildcard"
            raise self._tree.error("is not a registry's name", path, hint=hint)
        return found.store, below

    def _checked(self, text: str, path: KeyPath) -> str:
        try:
            check(text)
        except ValueError as error:
            raise self._tree.error(str(error), path) from None
        return text

    def _expanded(self, text: str, path: KeyPath) -> str:
        try:
            return expand(text, self._environ)
        except ValueError as error:
            hint = "set it, or give it a default: ${NAME:-default}"
            raise self._tree.error(str(error), path, hint=hint) from None

    def _resolve(self, key: str) -> RegistryConfig:
        path: KeyPath = ("registries", key)
        entry = self._tree.plain(path, self._expanded)
        hide(entry.get("password"))
        _hide_proxy(entry.get("proxy"))
        if not entry.get("username") and not entry.get("password"):
            entry.pop("username", None)
            entry.pop("password", None)
        for each in ("username", "password"):
            if each in entry and not entry[each]:
                raise self._tree.error("is empty", (*path, each), hint="give both or neither")
        found = validate(RegistryConfig, entry, self._tree, path)
        update = {
            "tls": self._tls(found.tls, (*path, "tls")),
            "credential_command": self._command(found.credential_command, path),
        }
        return found.model_copy(update=update)

    def _login_place(self, path: KeyPath) -> str | None:
        entry = self._tree.plain(path)
        given = next((each for each in ("password", "credential_command") if entry.get(each)), None)
        if given is None:
            return None
        place = self._tree.error("is refused", (*path, given)).subject
        texts = (entry.get(each) for each in ("username", "password"))
        made_of = dict.fromkeys(names(filter(None, texts)))
        what = "variable" if len(made_of) == 1 else "variables"
        return f"{place}, from the {what} {', '.join(made_of)}" if made_of else place

    def _command(self, command: tuple[str, ...] | None, path: KeyPath) -> tuple[str, ...] | None:
        """A program named by a path is relative to the config, any other is looked up in PATH."""
        if command is None or "/" not in command[0]:
            return command
        try:
            program = resolve_path(command[0], self._base)
        except ValueError as error:
            raise self._tree.error(str(error), (*path, "credential_command", 0)) from None
        return (str(program), *command[1:])

    def _tls(self, tls: Tls, path: KeyPath) -> Tls:
        update: dict[str, Path] = {}
        for key in _TLS_FILES:
            given: Path | None = getattr(tls, key)
            if given is None:
                continue
            try:
                update[key] = resolve_path(str(given), self._base)
            except ValueError as error:
                raise self._tree.error(str(error), (*path, key)) from None
            if not os.path.isfile(update[key]):
                hint = "the path is relative to the config's folder"
                raise self._tree.error(f"there is no file {update[key]}", (*path, key), hint=hint)
        return tls.model_copy(update=update)


def _hide_proxy(url: object) -> None:
    """Hide the password in a proxy's URL, as it stands there and as it is meant."""
    userinfo = str(url or "").partition("://")[2].rpartition("@")[0]
    password = userinfo.partition(":")[2]
    hide(password)
    hide(unquote(password))


def _known_now(entry: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only the environment knows."""
    known: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            known[key] = _known_now(value)
        elif not isinstance(value, str):
            known[key] = value
        elif not has_variable(value):
            known[key] = expand(value, {})
    if ("username" in known) != ("password" in known):
        known.pop("username", None)
        known.pop("password", None)
    if "client_key" in known and "client_cert" in entry:
        known.pop("client_key")
    return known
