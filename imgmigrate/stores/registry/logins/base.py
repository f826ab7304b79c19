"""What every source of logins promises, and what it is told of the registry that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.stores.registry.logins.credentials import Credential

__all__ = ["Registry", "Source"]


class Registry(Struct, frozen=True):
    """The registry that wants to know who we are.

    `settings` looks up the config for a repository, `written_at` says where its login stands
    there, `login_key` is the registry's name in docker's files and to its helpers, and a program
    may take `patience` seconds by the `clock`.
    """

    host: str
    settings: Callable[[str | None], RegistryConfig]
    login_key: str
    patience: float
    clock: Clock
    written_at: Callable[[str | None], str | None] = lambda _: None


class Source(Protocol):
    """Where logins may be found. It is asked only once the registry wants to know who we are.

    Many tasks may ask at once, and each repository for itself: what costs something is kept until
    it is to be forgotten, or ends.
    """

    async def find(self, repo: str | None) -> Credential | None:
        """The credential for a repository; None if there is none here, so the next is asked.

        It says where it stands and what to do if it is refused, for only its source knows.
        ConfigError or AuthenticationError if it is broken: then no other is asked in its place.
        """

    def forget(self, repo: str | None) -> None:
        """Look again when asked for this repository next: the registry refused what was found."""
