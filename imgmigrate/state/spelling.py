"""Find the records of layouts under the names that the config gives them now.

A layout has many names: an absolute path, a relative one, one through a link. Records keep the
name that they were written under, and an earlier version wrote absolute paths as relative ones.
They are found by real path and get the present name: an image is never adopted under the one
and forgotten, or deleted, under the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from imgmigrate.oci.reference import LAYOUTS, Reference
from imgmigrate.state.memory import StateInMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imgmigrate.config.model import Config
    from imgmigrate.oci.reference import Repository
    from imgmigrate.rules.layouts import Spelling
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.state.writer import Writer

__all__ = ["Renames", "find_renames", "rename", "respelled"]

T = TypeVar("T")


class Renames(Struct, frozen=True):
    """Addresses and their present names, and those whose present name has a newer record."""

    moves: tuple[tuple[Reference, Reference], ...] = ()
    overtaken: tuple[Reference, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything has another name by now."""
        return bool(self.moves or self.overtaken)


def respelled(state: State, config: Config) -> State:
    """Give records the names, of addresses and of sources, that the config has for them.

    Nothing is written: the same line of the history is the last one. Blocking.
    """
    spelling = _spelling(state, config, ())
    if spelling is None:
        return state
    renames = _renames(state, spelling)
    new = {str(old): to for old, to in renames.moves}
    gone = {str(address) for address in renames.overtaken}
    gone |= {str(to) for to in new.values()} - new.keys()
    changed: dict[str, ImageRecord] = {}
    for record in state.with_layouts():
        key = str(record.address)
        renamed = _renamed(record, new.get(key), spelling)
        if key not in gone and renamed is not record:
            changed[key] = renamed
    if not (new or gone or changed):
        return state
    kept = {str(record.address): record for record in state.every()}
    for key in gone | changed.keys():
        kept.pop(key, None)
    records = kept | {str(record.address): record for record in changed.values()}
    return StateInMemory(
        lineage=state.lineage,
        sequence=state.sequence,
        head=state.head,
        records=records,
        claims=_rekeyed(state.claims, new),
        runs=tuple(state.runs),
        stand_ins=_rekeyed(state.stand_ins, new),
        name=state.name,
        place=state.place,
        is_known=state.is_known,
        companions=_rekeyed(state.companions, new),
    )


def find_renames(state: State, config: Config, first: Iterable[Repository] = ()) -> Renames:
    """Find the addresses that have other names now; those in `first` name their folders."""
    spelling = _spelling(state, config, first)
    return Renames() if spelling is None else _renames(state, spelling)


async def rename(writer: Writer, config: Config, first: Iterable[Repository] = ()) -> None:
    """Write the present names into the state, durably; nothing if all have them."""
    renames = find_renames(writer.state, config, first)
    if renames:
        await writer.remove(renames.overtaken)
        await writer.move(renames.moves, same_place=True)


def _spelling(state: State, config: Config, first: Iterable[Repository]) -> Spelling | None:
    """What the config calls layouts; None where the state knows of none."""
    records = state.with_layouts()
    if not records and not any(key.startswith(LAYOUTS) for key in state.claims):
        return None
    sources = (record.source.reference.repository for record in records)
    return config.spelling(sources, first=first)


def _renames(state: State, spelling: Spelling) -> Renames:
    moves: dict[Reference, Reference] = {}
    overtaken: list[Reference] = []
    recorded = {str(record.address): record for record in state.every(LAYOUTS)}
    for key in sorted({*recorded, *(key for key in state.claims if key.startswith(LAYOUTS))}):
        record = recorded.get(key)
        old = record.address if record is not None else Reference.parse(key)
        new = spelling.destination(old)
        if new == old:
            continue
        rivals = (state.record(new), *(state.record(each) for each in moves if moves[each] == new))
        newest = max((each.sequence for each in rivals if each is not None), default=-1)
        if record is not None and record.sequence < newest:
            overtaken.append(old)
            continue
        for each in [each for each in moves if moves[each] == new]:
            overtaken.append(each)
            del moves[each]
        moves[old] = new
    return Renames(tuple(moves.items()), tuple(overtaken))


def _renamed(record: ImageRecord, address: Reference | None, spelling: Spelling) -> ImageRecord:
    origin = record.source.reference
    if address is not None and record.keeps_previous:  # of the repository that it is in
        source = address.repository.at(record.source.digest)
    else:
        source = spelling.source(origin)
    if address is None and source == origin:
        return record
    source_now = replace(record.source, reference=source)
    return replace(record, address=address or record.address, source=source_now)


def _rekeyed(entries: Mapping[str, T], new: dict[str, Reference]) -> dict[str, T]:
    return {str(new.get(key, key)): value for key, value in entries.items()}
