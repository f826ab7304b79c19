"""Find a registry's credentials, in the order of DESIGN section 3, and find them anew.

To add a source, write a class that keeps the promises of `base.Source` and give it a row in
`SOURCES`. None is asked before a registry wants some, so a broken helper disturbs nobody who
needs none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from imgmigrate.clock import LoopClock
from imgmigrate.stores.registry.logins.base import Registry
from imgmigrate.stores.registry.logins.config_command import ConfigCommand
from imgmigrate.stores.registry.logins.config_password import ConfigPassword
from imgmigrate.stores.registry.logins.files import LoginFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.stores.registry.logins.base import Source
    from imgmigrate.stores.registry.logins.credentials import Credential

__all__ = ["SOURCES", "Keyring"]

# The first that has a login is believed; what is said for this tool alone comes first.
SOURCES: tuple[Callable[[Registry], Source], ...] = (ConfigPassword, ConfigCommand, LoginFiles)


class Keyring:
    """The credentials for one registry; files are read, and programs asked, once a run.

    `settings` looks up the config for a repository, `written_at` says where its login stands
    there, `login_key` is the registry's name in docker's files if that is not `host`, and a
    program may take `patience` seconds.
    """

    def __init__(
        self,
        host: str,
        settings: Callable[[str | None], RegistryConfig],
        *,
        login_key: str | None = None,
        patience: float = 60,
        clock: Clock | None = None,
        written_at: Callable[[str | None], str | None] = lambda _: None,
    ) -> None:
        registry = Registry(
            host, settings, login_key or host, patience, clock or LoopClock(), written_at
        )
        self._sources = [source(registry) for source in SOURCES]
        self._renewing = asyncio.Lock()

    async def of(self, repo: str | None) -> Credential | None:
        """The credential for a repository; None means anonymous.

        ConfigError if a file cannot be read, AuthenticationError if a program fails.
        """
        found, _ = await self._ask(repo)
        return found

    async def renew(self, repo: str | None, refused: Credential) -> Credential | None:
        """Look again where `refused` came from; None if it is still what is found there.

        However many ask because of one refusal, one of them looks.
        """
        # Who comes second finds another login than the refused one, and makes nobody forget it.
        async with self._renewing:
            found, source = await self._ask(repo)
            if found == refused and source is not None:
                source.forget(repo)
                found, _ = await self._ask(repo)
        return None if found == refused else found

    async def _ask(self, repo: str | None) -> tuple[Credential | None, Source | None]:
        """Ask one after the other until one has a credential, and say which that was."""
        for source in self._sources:
            found = await source.find(repo)
            if found is not None:
                return found, source
        return None, None
