"""Find what the rules ask for now, and compare it with the pins that are there.

`pin_sources` asks the sources and writes nothing; the command decides what becomes of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.observing.globs import Globs
from imgmigrate.planning.desired.pins import Pin
from imgmigrate.planning.planner import resolve

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.pins import Pins
    from imgmigrate.planning.planner import PlanOptions, Resolved
    from imgmigrate.workspace import Workspace

__all__ = ["Difference", "Kind", "Pinning", "compare", "pin_sources"]


class Kind(StrEnum):
    """What became of a pin."""

    MOVED = "moved"
    ADDED = "added"
    REMOVED = "removed"


class Difference(Struct, frozen=True):
    """What one address gets by the pins that are there, and what by the sources as they are."""

    address: Reference
    before: Pin | None
    after: Pin | None

    @property
    def kind(self) -> Kind:
        """What became of it."""
        if self.before is None:
            return Kind.ADDED
        return Kind.MOVED if self.after is not None else Kind.REMOVED


class Pinning(Struct, frozen=True):
    """The pins as they should be; `problems` are what could not be read, whose pins stay."""

    pins: Pins
    differences: tuple[Difference, ...]
    problems: tuple[Change, ...]

    @property
    def unchanged(self) -> int:
        """How many pins are as they were."""
        return len(self.pins) - sum(each.after is not None for each in self.differences)

    def count(self, kind: Kind) -> int:
        """How many pins had this happen."""
        return sum(each.kind is kind for each in self.differences)


async def pin_sources(
    config: Config | Workspace,
    pins: Pins,
    options: PlanOptions,
    *,
    upgrade: tuple[str, ...] = (),
    sink: Sink | None = None,
) -> Pinning:
    """Resolve what the rules ask for; with globs in `upgrade` only what they match moves.

    Only the sources of what may move are asked. The `target` of the options is not heeded.
    UsageError for a glob that matches nothing; GuardError where a rule's `min` is missed.
    """
    globs = Globs("upgrade", upgrade, of="the pins")
    options = replace(options, target=upgrade)
    made = compare(pins, await resolve(config, options, sink=sink), globs)
    globs.check()
    return made


def compare(old: Pins, found: Resolved, upgrade: Globs) -> Pinning:
    """Decide for every address which pin it gets. Pure.

    While something could not be read no pin is removed: that may be what asks for it.
    """
    wanted = {
        address
        for address in {*old, *found.images, *(row.address for row in found.problems)}
        if upgrade.match(address) or not upgrade
    }
    repositories = {address.repository for address in wanted}
    is_doubtful = any(address in old and address not in found.images for address in wanted)
    problems = [
        row for row in found.problems if is_doubtful or _concerns(row, wanted, repositories)
    ]
    new: Pins = {}
    for address in {*old, *found.images}:
        image = found.images.get(address)
        if address in wanted and image is not None:
            new[address] = Pin(address, *image)
        elif address in old and (address not in wanted or problems):
            new[address] = old[address]
    differences = [
        Difference(address, old.get(address), new.get(address))
        for address in sorted({*old, *new})
        if old.get(address) != new.get(address)
    ]
    return Pinning(new, tuple(differences), tuple(problems))


def _concerns(row: Change, wanted: set[Reference], repositories: set[Repository]) -> bool:
    """A row without a tag is about its whole repository."""
    is_whole = row.address.tag is None and row.address.digest is None
    return row.address in wanted or (is_whole and row.address.repository in repositories)
