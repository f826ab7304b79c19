"""What the command line says of addresses: which to plan, and which to treat otherwise.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgmigrate.observing.globs import Globs
from imgmigrate.oci.reference import Reference

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Repository

__all__ = ["Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """The globs of `--target`, `--exclude`, `--replace` and `--allow-overwrite`."""

    target: Globs
    exclude: Globs
    replace: Globs
    allow_overwrite: Globs

    @classmethod
    def of(
        cls,
        *,
        target: tuple[str, ...],
        exclude: tuple[str, ...],
        replace: tuple[str, ...],
        allow_overwrite: tuple[str, ...],
    ) -> Scope:
        """Read the globs; UsageError names the option and the glob that is none."""
        return cls(
            Globs("target", target),
            Globs("exclude", exclude),
            Globs("replace", replace),
            Globs("allow-overwrite", allow_overwrite),
        )

    def takes(self, address: Reference) -> bool:
        """Apply --target and --exclude; both are asked, so that each notes what it matched."""
        targeted = self.target.match(address) or not self.target
        return not self.exclude.match(address) and targeted

    def may_take(self, repository: Repository) -> bool:
        """Tell whether --target and --exclude leave something of a repository."""
        if self.exclude.match(Reference(repository)):
            return False
        return not self.target or self.target.may_match(repository)

    def excuse(self, repository: Repository) -> None:
        """Take a glob that may match an address of an unreadable repository as no typing error."""
        for globs in self._all:
            globs.excuse(repository)

    def check(self) -> None:
        """Refuse a glob that matched nothing: it is a typing error."""
        for globs in self._all:
            globs.check()

    @property
    def _all(self) -> tuple[Globs, ...]:
        return (self.target, self.exclude, self.replace, self.allow_overwrite)
