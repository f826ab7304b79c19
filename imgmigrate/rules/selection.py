"""Which tags of a listing a rule wants, as data: what `tags:` says when it is a mapping.

Pure. What a tag's name alone decides is answered here; what needs its neighbours or its
creation date is decided by `planning/select.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from imgmigrate.matching import Pattern
    from imgmigrate.versions import VersionRange

__all__ = ["By", "Selection", "TagFilter"]


class By(StrEnum):
    """What makes a tag newer than another."""

    SEMVER = "semver"  # its version; tags that are none drop out
    NAME = "name"  # its characters, by code point
    CREATED = "created"  # when its image was made; unknown is oldest


@dataclass(frozen=True, slots=True)
class TagFilter:
    """One mapping of `tags:`; a tag must pass all of it, in the order of these fields.

    An empty `include` is all tags. `newest` counts what the others left.
    """

    include: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()
    semver: VersionRange | None = None
    created_after: datetime | timedelta | None = None
    newest: int | None = None
    by: By = By.SEMVER
    min: int | None = None

    @property
    def explicit(self) -> tuple[str, ...]:
        """The tags that are named exactly and that nothing else here can drop."""
        if self.semver or self.created_after is not None or self.newest is not None:
            return ()
        named = dict.fromkeys(each.text for each in self.include if each.is_exact)
        return tuple(tag for tag in named if self.selects(tag))

    @property
    def needs_listing(self) -> bool:
        """Tell whether only a listing shows what the filter lets through."""
        exact = {each.text for each in self.include if each.is_exact}
        only_exact = bool(self.include) and all(each.is_exact for each in self.include)
        return not only_exact or self.min is not None or not exact.issubset(self.explicit)

    @property
    def needs_dates(self) -> bool:
        """Tell whether creation dates decide."""
        return self.created_after is not None or (self.newest is not None and self.by is By.CREATED)

    def selects(self, tag: str) -> bool:
        """Tell whether the tag's name alone is let through."""
        if self.include and not any(each.matches_tag(tag) for each in self.include):
            return False
        if any(each.matches_tag(tag) for each in self.exclude):
            return False
        return self.semver is None or self.semver.matches(tag)

    def cutoff(self, now: datetime) -> datetime | None:
        """The moment that an image must not be older than."""
        after = self.created_after
        return now - after if isinstance(after, timedelta) else after


class Selection(Struct, frozen=True):
    """What some filter lets through is wanted; fewer than `min` tags in all are refused."""

    filters: tuple[TagFilter, ...]
    min: int | None = None

    @property
    def explicit(self) -> tuple[str, ...]:
        """The tags that are wanted whatever the listing says, each once."""
        return tuple(dict.fromkeys(tag for each in self.filters for tag in each.explicit))

    @property
    def needs_listing(self) -> bool:
        """Tell whether only a listing of the source shows all that is wanted."""
        return self.min is not None or any(each.needs_listing for each in self.filters)

    @property
    def allows_none(self) -> bool:
        """Tell whether some `min` says that it is no mistake to select nothing."""
        return 0 in (self.min, *(each.min for each in self.filters))

    def selects(self, tag: str) -> bool:
        """Tell whether the tag's name alone is let through by some filter."""
        return any(each.selects(tag) for each in self.filters)
