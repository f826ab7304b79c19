"""Find a registry's credentials: the config, then docker's `config.json` and its helpers.

Asked only once a registry wants some, so a broken helper disturbs nobody who needs none.
Every secret found is hidden from all messages. Source of the formats: docker's
`cli/config/configfile` and the docker-credential-helpers protocol.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import AuthenticationError, ConfigError, hide
from imgmigrate.oci.reference import normalise_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.config.model import RegistryConfig

__all__ = ["Credential", "Keyring"]

_HELPER = re.compile(r"[a-z0-9-]+")
# What docker's own helpers answer if they know nothing of a server.
_HELPER_HAS_NONE = ("credentials not found in native keychain", "no credentials server URL")
# A helper names an identity token by this user name.
_TOKEN_USER = "<token>"


@dataclass(frozen=True, slots=True)
class Credential:
    """What proves who we are. `found` says where it was, for messages.

    `identity_token` is exchanged for tokens; `registry_token` is one, ready made.
    """

    found: str
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for secret in (self.password, self.identity_token, self.registry_token):
            hide(secret)


class Keyring:
    """The credentials for one registry; docker's files and helpers are asked once a run.

    `settings` looks up the config for a repository, `login_key` is the registry's name in
    docker's files if that is not `host`, and a helper may take `patience` seconds.
    """

    def __init__(
        self,
        host: str,
        settings: Callable[[str | None], RegistryConfig],
        *,
        login_key: str | None = None,
        patience: float = 60,
    ) -> None:
        self._host, self._settings, self._patience = host, settings, patience
        self._login_key = login_key or host
        self._lock = asyncio.Lock()
        self._docker: tuple[Credential | None] | None = None

    async def of(self, repo: str | None) -> Credential | None:
        """The credential for a repository; None means anonymous.

        ConfigError if docker's file cannot be read, AuthenticationError if a helper fails.
        """
        entry = self._settings(repo)
        if entry.username is not None and entry.password is not None:
            return Credential("the config", entry.username, entry.password)
        async with self._lock:
            if self._docker is None:
                self._docker = (await self._from_docker(),)
            return self._docker[0]

    async def _from_docker(self) -> Credential | None:
        path = _docker_config()
        document = _read(path)
        helpers = _mapping(document, "credHelpers")
        helper = next((helpers[key] for key in helpers if self._is_meant(key)), None)
        if helper is None:
            helper = document.get("credsStore") or None
        if helper is not None:
            found = await self._ask(str(helper))
            if found is not None:
                return found
        auths = _mapping(document, "auths")
        entry = next((auths[key] for key in auths if self._is_meant(key)), None)
        return _entry(entry, path, self._host) if isinstance(entry, dict) else None

    def _is_meant(self, key: str) -> bool:
        """Match `host[:port]`, and the URLs of older files: the host as a whole, never a part."""
        host = re.sub(r"^https?://", "", key).partition("/")[0]
        return normalise_host(host) == self._host

    async def _ask(self, helper: str) -> Credential | None:
        program = f"docker-credential-{helper}"
        if not _HELPER.fullmatch(helper):
            raise self._helper_failed(program, "its name is not allowed")
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                "get",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise self._helper_failed(program, error.strerror or str(error)) from None
        try:
            async with asyncio.timeout(self._patience):
                output, complaint = await process.communicate(self._login_key.encode())
        except TimeoutError:
            raise self._helper_failed(program, f"no answer in {self._patience:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            text = (output or complaint).decode(errors="replace").strip()
            if any(known in text for known in _HELPER_HAS_NONE):
                return None
            raise self._helper_failed(program, text or f"exit code {process.returncode}")
        return self._answer(program, output)

    def _answer(self, program: str, output: bytes) -> Credential | None:
        try:
            document = json.loads(output)
            username, secret = str(document["Username"]), str(document["Secret"])
        except (ValueError, LookupError, TypeError):
            raise self._helper_failed(program, "its answer is not what helpers answer") from None
        if not secret:
            return None
        if username == _TOKEN_USER:
            return Credential(program, identity_token=secret)
        return Credential(program, username, secret)

    def _helper_failed(self, program: str, cause: str) -> AuthenticationError:
        hint = f'install or repair it, or set registries."{self._host}" in the config'
        return AuthenticationError(self._host, f"{program} failed: {cause}", hint=hint)


def _docker_config() -> Path:
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        msg = f"it cannot be read: {error.strerror}"
        raise ConfigError(
            msg, file=str(path), hint="make it readable, or set DOCKER_CONFIG"
        ) from None
    except ValueError:
        msg = "it is not JSON"
        raise ConfigError(msg, file=str(path), hint="repair it with docker login") from None
    return document if isinstance(document, dict) else {}


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _entry(entry: dict[str, Any], path: Path, host: str) -> Credential | None:
    """Read one of `auths`; an empty one only marks that a helper has it."""
    username, password = entry.get("username") or "", entry.get("password") or ""
    encoded = entry.get("auth")
    if encoded:
        try:
            text = b64decode(str(encoded), validate=True).decode()
        except ValueError:
            msg = "its auth is not base64 of user:password"
            hint = f"repair it with: docker login {host}"
            raise ConfigError(msg, file=str(path), key=f'auths."{host}"', hint=hint) from None
        hide(str(encoded))
        username, _, password = text.partition(":")
    credential = Credential(
        str(path),
        str(username),
        str(password).rstrip("\x00"),
        _token(entry, "identitytoken"),
        _token(entry, "registrytoken"),
    )
    has_any = credential.password or credential.identity_token or credential.registry_token
    return credential if has_any else None


def _token(entry: dict[str, Any], key: str) -> str | None:
    found = entry.get(key)
    return found if isinstance(found, str) and found else None
