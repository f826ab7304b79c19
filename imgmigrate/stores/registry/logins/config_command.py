"""The `credential_command` of the config, which prints a login that may end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.stores.registry.logins.helpers import ask_command
from imgmigrate.stores.registry.logins.program import Program

if TYPE_CHECKING:
    from imgmigrate.stores.registry.logins.base import Registry
    from imgmigrate.stores.registry.logins.credentials import Credential

__all__ = ["ConfigCommand"]


class ConfigCommand:
    """Asks the command of the longest key that matches, each command once (`base.Source`).

    Where there is one it has the last word: if it fails nobody else is asked.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._programs: dict[tuple[str, ...], Program] = {}

    async def find(self, repo: str | None) -> Credential | None:
        """Run it, or give what it printed; AuthenticationError if it has no answer."""
        program = self._program(repo)
        return await program.credential() if program is not None else None

    def forget(self, repo: str | None) -> None:
        """Run it anew for whoever is next."""
        program = self._program(repo)
        if program is not None:
            program.forget()

    def _program(self, repo: str | None) -> Program | None:
        registry = self._registry
        command = registry.settings(repo).credential_command
        if command is None:
            return None
        if command not in self._programs:
            ask = partial(ask_command, registry.host, command, registry.patience)
            place = registry.written_at(repo)
            self._programs[command] = Program(ask, registry.clock, place, "see what it prints")
        return self._programs[command]
