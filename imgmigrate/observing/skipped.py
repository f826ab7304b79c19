"""Count the listed names that nothing can be copied under: said once, and noted in the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.events import NamesSkipped

if TYPE_CHECKING:
    from imgmigrate.events import Event, Sink
    from imgmigrate.oci.reference import Repository

__all__ = ["SkippedNames", "Skips"]

# A hostile list may hold a million of them, of any length: as many are told apart, and kept.
MOST_APART = 1000
LONGEST_NAME = 200


class SkippedNames(Struct):
    """The names of one list, each once however often its pages were read."""

    names: dict[str, None] = field(default_factory=dict)
    total: int = 0

    def add(self, name: str) -> None:
        """Count a name."""
        name = name[:LONGEST_NAME]
        if name in self.names:
            return
        self.total += 1
        if len(self.names) < MOST_APART:
            self.names[name] = None


class Skips:
    """A sink that hands on what it is told, but what it was told of a repository before."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._skips: dict[Repository, NamesSkipped] = {}

    def emit(self, event: Event) -> None:
        """Note what is left out."""
        if isinstance(event, NamesSkipped):
            if event.repository in self._skips:
                return
            self._skips[event.repository] = event
        self._sink.emit(event)

    def of(self, repository: Repository) -> NamesSkipped | None:
        """What was left out of one repository's list."""
        return self._skips.get(repository)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a plan says of it."""
        ordered = sorted(self._skips.values(), key=lambda each: str(each.repository))
        return tuple(each.warning.message for each in ordered)
