"""A state whose addresses an earlier version spelled with other names of their registry."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.state.entries import decode, encode
from imgmigrate.state.lines.journal import Scan, print_line
from imgmigrate.state.lines.snapshot import print_snapshot, read_snapshot
from imgmigrate.state.memory import Records
from imgmigrate.state.record import Status
from imgmigrate.state.view import View
from tests.state.samples import a_run, claim, digest, draft, local

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.state.record import ImageRecord

NEW, OLD = '"registry.new/', '"registry.new:0443/'


def respell(path: Path) -> None:
    """Write a journal anew as the version wrote it that knew no default port."""
    previous, written = "", []
    for line in Scan(BytesIO(path.read_bytes())):
        entry = {k: v for k, v in line.document.items() if k not in ("sequence", "prev", "hash")}
        entry = json.loads(json.dumps(entry).replace(NEW, OLD))
        raw, previous = print_line(line.sequence, previous, entry)
        written.append(raw)
    path.write_bytes(b"".join(written))


async def test_a_journal_under_another_spelling_is_that_of_the_one(tmp_path: Path) -> None:
    """Records, claims, and what ended them, are found under the name that is printed now."""
    state = local(tmp_path)
    async with a_run(state, claim("2"), claim("3")) as writer:
        await writer.record(draft("1"))
        await writer.conflict(claim("3").address)
    respell(tmp_path / "journal.jsonl")
    found = state.read()
    assert list(found.records) == ["registry.new/team/app:1"]
    assert found.claims == {"registry.new/team/app:2": {digest("1")}}
    old = Reference.parse("registry.new:443/team/app:1")
    assert found.owns(old, digest("1"))


def snapshot(*records: ImageRecord) -> View:
    """Read a snapshot of records, those of earlier versions under the names of then."""
    named = {f"{number}": each for number, each in enumerate(records)}
    view = View(lineage="l", records=Records(named))
    return read_snapshot(BytesIO(b"".join(print_snapshot(view))))


def spelled(record: ImageRecord) -> ImageRecord:
    """Give a record's registry the name that an earlier version printed."""
    old = Repository("registry.new:443", record.address.repository.path)
    return replace(record, address=replace(record.address, repository=old))


def test_what_lives_under_one_name_was_not_let_go_under_the_other() -> None:
    """An earlier version adopted an image under its new name, and let go of the old one."""
    live = replace(draft("1"), sequence=1)
    gone = replace(spelled(draft("1", status=Status.FORGOTTEN)), sequence=2)
    for records in ((live, gone), (gone, live)):
        (found,) = snapshot(*records).records.values()
        assert found == live


def test_the_later_record_of_two_spellings_counts() -> None:
    """What was deleted under one name is not there under the other."""
    live = replace(draft("1"), sequence=1)
    gone = replace(spelled(draft("1", status=Status.DELETED)), sequence=2)
    for records in ((live, gone), (gone, live)):
        (found,) = snapshot(*records).records.values()
        assert found.status is Status.DELETED


def test_entries_are_written_as_they_are_printed_now() -> None:
    """A line that was read is never written again under its old name."""
    entry = {"kind": "remove", "address": "registry.new:443/team/app:1"}
    assert encode(decode(entry))["address"] == "registry.new/team/app:1"
