"""List the repositories of a registry, in whatever way it has: the one function is `find`.

The catalog is not in the specification: some registries have none, others only for
administrators. Which vendor's own list stands in for it is a row of the quirk table, or is
told by the service that a registry asks tokens for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import AccessDenied, AuthenticationError, NotFound, Rejected, StoreError
from imgmigrate.events import MOST_NAMED, NamesSkipped
from imgmigrate.matching import literal_segments, parse_pattern
from imgmigrate.oci.reference import Reference, Repository, is_repository_path
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.listing.pages import Listing, list_names
from imgmigrate.stores.registry.quirks import SERVICES
from imgmigrate.stores.registry.vendors import (
    alibaba,
    docker_hub,
    ecr,
    github,
    gitlab,
    google,
    harbor,
    quay,
)
from imgmigrate.stores.registry.vendors.api import challenge_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["Catalog"]

_HINT = (
    "name its repositories one by one, or use credentials that may list them; "
    "some registries list none to anybody"
)


class _Way(Struct, frozen=True):
    """How to list; `depth` literal segments of a glob make a difference to it, or all."""

    ask: Callable[[Remote, tuple[str, ...]], Awaitable[list[str]]]
    depth: int | None = None


class Catalog:
    """The lists of one registry; each is asked for once in a run."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._way: _Way | None = None
        self._lists: dict[tuple[str, ...], list[str]] = {}
        self._failed: StoreError | None = None
        self._lock = asyncio.Lock()

    async def find(self, glob: str) -> list[str]:
        """Every repository whose path the glob matches, sorted."""
        async with self._lock:
            names = await self._names(tuple(literal_segments(glob)))
        host = self._remote.host
        pattern = parse_pattern(f"{host}/{glob}")
        return sorted(
            name for name in names if pattern.matches_reference(Reference(Repository(host, name)))
        )

    async def _names(self, segments: tuple[str, ...]) -> list[str]:
        if self._failed is not None:
            raise self._failed
        try:
            self._way = self._way or await self._choose()
            segments = segments[: self._way.depth]
            if segments not in self._lists:
                names = await self._way.ask(self._remote, segments)
                self._lists[segments] = self._checked(names, segments)
            return self._lists[segments]
        except AuthenticationError as error:
            # A password that was refused is not tried again with the next glob.
            self._failed = _with_hint(error)
            raise self._failed from None
        except (AccessDenied, NotFound, Rejected) as error:
            raise _with_hint(error) from None

    def _checked(self, names: list[str], segments: tuple[str, ...]) -> list[str]:
        """Refuse an empty list; what is no name for the specification is told, and not used."""
        if not names:
            raise NotFound(f"{self._remote.host} (list of repositories)", "it is empty")
        good = [name for name in dict.fromkeys(names) if is_repository_path(name)]
        bad = sorted({*names} - {*good})
        if bad:
            whole = Repository(self._remote.host, "/".join((*segments, "**")))
            self._remote.emit(NamesSkipped(whole, tuple(bad[:MOST_NAMED]), len(bad)))
        return good

    async def _choose(self) -> _Way:
        kind, realm = self._remote.quirks.listing, ""
        if kind is None:
            service, realm = await challenge_of(self._remote)
            kind = SERVICES.get(service)
        ways = {
            "docker-hub": _Way(docker_hub.list_below, 1),
            "quay": _Way(quay.list_below, 1),
            "harbor": _Way(harbor.list_below, 1),
            "google": _Way(google.list_below),
            "github": _Way(github.list_below, 1),
            "ecr": _Way(ecr.list_below, 0),
            "ecr-public": _Way(ecr.refuse_public, 0),
            "alibaba": _Way(alibaba.list_below, 1),
            "gitlab": _Way(lambda remote, segments: gitlab.list_below(remote, segments, realm)),
            "acr": _Way(lambda remote, _: _list_all(remote, "/acr/v1/_catalog"), 0),
        }
        return ways.get(kind or "", _Way(lambda remote, _: _list_all(remote, "/v2/_catalog"), 0))


async def _list_all(remote: Remote, path: str) -> list[str]:
    """The whole catalog, page by page."""
    subject = f"{remote.host} (list of repositories)"
    access = Access(catalog=True)
    odd: list[str] = []  # what is no text; what is no name is told by whoever asked
    names = await list_names(
        remote,
        Listing(subject, path, access, "repositories", "catalog", lambda _: True, odd.append),
    )
    return [*names, *odd]


def _with_hint(error: StoreError) -> StoreError:
    hint = f"{error.hint}; {_HINT}" if error.hint else _HINT
    return error.remade(type(error), hint=hint)
