"""Find out what is wrong with a state's files, what can be had back, and what would be lost.

`survey` reads and changes nothing. `mend` is for the holder of the lock: it keeps every byte
that it takes away in the backups, and each of its steps leaves a state that is whole or that
the same repair goes on with.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from msgspec import Struct
from pydantic import ValidationError

from imgmigrate.errors import StateError
from imgmigrate.files import copy_or_link, make_folder, sync_data, sync_folder, write_atomically
from imgmigrate.state.entries import Intent, decode
from imgmigrate.state.lines.journal import Scan
from imgmigrate.state.lines.sealing import explain, unseal
from imgmigrate.state.lines.snapshot import NewerFormat, print_snapshot, read_header, read_snapshot
from imgmigrate.state.local.compaction import retire_journal, save_torn
from imgmigrate.state.local.loading import load
from imgmigrate.state.local.trouble import damaged, unreadable
from imgmigrate.state.record import RECORDS, ImageRecord
from imgmigrate.state.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from imgmigrate.state.lines.journal import Line
    from imgmigrate.state.local.compaction import Places

__all__ = ["Cut", "Survey", "mend", "survey"]

_NEWER = "use the imgmigrate that wrote it"
_REBUILD = (
    "move the folder away, then imgmigrate adopt '**' records anew what is at the destinations"
)


class Cut(Struct, frozen=True):
    """The end of the journal that has to go: `size` bytes, `lines` lines from number `line`."""

    line: int
    offset: int
    lines: int
    size: int
    cause: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What is wrong, and what a repair makes of it.

    `trouble` is what is wrong with the snapshot and `sources` what it is rebuilt from; `cut` is
    what the journal loses. `lost` are the records in what is damaged that can still be read and
    are not in the repaired state; `illegible` counts the lines that cannot.
    """

    trouble: str | None
    sources: tuple[Path, ...]
    cut: Cut | None
    lost: tuple[ImageRecord, ...]
    illegible: int
    view: View = field(compare=False, repr=False)

    @property
    def is_whole(self) -> bool:
        """Tell whether there is nothing to repair."""
        return self.trouble is None and self.cut is None


def survey(places: Places) -> Survey:
    """Look at the files; StateError where nothing can be had back, or another version must."""
    journal = _bytes(places.journal)
    snapshot, trouble = _snapshot(places)
    is_missing = snapshot is None and _was_something(places) and not _starts_at_one(journal)
    if trouble is None and is_missing:
        trouble = "it is missing"
    view = snapshot or View()
    sources: tuple[Path, ...] = ()
    if trouble is not None:
        view, sources = _from_backups(places)
    elif _has_gap(view, journal):
        sources = _bridge(places, view)
        trouble = "the journal goes on behind it" if sources else None
    base = view.sequence
    cut = _replay(places, view, journal)
    if view.lineage is None and (trouble or cut) and not _is_readable(places):
        cause = trouble or "it is missing, or the first line of the journal is damaged"
        raise damaged(places.snapshot, f"{cause}; no backup gives it back", _REBUILD)
    remains = [_entry(line) for line in journal[cut.offset :].splitlines(True)] if cut else []
    # Where the journal goes on without a gap, the snapshot held nothing that is not rebuilt.
    if trouble and (cut or not journal):
        remains += _beyond(places, base)
    lost, illegible = _lost(remains, view)
    return Survey(trouble, sources, cut, lost, illegible, view)


def mend(places: Places, found: Survey) -> Iterator[Path | None]:
    """Carry a survey out, yielding after each step what it kept; OSError stops between steps."""
    make_folder(places.backups)
    yield None
    if found.trouble:
        yield _keep_damaged(places, found.view.sequence)
        write_atomically(places.snapshot, print_snapshot(found.view))
        yield None
    if found.cut:
        yield _cut(places, found.cut, found.view.sequence + 1)
    if found.trouble:
        retire_journal(places, found.view.sequence)
        yield None


def _keep_damaged(places: Places, sequence: int) -> Path | None:
    """Give the damaged snapshot a second name among the backups, if there is one."""
    copies, path = 0, places.backups / f"damaged-{sequence}.snapshot.jsonl"
    while True:
        try:
            copy_or_link(places.snapshot, path)
        except FileNotFoundError:
            return None
        except FileExistsError:
            copies += 1
            path = places.backups / f"damaged-{sequence}.{copies}.snapshot.jsonl"
            continue
        sync_folder(places.backups)
        return path


def _cut(places: Places, cut: Cut, sequence: int) -> Path:
    with places.journal.open("r+b") as file:
        file.seek(cut.offset)
        kept = save_torn(places, sequence, file.read())
        file.truncate(cut.offset)
        sync_data(file.fileno())
    return kept


def _snapshot(places: Places) -> tuple[View | None, str | None]:
    """Read the snapshot: it, or what is wrong with it; neither if there is none."""
    try:
        with places.snapshot.open("rb") as file:
            return read_snapshot(file), None
    except FileNotFoundError:
        return None, None
    except NewerFormat as error:
        raise damaged(places.snapshot, str(error), _NEWER) from None
    except OSError as error:
        raise unreadable(places.snapshot, error) from None
    except ValueError as error:
        return None, f"damaged: {explain(error)}"


def _from_backups(places: Places) -> tuple[View, tuple[Path, ...]]:
    """Rebuild the newest view that the backups allow, and name the files that it is from."""
    for path in reversed(places.backup("snapshot")):
        with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
            view = read_snapshot(file)
            return view, (path, *_bridge(places, view))
    view = View()
    return view, _bridge(places, view)


def _bridge(places: Places, view: View) -> tuple[Path, ...]:
    """Add the lines of the kept journals that continue the view; name those that had some."""
    used = []
    for path in places.backup("journal"):
        before = view.sequence
        with contextlib.suppress(OSError), path.open("rb") as file:
            _take_all(path, view, file)
        if view.sequence > before:
            used.append(path)
    return tuple(used)


def _has_gap(view: View, journal: bytes) -> bool:
    first = next(iter(Scan(BytesIO(journal))), None)
    return first is not None and first.sequence > view.sequence + 1


def _starts_at_one(journal: bytes) -> bool:
    first = next(iter(Scan(BytesIO(journal))), None)
    return first is not None and first.sequence == 1


def _was_something(places: Places) -> bool:
    return bool(places.backup("snapshot") or places.backup("journal"))


def _is_readable(places: Places) -> bool:
    """Tell whether a writer opens the files as they are, such as a first write cut short."""
    try:
        load(places)
    except StateError:
        return False
    return True


def _replay(places: Places, view: View, journal: bytes) -> Cut | None:
    """Add the journal's lines as far as they continue the view; say what is to be cut."""
    stop = _take_all(places.journal, view, BytesIO(journal))
    if stop is None:
        return None
    number, offset, cause = stop
    rest = journal[offset:]
    return Cut(number, offset, len(rest.splitlines()), len(rest), cause)


def _take_all(path: Path, view: View, file: BinaryIO) -> tuple[int, int, str] | None:
    """Apply the lines that follow; where one does not: its number, offset and why."""
    scan, start, end = Scan(file), (view.sequence, view.head), 0
    for number, line in enumerate(scan, 1):
        cause = _refusal(view, line, start)
        if cause:
            return number, end, cause
        if line.sequence > view.sequence:
            _apply(path, view, line, number)
        end = scan.end
    if scan.damage:
        return scan.damage.line, scan.damage.offset, scan.damage.cause
    return None


def _refusal(view: View, line: Line, start: tuple[int, str]) -> str | None:
    continues = (line.sequence - 1, line.previous) == (view.sequence, view.head)
    is_other = line.sequence == start[0] and line.hash != start[1]
    if is_other or (line.sequence > view.sequence and not continues):
        return "it does not continue the snapshot"
    return None


def _apply(path: Path, view: View, line: Line, number: int) -> None:
    try:
        view.apply(line.sequence, line.hash, decode(line.document))
    except ValueError as error:
        cause = f"line {number} cannot be understood: {explain(error)}"
        raise damaged(path, cause, _NEWER) from None


def _lost(remains: Iterable[ImageRecord | bool], view: View) -> tuple[tuple[ImageRecord, ...], int]:
    """Choose the records that `view` does not have as they are; count the lines that are none."""
    found: dict[str, ImageRecord] = {}
    illegible = 0
    for each in remains:
        if isinstance(each, ImageRecord):
            known = view.records.get(str(each.address))
            if known is None or known.digest != each.digest:
                found[str(each.address)] = each
        elif not each:
            illegible += 1
    return tuple(found[key] for key in sorted(found)), illegible


def _beyond(places: Places, base: int) -> Iterator[ImageRecord | bool]:
    """Read what a damaged snapshot holds that is newer than what could be rebuilt of it."""
    first, _, body = _bytes(places.snapshot).partition(b"\n")
    with contextlib.suppress(ValueError):
        if read_header(BytesIO(first + b"\n")).sequence <= base:
            return
    for line in body.splitlines():
        with contextlib.suppress(ValidationError):
            record = RECORDS.validate_json(line)
            yield record if record.sequence > base else True
            continue
        yield _is_claim(line)


def _is_claim(line: bytes) -> bool:
    try:
        Intent.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _entry(line: bytes) -> ImageRecord | bool:
    """The record of a journal's line; True for another whole line, False for a damaged one."""
    try:
        entry = decode(unseal(line)[0])
    except ValueError:
        return False
    return entry if isinstance(entry, ImageRecord) else True


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise unreadable(path, error) from None
