"""The files in which docker and podman keep logins, `DOCKER_AUTH_CONFIG`, and their helpers.

All have docker's format; podman's keys may name a namespace of a registry. Source: docker's
`cli/config/configfile`, containers-auth.json(5); protocol 1.5.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import ConfigError
from imgmigrate.oci.reference import normalise_host
from imgmigrate.redaction import hide
from imgmigrate.stores.registry.logins.credentials import Credential
from imgmigrate.stores.registry.logins.helpers import ask_helper
from imgmigrate.stores.registry.logins.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.stores.registry.logins.base import Registry

__all__ = ["LoginFile", "LoginFiles", "login_files"]

VARIABLE = "DOCKER_AUTH_CONFIG"
# Where podman keeps logins if there is no XDG_RUNTIME_DIR; below it a folder for each user.
RUN_CONTAINERS = Path("/run/containers")
# The paths of registries' APIs that `docker login` once kept in its keys.
_API_PATHS = frozenset({"v1", "v2"})


@dataclass(frozen=True, slots=True)
class LoginFile:
    """One file (or variable): helpers by host, the store for all others, entries by place.

    A place is `host[:port]`, or `host[:port]/namespace`. `tool` is whose `login` writes it, none
    for a variable.
    """

    name: str
    helpers: dict[str, str] = field(default_factory=dict)
    store: str | None = None
    entries: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    tool: str | None = None

    def helper(self, host: str) -> str | None:
        """The suffix of the program that knows the logins of this host."""
        return self.helpers.get(host) or self.store

    def mend(self, place: str) -> str:
        """What to do about a login of it that is refused."""
        if self.tool is None:
            return "correct it there"
        return f"log in again with {self.tool} login {place}"

    def login(self, host: str, repo: str | None) -> Credential | None:
        """The login for a repository: of its longest namespace that has one, else the host's.

        ConfigError if the entry cannot be read.
        """
        segments = repo.split("/") if repo else []
        for count in range(len(segments), -1, -1):
            place = "/".join((host, *segments[:count]))
            found = self._read(place) if place in self.entries else None
            if found is not None:
                return found
        return None

    def _read(self, place: str) -> Credential | None:
        """Read one entry; an empty one only marks that a helper has it."""
        entry = self.entries[place]
        username, password = entry.get("username") or "", entry.get("password") or ""
        encoded = entry.get("auth")
        if encoded:
            try:
                text = b64decode(str(encoded), validate=True).decode()
            except ValueError:
                msg = "its auth is not base64 of user:password"
                hint = f"repair it with: docker login {place}"
                raise ConfigError(msg, file=self.name, key=f'auths."{place}"', hint=hint) from None
            hide(str(encoded))
            username, _, password = text.partition(":")
        credential = Credential(
            self.name,
            str(username),
            str(password).rstrip("\x00"),
            _text(entry, "identitytoken"),
            _text(entry, "registrytoken"),
            place=f"{self.name}, its entry for {place}",
            mend=self.mend(place),
        )
        has_any = credential.password or credential.identity_token or credential.registry_token
        return credential if has_any else None


class LoginFiles:
    """Looks into all of them, read once, the first that has a login (`base.Source`).

    In each its helper is asked before its own entries, as docker does.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._helpers: dict[str, Program] = {}
        self._files: tuple[LoginFile, ...] | None = None

    async def find(self, repo: str | None) -> Credential | None:
        """Find the login of the longest namespace that has one, else the host's."""
        if self._files is None:
            self._files = login_files()
        host = self._registry.host
        for file in self._files:
            helper = file.helper(host)
            found = await self._helper(helper, file).credential() if helper else None
            found = found or file.login(host, repo)
            if found is not None:
                return found
        return None

    def forget(self, repo: str | None) -> None:
        """Read them again: somebody may have logged in meanwhile."""
        self._files = None
        for helper in self._helpers.values():
            helper.forget()

    def _helper(self, helper: str, file: LoginFile) -> Program:
        registry = self._registry
        if helper not in self._helpers:
            ask = partial(ask_helper, registry.host, registry.login_key, helper, registry.patience)
            place = f"docker-credential-{helper}, which {file.name} names"
            mend = file.mend(registry.login_key)
            self._helpers[helper] = Program(ask, registry.clock, place, mend)
        return self._helpers[helper]


def login_files() -> tuple[LoginFile, ...]:
    """Read all that there are, the first to be asked first; ConfigError names a broken one."""
    return tuple(_files())


def _files() -> Iterator[LoginFile]:
    text = os.environ.get(VARIABLE)
    if text:
        yield _parse(text.encode(), VARIABLE, "it must hold what docker's config.json would")
    folder = os.environ.get("DOCKER_CONFIG")
    docker = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    yield _read_file(docker, "docker", "set DOCKER_CONFIG")
    for path in _podman_paths():
        yield _read_file(path, "podman", "set REGISTRY_AUTH_FILE")


def _podman_paths() -> tuple[Path, ...]:
    named = os.environ.get("REGISTRY_AUTH_FILE")
    if named:
        return (Path(named),)
    runtime, config = os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("XDG_CONFIG_HOME")
    return (
        Path(runtime, "containers/auth.json")
        if runtime
        else RUN_CONTAINERS / str(os.getuid()) / "auth.json",
        (Path(config) if config else Path.home() / ".config") / "containers/auth.json",
    )


def _read_file(path: Path, tool: str, instead: str) -> LoginFile:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return LoginFile(str(path), tool=tool)
    except OSError as error:
        msg = f"it cannot be read: {error.strerror}"
        raise ConfigError(msg, file=str(path), hint=f"make it readable, or {instead}") from None
    return _parse(data, str(path), f"repair it with {tool} login", tool)


def _parse(data: bytes, name: str, repair: str, tool: str | None = None) -> LoginFile:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ConfigError("it is not JSON", file=name, hint=repair) from None
    if not isinstance(document, dict):
        return LoginFile(name, tool=tool)
    helpers = {
        _place(key): value
        for key, value in _mapping(document, "credHelpers").items()
        if isinstance(value, str)
    }
    # Of several keys for one place the plain one counts, then the first: as for docker.
    entries: dict[str, dict[str, Any]] = {}
    for key, value in _mapping(document, "auths").items():
        place = _place(key)
        if isinstance(value, dict) and (key == place or place not in entries):
            entries[place] = value
    return LoginFile(name, helpers, _text(document, "credsStore"), entries, tool)


def _place(key: str) -> str:
    """Normalise a key: a URL of an older docker stands for its host as a whole."""
    scheme, separator, rest = key.partition("://")
    host, _, path = (rest if separator else scheme).rstrip("/").partition("/")
    host = normalise_host(host)
    return host if separator or not path or path in _API_PATHS else f"{host}/{path}"


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _text(entry: dict[str, Any], key: str) -> str | None:
    found = entry.get(key)
    return found if isinstance(found, str) and found else None
