"""Which referrers go along with a rule's images: what `referrers:` says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgmigrate.oci.companions import KINDS

if TYPE_CHECKING:
    from imgmigrate.oci.referrers import Referrer

__all__ = ["EVERY", "USUAL", "ReferrerPolicy"]

# Every type, whatever it is called.
EVERY = "all"


@dataclass(frozen=True, slots=True)
class ReferrerPolicy:
    """Short names and artifact types; of `required` kinds an image has to have one each."""

    include: tuple[str, ...] = KINDS
    exclude: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it as a sentence has it."""
        without = f" without {', '.join(self.exclude)}" if self.exclude else ""
        required = f", required {', '.join(self.required)}" if self.required else ""
        return f"{', '.join(self.include) or 'none'}{without}{required}"

    @property
    def is_on(self) -> bool:
        """Tell whether anything goes along at all."""
        return bool(self.include)

    def takes(self, referrer: Referrer) -> bool:
        """Tell whether a referrer goes along."""
        return self._takes({referrer.kind, referrer.artifact_type})

    def takes_tag(self, kind: str) -> bool:
        """Tell whether what a tag of cosign's shows goes along: it has no other name."""
        return self._takes({kind})

    def _takes(self, names: set[str | None]) -> bool:
        if not names.isdisjoint(self.exclude):
            return False
        return EVERY in self.include or not names.isdisjoint(self.include)

    def may_take(self, kind: str) -> bool:
        """Tell whether one of a kind may go along, whatever its artifact type is."""
        if kind in self.exclude:
            return False
        # A short name may have been asked for by one of its types.
        by_type = kind in KINDS and any("/" in name for name in self.include)
        return EVERY in self.include or kind in self.include or by_type

    def lacks(self, found: list[Referrer]) -> list[str]:
        """List the required kinds that are not among what was found."""
        there = {name for each in found for name in (each.kind, each.artifact_type)}
        return [name for name in self.required if name not in there]


# What goes along where nobody says otherwise.
USUAL = ReferrerPolicy()
