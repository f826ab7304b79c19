"""The plan: a frozen list of changes pinned to digests, its file, and its integrity.

All that planning and applying share (DESIGN section 6). The file is JSON Lines: a header, one
change a line sorted by address, a trailer with the sha256 of every byte before it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgmigrate.errors import PlanRefused
from imgmigrate.files import write_output

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Reference  # noqa: TC001
from imgmigrate.state.record import Filter, Source  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imgmigrate.oci.reference import Repository

__all__ = [
    "Action",
    "Change",
    "Ends",
    "Header",
    "Known",
    "Plan",
    "StateBinding",
    "Summary",
    "read_plan",
]

# 1.1 brought whose state a plan is for, what a plan without a config was asked for, and plans
# without a state.
FORMAT_VERSION = "1.1"
KIND: Final = "imgmigrate.plan"
PLAN_ID_LENGTH = 16
# The reason of rows that put back what a run has changed.
ROLLBACK: Final = "rollback"
# The reason of rows that give what an update or a delete replaces a tag of its own.
KEEP_PREVIOUS: Final = "keep_previous"
# Reasons of deletes that are too many: of what no rule asks for, and of what its source lost.
OVER_LIMIT = ("max_delete", "max_delete_gone")
# The reason of rows that write again what looks right, and check each blob.
REPLACE: Final = "replace"
# The reason of rows about an image whose layout shows it and has lost some of its parts.
INCOMPLETE: Final = "incomplete"
# Reasons of rows about an image of ours that is no longer, or not whole, where we put it.
GONE = ("destination_lost", "destination_gone", INCOMPLETE)


# Bytes and counts of a row: what no image has would be no number to any reader either.
_Amount = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Action(StrEnum):
    """What a row asks for; those that change a destination come first.

    An action of a later minor version is read as itself; it is none of these, and does nothing.
    """

    COPY = "copy"
    UPDATE = "update"
    MOVE = "move"  # to another address in the same store, from where we put it
    DELETE = "delete"
    ADOPT = "adopt"
    FORGET = "forget"
    KEEP = "keep"
    BLOCKED = "blocked"  # a delete that a guard stops
    CONFLICT = "conflict"
    UNKNOWN = "unknown"  # it differs, and no state tells whether it is ours
    ERROR = "error"
    DRIFT = "drift"

    @classmethod
    def _missing_(cls, value: object) -> Action | None:
        if not isinstance(value, str) or not value:
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    @property
    def is_understood(self) -> bool:
        """Tell whether this version knows what to do with it."""
        return any(self is each for each in Action)

    @property
    def writes(self) -> bool:
        """Tell whether carrying it out puts an image at a destination."""
        return self in (Action.COPY, Action.UPDATE, Action.MOVE)

    @property
    def alters(self) -> bool:
        """Tell whether carrying it out changes something at a destination."""
        return self.writes or self is Action.DELETE


_DANGEROUS = (Action.ERROR, Action.CONFLICT, Action.UNKNOWN, Action.DELETE, Action.BLOCKED)


class _Frozen(BaseModel):
    """A later minor version may add fields: they are ignored, never refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Known(_Frozen):
    """Who reads a conflict knows of it: until this day (UTC, included), and why."""

    until: str
    because: str


class Change(_Frozen):
    """One action on one address. Fields that are None are unknown and stay out of the file.

    `before` is the destination's digest when planned, `recorded` the state's (live or
    tombstone), `after` what will be there. Sizes are bytes; `transfer_bytes` is the most
    that has to move for this row when the rows before it are done; `detail` explains an error.
    `moved_to` is where the image of a row that is no longer wanted here goes by another row,
    `kept_as` the tag that its `before` gets first, by a row of its own. `namesakes` are addresses
    that are wanted and may be of the same place: a delete must be proven not to take them along.
    `out_of_reach` is the registry that was down, of a row that could not be decided because of it.
    """

    address: Reference
    action: Action
    reason: str
    source: Source | None = None
    before: Digest | None = None
    after: Digest | None = None
    recorded: Digest | None = None
    media_type: str | None = None
    filter: Filter | None = None
    size: _Amount | None = None
    transfer_bytes: _Amount | None = None
    platforms: tuple[str, ...] | None = None
    blobs: _Amount | None = None
    inside: tuple[str, ...] | None = None
    detail: str | None = None
    moved_to: Reference | None = None
    kept_as: Reference | None = None
    namesakes: tuple[Reference, ...] | None = None
    out_of_reach: str | None = None
    # Of a conflict that the config knows: it is told apart, and decides no exit code.
    known: Known | None = None

    def line(self) -> dict[str, Any]:
        """Lay the row out for the file: the pinned fields always, the rest when known."""
        row = self.model_dump(mode="json", exclude_none=True)
        pinned = ("source", "before", "after", "recorded", "media_type")
        head = {key: row.pop(key) for key in ("address", "action", "reason")}
        return head | {key: row.pop(key, None) for key in pinned} | row

    @property
    def is_over_limit(self) -> bool:
        """Tell whether it is a delete that `max_delete` stops."""
        return self.action is Action.BLOCKED and self.reason in OVER_LIMIT

    @property
    def tells_of_loss(self) -> bool:
        """Tell whether something that we had written was seen gone from its destination."""
        is_absent = self.before is None and self.recorded is not None
        return self.reason in GONE or (is_absent and self.action in (Action.COPY, Action.MOVE))

    @property
    def is_near(self) -> bool:
        """Tell whether it only gives an image of this very repository another tag."""
        return self.source is not None and (
            self.source.reference.repository == self.address.repository
        )

    @property
    def is_dangerous(self) -> bool:
        """Tell whether a reviewer must see this row first."""
        return (
            (self.action in _DANGEROUS and not self.is_known)
            or self.reason in GONE
            or not self.action.is_understood
        )

    @property
    def is_known(self) -> bool:
        """Tell whether it is a conflict that somebody has acknowledged."""
        return self.known is not None and self.action is Action.CONFLICT


class StateBinding(_Frozen):
    """Which state the plan was made from; `lineage` is None if there was none.

    `name` is of the config whose state it is to be, `place` where that state is, seen from the
    config's folder: by these two a plan that was made before any state knows its own.
    """

    lineage: str | None = None
    sequence: int = 0
    head: str = ""
    name: str | None = None
    place: str | None = None


class Ends(_Frozen):
    """What a plan without a config was asked for: a repository or a glob, and where it goes."""

    source: str
    destinations: tuple[str, ...]


class Summary(_Frozen):
    """How many rows of each action; `unchanged` rows are counted here and not written.

    `unwanted` are images that no rule asks for any more: they stay as they are, and ours.
    """

    copy_: int = Field(0, alias="copy")
    update: int = 0
    move: int = 0
    delete: int = 0
    adopt: int = 0
    forget: int = 0
    keep: int = 0
    blocked: int = 0
    conflict: int = 0
    # Differs where no state tells what is ours.
    unknown: int = 0
    error: int = 0
    drift: int = 0
    # Counted apart from `conflict`.
    known_conflict: int = 0
    unchanged: int = 0
    unwanted: int = 0
    transfer_bytes: int = 0
    unknown_sizes: int = 0

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def of(cls, changes: Iterable[Change], unchanged: int, unwanted: int = 0) -> Summary:
        """Count `changes`."""
        changes = tuple(changes)
        counts = Counter(
            "known_conflict" if change.is_known else change.action.value
            for change in changes
            if change.action.is_understood
        )
        writes = [change.transfer_bytes for change in changes if change.action.writes]
        return cls.model_validate(
            {
                **counts,
                "unchanged": unchanged,
                "unwanted": unwanted,
                "transfer_bytes": sum(size for size in writes if size is not None),
                "unknown_sizes": writes.count(None),
            }
        )

    def count(self, action: Action) -> int:
        """How many rows have this action."""
        return int(getattr(self, "copy_" if action is Action.COPY else action.value))

    @property
    def writes(self) -> int:
        """How many rows put an image at a destination."""
        return sum(self.count(action) for action in Action if action.writes)

    @property
    def alters(self) -> int:
        """How many rows change a destination: what `--detailed-exitcode` reports."""
        return sum(self.count(action) for action in Action if action.alters)


# What a summary says of the rows; the rest is of images without one, and only the header knows it.
_OF_ROWS = ("copy_", *(each.value for each in Action if each is not Action.COPY))
_OF_ROWS += ("known_conflict", "transfer_bytes", "unknown_sizes")


class Filters(_Frozen):
    """What `--target` and `--exclude` left of the whole."""

    target: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Header(_Frozen):
    """Line 1 of a plan file."""

    format_version: str = FORMAT_VERSION
    kind: Literal["imgmigrate.plan"] = KIND
    tool_version: str
    created_at: str
    # The config's path as it was named, relative or a mere name: for commands to repeat.
    config: str | None = None
    config_sha256: str | None = None
    # Where there was no config.
    ends: Ends | None = None
    # Of the pins that it was planned from, as sha256sum prints it for their file.
    lock_sha256: str | None = None
    git_commit: str | None = None
    state: StateBinding = StateBinding()
    # True: no state was read, so that what is ours is not known; for readers, and never applied.
    stateless: bool = False
    filters: Filters = Filters()
    # True: the rows tell who moved since the record, not what the config asks for.
    refresh_only: bool = False
    # The run, or the id of the plan, that the rows undo.
    undoes: str | None = None
    # What whoever reviews must know of how the config was read.
    notes: tuple[str, ...] = ()
    # What `--max-delete` allowed instead of what the config does.
    max_delete: str | None = None
    complete: bool = True
    summary: Summary


class Plan(_Frozen):
    """A header and its changes, sorted by address, with the file's integrity hash."""

    header: Header
    changes: tuple[Change, ...]
    sha256: str
    # The whole that these rows are some of; None where they are the whole.
    part_of: Plan | None = Field(None, repr=False)

    @property
    def whole(self) -> Plan:
        """The plan as its file is."""
        return self.part_of or self

    @property
    def doubted(self) -> frozenset[Repository]:
        """Repositories from which something that we had written was seen gone."""
        gone = (change.address for change in self.whole.changes if change.tells_of_loss)
        return frozenset(address.repository for address in gone)

    @property
    def plan_id(self) -> str:
        """The short name of the plan."""
        return self.sha256[:PLAN_ID_LENGTH]

    @property
    def summary(self) -> Summary:
        """The header's counts, as whoever wrote the file says; `counted` are the rows' own."""
        return self.header.summary

    @property
    def counted(self) -> Summary:
        """Count the rows anew: a reviewer is told of what is there, whatever the header says."""
        own = Summary.of(self.changes, 0)
        rows = {name: getattr(own, name) for name in _OF_ROWS}
        return self.summary.model_copy(update=rows)

    @property
    def unknown(self) -> int:
        """How many rows ask for what this version does not know."""
        return sum(not change.action.is_understood for change in self.changes)

    @classmethod
    def of(cls, header: Header, changes: Iterable[Change]) -> Plan:
        """Sort and seal."""
        ordered = tuple(sorted(changes, key=lambda change: str(change.address)))
        return cls(header=header, changes=ordered, sha256=_sealed(_body(header, ordered)))

    def only(
        self, rows: Iterable[Change], *, target: tuple[str, ...], exclude: tuple[str, ...]
    ) -> Plan:
        """Leave only these rows to do; it keeps its id, so what is done of it stays known.

        Not for a file: what is left does not match the hash.
        """
        rows = tuple(rows)
        header = self.header
        filters = Filters(
            target=(*header.filters.target, *target), exclude=(*header.filters.exclude, *exclude)
        )
        update = {"filters": filters, "complete": False, "summary": Summary.of(rows, 0)}
        return self.model_copy(
            update={
                "header": header.model_copy(update=update),
                "changes": rows,
                "part_of": self.whole,
            }
        )

    def encode(self) -> bytes:
        """The bytes of the plan file."""
        body = _body(self.header, self.changes)
        return body + _encode({"sha256": self.sha256, "changes": len(self.changes)})

    def write(self, path: Path) -> str:
        """Write the file, private; return its own sha256 (what sha256sum says).

        A file is replaced whole; a device or a pipe is written into (`files.write_output`).
        """
        data = self.encode()
        write_output(path, data)
        return hashlib.sha256(data).hexdigest()


def read_plan(path: Path, *, expect_sha256: str | None = None) -> Plan:
    """Read and verify a plan file; PlanRefused names what is wrong with it.

    `expect_sha256` is what `sha256sum` printed when the plan was reviewed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"plan {path}: cannot be read: {error.strerror}"
        raise PlanRefused(msg, hint="write one with: imgmigrate plan --out plan.out") from None
    found = hashlib.sha256(data).hexdigest()
    if expect_sha256 and expect_sha256.lower() != found:
        msg = f"plan {path}: its sha256 is {found}, not the expected {expect_sha256}"
        raise PlanRefused(msg, hint="this is not the plan that was reviewed")
    return decode_plan(data, str(path))


def decode_plan(data: bytes, name: str) -> Plan:
    """Verify and parse the bytes of a plan file; `name` is for messages."""
    lines = data.split(b"\n")
    if lines.pop() != b"" or len(lines) < 2:
        raise _refused(name, "it is truncated: the last line is not complete")
    header = _header(lines[0], name)
    body = data[: len(data) - len(lines[-1]) - 1]
    trailer = _json(lines[-1], name, len(lines))
    if set(trailer) != {"sha256", "changes"}:
        raise _refused(name, "it is truncated: the last line is not the closing line")
    sealed = _sealed(body)
    if trailer["sha256"] != sealed or trailer["changes"] != len(lines) - 2:
        raise _refused(name, "it was edited or damaged: its bytes do not match its closing line")
    try:
        changes = tuple(Change.model_validate_json(line) for line in lines[1:-1])
    except ValidationError as error:
        raise _refused(name, f"a row is not valid: {_first(error)}") from None
    addresses = [str(change.address) for change in changes]
    if any(one >= other for one, other in pairwise(addresses)):
        raise _refused(name, "its rows are not in the order of their addresses, or repeat one")
    return Plan(header=header, changes=changes, sha256=sealed)


def _header(line: bytes, name: str) -> Header:
    document = _json(line, name, 1)
    if document.get("kind") != KIND:
        raise _refused(name, "it is not a plan: its first line is not a plan's header")
    version = str(document.get("format_version"))
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise _refused(
            name,
            f"its format is {version}, this imgmigrate reads {FORMAT_VERSION}",
            "apply it with the imgmigrate that wrote it, or plan again",
        )
    try:
        return Header.model_validate(document)
    except ValidationError as error:
        raise _refused(name, f"its header is not valid: {_first(error)}") from None


def _json(line: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _refused(name, f"line {number} is not a JSON object")
    return document


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    return f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"


def _refused(name: str, cause: str, hint: str = "plan again") -> PlanRefused:
    return PlanRefused(f"plan {name}: {cause}", hint=hint)


def _body(header: Header, changes: tuple[Change, ...]) -> bytes:
    first = header.model_dump(mode="json", by_alias=True)
    return b"".join([_encode(first), *(_encode(change.line()) for change in changes)])


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _sealed(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
