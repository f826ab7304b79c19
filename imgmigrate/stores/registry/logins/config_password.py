"""The `username` and `password` of the config. What the file says holds for the whole run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.stores.registry.logins.credentials import Credential

if TYPE_CHECKING:
    from imgmigrate.stores.registry.logins.base import Registry

__all__ = ["ConfigPassword"]


class ConfigPassword:
    """Finds what `registries` says for the longest key that matches (`base.Source`)."""

    def __init__(self, registry: Registry) -> None:
        self._settings, self._written_at = registry.settings, registry.written_at
        self._known: dict[tuple[str, str, str | None], Credential] = {}

    async def find(self, repo: str | None) -> Credential | None:
        """Take it from the entry; made once, since making one hides its secrets everywhere."""
        entry = self._settings(repo)
        if entry.username is None or entry.password is None:
            return None
        place = self._written_at(repo)
        key = (entry.username, entry.password, place)
        if key not in self._known:
            self._known[key] = Credential(
                "the config", entry.username, entry.password, place=place, mend="correct it there"
            )
        return self._known[key]

    def forget(self, repo: str | None) -> None:
        """There is nothing to look at again."""
