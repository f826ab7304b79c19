"""One rule: which images of a source go where, under which names; and one for many repositories.

Frozen and checked; how rules lie in a file is the config's affair.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.oci.companions import names_companions, subject_of_tag
from imgmigrate.rules.referrers import USUAL, ReferrerPolicy

if TYPE_CHECKING:
    from imgmigrate.matching import Pattern
    from imgmigrate.oci.platforms import IndexForm
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.rules.kept import KeptName
    from imgmigrate.rules.layouts import LayoutNames
    from imgmigrate.rules.selection import Selection
    from imgmigrate.rules.templates import Renaming, Template

__all__ = ["Destination", "ForeignLayers", "GlobRule", "Overwrite", "Rule"]


class ForeignLayers(StrEnum):
    """What becomes of layers that are not to be distributed, as of images of Windows."""

    SKIP = "skip"  # whoever pulls gets them from their URLs
    COPY = "copy"  # with the image, where its registry serves them


class Overwrite(StrEnum):
    """Which differing destination tags a rule may replace (DESIGN section 3)."""

    OWNED = "owned"  # only what we recorded
    EQUIVALENT = "equivalent"  # also an index that lists the same children in other bytes
    ALWAYS = "always"
    NEVER = "never"  # differing tags are kept, and are no conflicts


class Destination(Struct, frozen=True):
    """Where a rule's images go. `tags` rename the rule's exact tags by position; empty = keep.

    `form` is what becomes of every tag otherwise: a text with `{tag}` in it.
    """

    repository: Repository
    tags: tuple[str, ...] = ()
    form: str = "{tag}"


class Rule(Struct, frozen=True):
    """One entry of `images`; `number` counts from 1, `line` is where it begins in `file`.

    `tags` is None for all tags of the source, and empty for a source digest. A `selection`, where
    tags are selected by more than their names, stands instead of them.
    """

    number: int
    file: str
    line: int
    source: Repository
    digest: Digest | None
    tags: tuple[Pattern, ...] | None
    destinations: tuple[Destination, ...]
    overwrite: Overwrite = Overwrite.OWNED
    immutable_tags: tuple[Pattern, ...] = ()
    rename: Renaming | None = None
    # Made of a GlobRule for one of the repositories that it matches.
    from_glob: bool = False
    # In canonical form; none means all.
    platforms: tuple[str, ...] = ()
    # What becomes of an index that is cut to them; None: what suits the destination.
    index: IndexForm | None = None
    foreign_layers: ForeignLayers = ForeignLayers.SKIP
    selection: Selection | None = None
    # Of a digest that was pinned: the tag that it was found at.
    pinned_tag: str | None = None
    # None is what the whole config says.
    keep_previous: KeptName | None = None
    keep_previous_for: float | None = None
    # Its source carries only what is new: what is not there says nothing.
    is_delta: bool = False
    referrers: ReferrerPolicy = USUAL

    @property
    def explicit_tags(self) -> tuple[str, ...]:
        """The tags that the rule names exactly, in its order, each once."""
        if self.selection is not None:
            return self.selection.explicit
        return tuple(dict.fromkeys(each.text for each in self.tags or () if each.is_exact))

    @property
    def has_patterns(self) -> bool:
        """Tell whether only a listing of the source shows all that the rule selects."""
        if self.selection is not None:
            return self.selection.needs_listing
        return self.tags is None or not all(each.is_exact for each in self.tags)

    @property
    def allows_none(self) -> bool:
        """Tell whether the rule says, by a `min` of 0, that it is no mistake to select nothing."""
        return self.selection is not None and self.selection.allows_none

    def selects(self, tag: str) -> bool:
        """Tell whether the rule wants this tag of its source, as far as its name tells."""
        if self.selection is not None:
            return self.selection.selects(tag)
        return self.tags is None or any(each.matches_tag(tag) for each in self.tags)

    def takes_as_tag(self, tag: str) -> bool:
        """Tell whether a listed tag is one as any other, and not what belongs to an image.

        A companion tag (`sha256-<hex>.sig`) goes along with its image, unless nothing does, or a
        rule asks for such tags by their name.
        """
        if not self.referrers.is_on or subject_of_tag(tag) is None:
            return True
        patterns = list(self.tags or ())
        if self.selection is not None:
            patterns += [each for one in self.selection.filters for each in one.include]
        return any(names_companions(each.text) and each.matches_tag(tag) for each in patterns)

    def is_immutable(self, tag: str | None) -> bool:
        """Tell whether the source never moves this tag: once copied it needs no further look."""
        return tag is not None and any(each.matches_tag(tag) for each in self.immutable_tags)

    def addresses(self, tag: str) -> tuple[Reference, ...]:
        """Where a source tag goes, one reference for each destination."""
        return tuple(
            destination.repository.at(self._renamed(destination, tag))
            for destination in self.destinations
        )

    def digest_addresses(self) -> tuple[Reference, ...]:
        """Where the source digest goes; none for a rule of tags."""
        if self.digest is None:
            return ()
        return tuple(
            destination.repository.at(destination.tags[0] if destination.tags else self.digest)
            for destination in self.destinations
        )

    def explicit_addresses(self) -> tuple[tuple[Reference, Reference], ...]:
        """Every pair of source reference and address that is known without a listing."""
        pairs = [
            (self.source.at(tag), address)
            for tag in self.explicit_tags
            for address in self.addresses(tag)
        ]
        if self.digest is not None:
            pairs += [(self.source.at(self.digest), each) for each in self.digest_addresses()]
        return tuple(pairs)

    def _renamed(self, destination: Destination, tag: str) -> str:
        if not destination.tags:
            return destination.form.replace("{tag}", self.rename.of(tag) if self.rename else tag)
        return dict(zip(self.explicit_tags, destination.tags, strict=True)).get(tag, tag)


@dataclass(frozen=True, slots=True)
class GlobRule:
    """A rule for each repository that a glob matches.

    `rule` is what holds for all of them: its source is the glob, its destinations are none yet.
    `joint` joins the segments of a name that is put into a destination; None keeps the slashes.
    """

    rule: Rule
    pattern: Pattern
    exclude: tuple[Pattern, ...]
    destinations: tuple[Template, ...]
    joint: str | None = None
    # Gives the layouts that are made of it the names that other rules give them.
    names: LayoutNames | None = field(default=None, compare=False, repr=False)

    def takes(self, source: Reference) -> bool:
        """Tell whether the glob matches a repository and nothing excludes it."""
        return self.pattern.matches_reference(source) and not self.excludes(source)

    def excludes(self, source: Reference) -> bool:
        """Tell whether a repository is one of those to leave out."""
        return any(each.matches_reference(source) for each in self.exclude)
