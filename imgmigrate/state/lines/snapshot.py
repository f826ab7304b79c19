"""The snapshot: the whole state in one file, sorted, so that two of them can be compared.

Reads and prints; who replaces the file is `compaction.py`. Line 1 is a sealed header with the
sha256 of every byte after it; then the records by address, then the open claims.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

from pydantic import BaseModel

from imgmigrate.schemas.models import LENIENT
from imgmigrate.state.entries import Intent
from imgmigrate.state.lines.sealing import encode, seal, unseal
from imgmigrate.state.record import RECORDS, ImageRecord, Run, Status
from imgmigrate.state.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "KIND",
    "Header",
    "NewerFormat",
    "print_snapshot",
    "read_header",
    "read_snapshot",
]

# 1.1 brought the name of the config that a state belongs to.
FORMAT_VERSION = "1.1"
KIND: Final = "imgmigrate.state"


class Header(BaseModel):
    """Line 1; a field that is not known is ignored: of a later minor version, or `rates` of old."""

    model_config = LENIENT

    format_version: str = FORMAT_VERSION
    kind: Literal["imgmigrate.state"] = KIND
    lineage: str
    sequence: int
    head: str
    name: str | None = None
    place: str | None = None
    runs: tuple[Run, ...] = ()
    records: int
    claims: int
    sha256: str


class NewerFormat(ValueError):
    """The major version of a snapshot is not ours to read."""


def print_snapshot(view: View) -> list[bytes]:
    """Print a view that has a lineage, line by line."""
    records = [
        RECORDS.dump_json(view.records[address], exclude_none=True) + b"\n"
        for address in sorted(view.records)
    ]
    claims = [
        encode(intent.model_dump(mode="json", exclude_none=True) | {"run": run}) + b"\n"
        for run, intent in view.open_claims()
    ]
    body = hashlib.sha256()
    for line in (*records, *claims):
        body.update(line)
    header = Header(
        lineage=view.lineage or "",
        sequence=view.sequence,
        head=view.head,
        name=view.name,
        place=view.place,
        runs=tuple(view.runs),
        records=len(records),
        claims=len(claims),
        sha256=body.hexdigest(),
    )
    return [seal(header.model_dump(mode="json", exclude_none=True))[0], *records, *claims]


def read_header(file: BinaryIO) -> Header:
    """Read and verify line 1; ValueError says what is wrong, NewerFormat that it is too new."""
    line = file.readline()
    version = _stated_version(line)
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        msg = f"its format is {version}, this imgmigrate reads {FORMAT_VERSION}"
        raise NewerFormat(msg)
    return Header.model_validate(unseal(line)[0])


def read_snapshot(file: BinaryIO) -> View:
    """Read and verify a snapshot; ValueError says what is wrong, NewerFormat that it is too new."""
    header = read_header(file)
    view = View(
        lineage=header.lineage,
        sequence=header.sequence,
        head=header.head,
        name=header.name,
        place=header.place,
        runs=list(header.runs),
    )
    body = hashlib.sha256()
    lines = _hashed(file, body)
    for _ in range(header.records):
        record = RECORDS.validate_json(next(lines, b""))
        view.records.put(_newer(view.records.get(str(record.address)), record))
    for _ in range(header.claims):
        claim = json.loads(next(lines, b""))
        view.claim(str(claim.get("run")), Intent.model_validate(claim))
    if next(lines, None) is not None or body.hexdigest() != header.sha256:
        msg = "its bytes do not match its header"
        raise ValueError(msg)
    return view


def _newer(first: ImageRecord | None, other: ImageRecord) -> ImageRecord:
    """Choose between two records of one address, which earlier versions spelled in two ways.

    What was let go under one name is not let go where it lives under the other.
    """
    if first is None:
        return other
    kept = [each for each in (first, other) if each.status is not Status.FORGOTTEN]
    return max(kept or (first, other), key=lambda record: record.sequence)


def _stated_version(line: bytes) -> str:
    """The format that a header claims before it is verified; our own if it claims none."""
    try:
        found = json.loads(line).get("format_version")
    except (ValueError, AttributeError):
        found = None
    return str(found or FORMAT_VERSION)


def _hashed(file: BinaryIO, digest: hashlib._Hash) -> Iterator[bytes]:
    for line in file:
        digest.update(line)
        yield line
