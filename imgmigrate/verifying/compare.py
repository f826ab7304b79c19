"""Compare two places image by image: which tags both have, and whether they show the same.

Each side is a repository, a layout, one image, or a glob of repositories; of two globs the paths
behind what is literal in them pair repositories up. Tags are listed once, and looked at only where
both sides have them. No state and no rule is asked, and nothing is changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import NotFound, StoreError, UsageError, on_side
from imgmigrate.matching import (
    has_wildcard,
    literal_segments,
    parse_pattern,
    parse_tag_pattern,
    split_target,
)
from imgmigrate.observing.referrers import find_referrers
from imgmigrate.oci.companions import subject_of_tag
from imgmigrate.oci.manifest import INDEXES, same_images
from imgmigrate.oci.reference import LAYOUTS, Reference, Repository, parse_endpoint
from imgmigrate.rules.referrers import EVERY, ReferrerPolicy
from imgmigrate.stores.place import Place, read_manifest
from imgmigrate.verifying.walk import each
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.errors import Side
    from imgmigrate.events import Sink
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.stores.base import Stores
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.workspace import Workspace

__all__ = ["CompareOptions", "Compared", "Comparison", "End", "Likeness", "compare", "parse_ends"]

_EVERY_REFERRER = ReferrerPolicy(include=(EVERY,))


class Likeness(StrEnum):
    """How the two sides of a name compare."""

    EQUAL = "equal"
    DIFFERS = "differs"
    ONLY_HERE = "only_here"
    ONLY_THERE = "only_there"
    UNREAD = "unread"


class CompareOptions(Struct, frozen=True):
    """How to compare: with `referrers` also what refers to images that are equal."""

    referrers: bool = False
    parallelism: int = 32
    on_rate_limit: OnRateLimit = "wait"


class End(Struct, frozen=True):
    """One side: the glob or path of its repositories in a store, and which of their tags."""

    store: str
    path: str
    tags: Pattern | None = None

    @property
    def is_glob(self) -> bool:
        """Tell whether it may be of several repositories."""
        return has_wildcard(self.path)


class Compared(Struct, frozen=True):
    """One name and what was found of it on both sides.

    `same_images`: both are indexes of the same images, in other bytes. Of what refers to equal
    images, `refer_here` and `refer_there` are what only one side has.
    """

    here: Reference
    there: Reference
    likeness: Likeness
    digests: tuple[Digest | None, Digest | None] = (None, None)
    same_images: bool = False
    refer_here: tuple[Referrer, ...] = ()
    refer_there: tuple[Referrer, ...] = ()
    error: StoreError | None = None


class Comparison(Struct, frozen=True):
    """All that was compared, by name, and how many requests it took."""

    found: tuple[Compared, ...]
    requests: int = 0

    def of(self, likeness: Likeness) -> list[Compared]:
        """Those that compare so."""
        return [one for one in self.found if one.likeness is likeness]


def parse_ends(here: str, there: str) -> tuple[End, End]:
    """Read both sides; one that names no tags has the other's. UsageError if it cannot be meant."""
    ends = (_parse(here), _parse(there))
    if ends[0].is_glob != ends[1].is_glob:
        message = f"one of {here} and {there} is a glob of repositories, the other is not"
        raise UsageError(message, hint="repositories pair up by what stands behind both globs")
    first, second = (
        End(end.store, end.path, end.tags or other.tags) for end, other in (ends, ends[::-1])
    )
    return first, second


def _parse(text: str) -> End:
    name, separator, target = split_target(text)
    if separator == "@":
        raise UsageError(
            f"{text}: a digest shows only itself; name a tag, or no more than the path"
        )
    try:
        tags = parse_tag_pattern(target) if separator else None
        if not has_wildcard(name):
            repository = parse_endpoint(name).repository
            return End(repository.store, repository.path, tags)
        parse_pattern(name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if name.startswith(LAYOUTS):
        return End(LAYOUTS, name.removeprefix(LAYOUTS), tags)
    host, _, path = name.partition("/")
    if has_wildcard(host) or not path:
        raise UsageError(f"{text}: name one registry, such as registry.new/team/**")
    return End(host, path, tags)


async def compare(
    config: Config | Workspace,
    here: End,
    there: End,
    options: CompareOptions | None = None,
    *,
    sink: Sink | None = None,
) -> Comparison:
    """Compare two sides; StoreError if the repositories of one cannot be listed at all."""
    options = options or CompareOptions()
    workspace = open_workspace(config, sink=sink, on_rate_limit=options.on_rate_limit)
    async with workspace.stores() as stores:
        comparer = _Comparer(stores, workspace.cache, options)
        found = await comparer.compare(here, there)
        return Comparison(tuple(found), stores.requests())


@dataclass(slots=True)
class _Comparer:
    stores: Stores
    cache: ManifestCache
    options: CompareOptions
    _slots: asyncio.Semaphore = field(init=False)
    _tags: dict[Repository, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.options.parallelism)

    async def compare(self, here: End, there: End) -> list[Compared]:
        """Pair repositories up, then their tags, then look at what both have."""
        ours = await self._repositories(here, "source")
        theirs = await self._repositories(there, "destination")
        jobs = [
            partial(self._pair, here, there, ours.get(name), theirs.get(name), name)
            for name in sorted(ours.keys() | theirs.keys())
        ]
        # Few at once: each asks for all of its tags at once, within the slots.
        found = await each(jobs, self.options.parallelism)
        return [one for part in found for one in part]

    async def _repositories(self, end: End, side: Side) -> dict[str, Repository]:
        """The repositories of a side by what tells them apart in it."""
        named = Repository(end.store, end.path)
        if not end.is_glob:
            return {"": named}
        prefix = len("".join(f"{part}/" for part in literal_segments(end.path)))
        with on_side(side):
            paths = await self.stores.source_of(named).list_repositories(end.path)
        return {path[prefix:]: Repository(end.store, path) for path in paths}

    async def _pair(
        self, here: End, there: End, ours: Repository | None, theirs: Repository | None, name: str
    ) -> list[Compared]:
        first = ours or Repository(here.store, _path(here, name))
        second = theirs or Repository(there.store, _path(there, name))
        if here.tags and there.tags and here.tags.is_exact and there.tags.is_exact:
            return [await self._look(first.at(here.tags.text), second.at(there.tags.text))]
        try:
            tags = await self._listed(first, here.tags, "source") if ours else []
            others = await self._listed(second, there.tags, "destination") if theirs else []
        except StoreError as error:
            pair = Reference(first), Reference(second)
            return [Compared(*pair, Likeness.UNREAD, error=error)]
        jobs = []
        for tag in sorted({*tags, *others}):
            pair = first.at(tag), second.at(tag)
            if tag in tags and tag in others:
                jobs.append(partial(self._look, *pair))
            else:
                likeness = Likeness.ONLY_HERE if tag in tags else Likeness.ONLY_THERE
                jobs.append(partial(_known, Compared(*pair, likeness)))
        return await each(jobs, self.options.parallelism)

    async def _listed(self, repository: Repository, tags: Pattern | None, side: Side) -> list[str]:
        """The tags to compare; a list of referrers is no image, and may be in other bytes."""
        place = self._place(repository)
        try:
            async with self._slots:
                with on_side(side):
                    found = await place.store.list_tags(place.repo)
        except NotFound:
            found = []
        self._tags[repository] = frozenset(found)
        return [
            tag
            for tag in found
            if (tags is None or tags.matches_tag(tag)) and not self._is_apart(tag)
        ]

    def _is_apart(self, tag: str) -> bool:
        """Tell a tag that only says what refers to an image; cosign's are images otherwise."""
        stem = subject_of_tag(tag)
        return stem is not None and (self.options.referrers or stem == tag)

    async def _look(self, here: Reference, there: Reference) -> Compared:
        try:
            ours = await self._shown(here, "source")
            theirs = await self._shown(there, "destination")
            if ours is None or theirs is None:
                return _one_sided(here, there, ours, theirs)
            digests = (ours.digest, theirs.digest)
            if ours.digest != theirs.digest:
                same = await self._same_images(here, there, ours, theirs)
                return Compared(here, there, Likeness.DIFFERS, digests, same_images=same)
            if not self.options.referrers:
                return Compared(here, there, Likeness.EQUAL, digests)
            our_own = await self._referrers(here.repository, ours, "source")
            their_own = await self._referrers(there.repository, theirs, "destination")
        except StoreError as error:
            return Compared(here, there, Likeness.UNREAD, error=error)
        only_here = tuple(one for key, one in our_own.items() if key not in their_own)
        only_there = tuple(one for key, one in their_own.items() if key not in our_own)
        likeness = Likeness.DIFFERS if only_here or only_there else Likeness.EQUAL
        return Compared(
            here, there, likeness, digests, refer_here=only_here, refer_there=only_there
        )

    async def _shown(self, reference: Reference, side: Side) -> Descriptor | None:
        place = self._place(reference.repository)
        async with self._slots:
            with on_side(side):
                return await place.store.look(place.repo, reference.target)

    async def _same_images(
        self, here: Reference, there: Reference, ours: Descriptor, theirs: Descriptor
    ) -> bool:
        """Tell whether only the form of an index differs; what cannot be read tells nothing."""
        if ours.media_type not in INDEXES or theirs.media_type not in INDEXES:
            return False
        try:
            async with self._slots:
                first = await read_manifest(self._place(here.repository), ours.digest, self.cache)
                second = await read_manifest(
                    self._place(there.repository), theirs.digest, self.cache
                )
        except StoreError:
            return False
        return same_images(first, second)

    async def _referrers(
        self, repository: Repository, image: Descriptor, side: Side
    ) -> dict[tuple[Digest, str | None], Referrer]:
        """All that refers to an image, to its children, and to that in turn."""
        place = self._place(repository)
        if repository not in self._tags:
            async with self._slots:
                with on_side(side):
                    self._tags[repository] = frozenset(await place.store.list_tags(place.repo))
        async with self._slots:
            found = await find_referrers(
                place,
                image.digest,
                self._tags[repository],
                _EVERY_REFERRER,
                self.cache,
                is_index=image.media_type in INDEXES,
                side=side,
            )
        return {one.key: one for one in found.whole()}

    def _place(self, repository: Repository) -> Place:
        return Place(self.stores.source_of(repository), repository.path)


async def _known(compared: Compared) -> Compared:
    return compared


def _one_sided(
    here: Reference, there: Reference, ours: Descriptor | None, theirs: Descriptor | None
) -> Compared:
    """What one side lacks; what both lack was named and is nowhere."""
    if ours is None and theirs is None:
        error = NotFound(str(here), "neither side has it")
        return Compared(here, there, Likeness.UNREAD, error=error)
    likeness = Likeness.ONLY_HERE if theirs is None else Likeness.ONLY_THERE
    digests = (ours.digest if ours else None, theirs.digest if theirs else None)
    return Compared(here, there, likeness, digests)


def _path(end: End, name: str) -> str:
    """Where the other side's repository would be."""
    if not end.is_glob:
        return end.path
    return "/".join([*literal_segments(end.path), name])
