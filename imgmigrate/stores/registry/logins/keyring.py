"""Find a registry's credentials, in the order of DESIGN section 3, and find them anew.

The config (username and password, or a command), `DOCKER_AUTH_CONFIG`, docker's `config.json`,
podman's `auth.json`. Asked only once a registry wants some, so a broken helper disturbs nobody
who needs none.
"""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from imgmigrate.clock import LoopClock
from imgmigrate.errors import AuthenticationError
from imgmigrate.stores.registry.logins.credentials import Credential
from imgmigrate.stores.registry.logins.files import login_files
from imgmigrate.stores.registry.logins.helpers import Answer, ask_command, ask_helper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.stores.registry.logins.files import LoginFile

__all__ = ["Keyring"]

# Seconds before its end that a credential is replaced, at most half its life: a program may take
# a while, and what it gave before serves meanwhile.
RENEWED_BEFORE = 60.0
# Seconds that a program which failed is left alone, so that a thousand repositories do not each
# wait for it.
FAILURE_RESTS = 30.0


class Keyring:
    """The credentials for one registry; files are read, and programs asked, once a run.

    `settings` looks up the config for a repository, `login_key` is the registry's name in
    docker's files if that is not `host`, and a program may take `patience` seconds.
    """

    def __init__(
        self,
        host: str,
        settings: Callable[[str | None], RegistryConfig],
        *,
        login_key: str | None = None,
        patience: float = 60,
        clock: Clock | None = None,
    ) -> None:
        self._host, self._settings, self._patience = host, settings, patience
        self._login_key = login_key or host
        self._clock = clock or LoopClock()
        self._known: dict[tuple[str, str], Credential] = {}
        self._commands: dict[tuple[str, ...], _Program] = {}
        self._helpers: dict[str, _Program] = {}
        self._files: tuple[LoginFile, ...] | None = None
        self._renewing = asyncio.Lock()

    async def of(self, repo: str | None) -> Credential | None:
        """The credential for a repository; None means anonymous.

        ConfigError if a file cannot be read, AuthenticationError if a program fails.
        """
        entry = self._settings(repo)
        if entry.username is not None and entry.password is not None:
            key = (entry.username, entry.password)
            if key not in self._known:
                self._known[key] = Credential("the config", *key)
            return self._known[key]
        if entry.credential_command is not None:
            return await self._command(entry.credential_command).credential()
        return await self._from_files(repo)

    async def renew(self, repo: str | None, refused: Credential) -> Credential | None:
        """Look again where `refused` came from; None if it is still what is found there.

        However many ask because of one refusal, one of them looks.
        """
        async with self._renewing:
            found = await self.of(repo)
            if found == refused:
                self._forget(repo)
                found = await self.of(repo)
        return None if found == refused else found

    def _forget(self, repo: str | None) -> None:
        command = self._settings(repo).credential_command
        if command is not None:
            self._command(command).forget()
            return
        self._files = None
        for helper in self._helpers.values():
            helper.forget()

    async def _from_files(self, repo: str | None) -> Credential | None:
        if self._files is None:
            self._files = login_files()
        for file in self._files:
            helper = file.helper(self._host)
            found = await self._helper(helper).credential() if helper else None
            found = found or file.login(self._host, repo)
            if found is not None:
                return found
        return None

    def _command(self, command: tuple[str, ...]) -> _Program:
        if command not in self._commands:
            ask = partial(ask_command, self._host, command, self._patience)
            self._commands[command] = _Program(ask, self._clock)
        return self._commands[command]

    def _helper(self, helper: str) -> _Program:
        if helper not in self._helpers:
            ask = partial(ask_helper, self._host, self._login_key, helper, self._patience)
            self._helpers[helper] = _Program(ask, self._clock)
        return self._helpers[helper]


class _Program:
    """What a program answered: asked by one at a time, and again before that ends."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]], clock: Clock) -> None:
        self._ask, self._clock = ask, clock
        self._lock = asyncio.Lock()
        self._answer: Answer | None = None
        self._failure: AuthenticationError | None = None
        # When the answer ends, and when the program may or must be asked again.
        self._ends = self._next = -inf

    async def credential(self) -> Credential | None:
        """The credential that holds now; AuthenticationError if the program fails."""
        async with self._lock:
            now = self._clock.time()
            if now >= self._next:
                await self._renew(now)
            elif self._failure is not None:
                failed = self._failure
                raise AuthenticationError(failed.subject, failed.cause, hint=failed.hint)
            return self._answer.credential if self._answer is not None else None

    def forget(self) -> None:
        """Ask again when a credential is wanted next."""
        self._answer = None
        if self._failure is None:
            self._ends = self._next = -inf

    async def _renew(self, now: float) -> None:
        try:
            self._answer = await self._ask()
        except AuthenticationError as error:
            self._next = self._clock.time() + FAILURE_RESTS
            if self._answer is None or now >= self._ends:
                self._answer, self._failure = None, error
                raise
            self._next = min(self._next, self._ends)
            return
        self._failure = None
        life = self._answer.life or inf
        self._ends = now + life
        self._next = self._ends - min(RENEWED_BEFORE, life / 2)
