"""What the globs of rules match: listed once, and shared by the probes of both ends.

The probe of a source says whether it was let in there; who else wants to know what a glob of it
matches waits for that word, so that a wrong password is tried once and a dead registry asked by
one. The probe of a source waits for nobody before it has said so: no circle can form.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import ImgmigrateError
from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.probing.needs import settings_of
from imgmigrate.rules.templates import concrete_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.config.model import Config
    from imgmigrate.probing.needs import Needs
    from imgmigrate.stores.base import Stores

__all__ = ["Listings"]


class Listings:
    """Lists each glob once, where the registry lets us in."""

    def __init__(self, config: Config, stores: Stores, wanted: Iterable[Needs]) -> None:
        self._config, self._stores = config, stores
        self._words: dict[Repository, asyncio.Future[bool]] = {
            Repository(needs.host, glob): asyncio.get_running_loop().create_future()
            for needs in wanted
            for glob in needs.globs
        }
        self._locks: defaultdict[Repository, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._found: dict[Repository, list[str] | ImgmigrateError] = {}

    def tell(self, needs: Needs, *, is_let_in: bool) -> None:
        """Say whether the registry of these needs can be asked; only the first word counts."""
        for glob in needs.globs:
            word = self._words[Repository(needs.host, glob)]
            if not word.done():
                word.set_result(is_let_in)

    async def of(self, glob: Repository) -> list[str] | ImgmigrateError | None:
        """List what a glob matches; None where its registry could not be asked."""
        if glob in self._words and not await self._words[glob]:
            return None
        async with self._locks[glob]:
            if glob not in self._found:
                self._found[glob] = await self._list(glob)
        return self._found[glob]

    async def first(self, needs: Needs) -> str | None:
        """Find a destination that these needs' first rule with a glob fills; None if none is known.

        ConfigError if the rule makes no name of a repository that it matches.
        """
        rule = needs.filling
        if rule is None:
            return None
        found = await self.of(rule.rule.source)
        settings = settings_of(self._config, Repository(needs.host, needs.fills or ""))
        for path in found if isinstance(found, list) else ():
            source = Repository(rule.rule.source.store, path)
            if rule.excludes(Reference(source)):
                continue
            for each in concrete_rule(rule, source, str(self._config.base)).destinations:
                there = each.repository
                if there.store == needs.host and settings_of(self._config, there) == settings:
                    return there.path
        return None

    async def _list(self, glob: Repository) -> list[str] | ImgmigrateError:
        try:
            return await self._stores.of(glob).list_repositories(glob.path)
        except ImgmigrateError as error:
            return error
