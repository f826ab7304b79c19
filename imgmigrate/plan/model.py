"""The plan: a frozen list of changes pinned to digests.

All that planning and applying share (DESIGN section 6).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from imgmigrate.causes import Cause
from imgmigrate.errors import OutOfReach
from imgmigrate.files import write_output

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Reference  # noqa: TC001
from imgmigrate.plan.sealing import body_of, line_of, sealed
from imgmigrate.plan.summary import OF_ROWS, Summary
from imgmigrate.schemas.models import LENIENT
from imgmigrate.state.record import Carried, Filter, Source  # noqa: TC001
from imgmigrate.vocabulary.actions import Action, section_for
from imgmigrate.vocabulary.reasons import Reason  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imgmigrate.oci.reference import Repository
    from imgmigrate.vocabulary.sections import Section

__all__ = [
    "FORMAT_VERSION",
    "KIND",
    "Change",
    "Ends",
    "Filters",
    "Header",
    "Known",
    "Plan",
    "StateBinding",
    "doubted_by",
]

# 1.1 brought whose state a plan is for, what a plan without a config was asked for, and plans
# without a state.
FORMAT_VERSION = "1.1"
KIND: Final = "imgmigrate.plan"
PLAN_ID_LENGTH = 16

# Bytes and counts of a row: what no image has would be no number to any reader either.
_Amount = Annotated[int, Field(ge=0, le=2**63 - 1)]


class _Frozen(BaseModel):
    """A later minor version may add fields: they are ignored, never refused."""

    model_config = LENIENT


class Known(_Frozen):
    """Who reads a conflict knows of it: until this day (UTC, included), and why."""

    until: str
    because: str


class Change(_Frozen):
    """One action on one address. Fields that are None are unknown and stay out of the file.

    `before` is the destination's digest when planned, `recorded` the state's (live or
    tombstone), `after` what will be there. Sizes are bytes; `transfer_bytes` is the most
    that has to be sent for this row when the rows before it are done, of which `unsure_bytes` may
    be spared as well, and `spared_bytes` are mounted or there already. `detail` explains an error.
    `moved_to` is where the image of a row that is no longer wanted here goes by another row,
    `kept_as` the tag that its `before` gets first, by a row of its own. `namesakes` are addresses
    that are wanted and may be of the same place: a delete must be proven not to take them along.
    `out_of_reach` is the registry that was down, of a row that could not be decided because of it,
    `why` what such a row has in common with others.
    """

    address: Reference
    action: Action
    reason: Reason
    source: Source | None = None
    before: Digest | None = None
    after: Digest | None = None
    recorded: Digest | None = None
    media_type: str | None = None
    filter: Filter | None = None
    size: _Amount | None = None
    transfer_bytes: _Amount | None = None
    unsure_bytes: _Amount | None = None
    spared_bytes: _Amount | None = None
    # None is not known; there are none of a chart, a signature, or one image.
    platforms: tuple[str, ...] | None = None
    blobs: _Amount | None = None
    inside: tuple[str, ...] | None = None
    detail: str | None = None
    moved_to: Reference | None = None
    kept_as: Reference | None = None
    namesakes: tuple[Reference, ...] | None = None
    out_of_reach: str | None = None
    why: Cause | None = None
    # True of what is written to a repository that the destination does not have yet.
    new_repository: bool | None = None
    # What decided the form of its filter, where some of an index is left out.
    form_reason: str | None = None
    # True: layers that are not to be distributed are copied as well.
    copies_foreign: bool | None = None
    # How many of them are not; None: none, or not known.
    skipped_layers: _Amount | None = None
    # What goes along with the image, each behind what it refers to; None: nobody has looked.
    referrers: tuple[Carried, ...] | None = None
    # With their blobs, as far as that is known.
    referrer_bytes: _Amount | None = None
    # How the image's own signatures among them are kept, which decides who verifies them.
    schemes: tuple[str, ...] | None = None
    # True where the rule requires some: then the image does not go without them.
    needs_referrers: bool | None = None
    # Which kinds of them; None of a row that requires some: all that it has.
    needed_kinds: tuple[str, ...] | None = None
    # Why they, or some of them, could not be looked for; the image goes without these.
    referrers_unread: str | None = None
    # Kinds of what refers to an index that is cut, and so would match nothing there.
    referrers_left: tuple[str, ...] | None = None
    # Kinds of what is there and stays there, because the rule leaves it out.
    referrers_excluded: tuple[str, ...] | None = None
    # Kinds of what is listed at the source, and is not there.
    referrers_missing: tuple[str, ...] | None = None
    # Kinds of what the next plan brings: an adoption writes nothing.
    referrers_later: tuple[str, ...] | None = None
    # Of a conflict that the config knows: it is told apart, and decides no exit code.
    known: Known | None = None

    def line(self) -> dict[str, Any]:
        """Lay the row out for the file: the pinned fields always, the rest when known."""
        row = self.model_dump(mode="json", exclude_none=True)
        pinned = ("source", "before", "after", "recorded", "media_type")
        head = {key: row.pop(key) for key in ("address", "action", "reason")}
        return head | {key: row.pop(key, None) for key in pinned} | row

    @property
    def shared(self) -> Cause | None:
        """What this row may have in common with others that could not be decided.

        A plan of an older version tells of registries that were down alone.
        """
        if self.why is not None or self.out_of_reach is None:
            return self.why
        text = self.detail or ""
        return Cause(
            kind="out_of_reach", code=OutOfReach.number, place=self.out_of_reach, text=text
        )

    @property
    def is_over_limit(self) -> bool:
        """Tell whether it is a delete that `max_delete` stops."""
        return self.action is Action.BLOCKED and self.reason.traits.is_over_limit

    @property
    def tells_of_loss(self) -> bool:
        """Tell whether something that we had written was seen gone from its destination."""
        is_absent = self.before is None and self.recorded is not None
        is_brought = self.action in (Action.COPY, Action.MOVE)
        return self.reason.traits.is_loss or (is_absent and is_brought)

    @property
    def is_near(self) -> bool:
        """Tell whether it only gives an image of this very repository another tag."""
        return self.source is not None and (
            self.source.reference.repository == self.address.repository
        )

    @property
    def is_dangerous(self) -> bool:
        """Tell whether a reviewer must see this row first."""
        return self.section.is_dangerous or self.reason.traits.is_loss

    @property
    def is_understood(self) -> bool:
        """Tell whether this version knows enough of it to do it.

        The reason only explains what is written; of what is taken away it is all that speaks
        for it.
        """
        is_explained = self.reason.is_understood or not self.action.traits.lets_go
        return self.action.is_understood and is_explained

    @property
    def section(self) -> Section:
        """The heading that it stands under, wherever rows are shown."""
        return section_for(self.action, self.reason, is_known=self.is_known)

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


class Filters(_Frozen):
    """What `target` and `exclude` left of the whole."""

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
    state: StateBinding = Field(default_factory=StateBinding)
    # True: no state was read, so that what is ours is not known; for readers, and never applied.
    stateless: bool = False
    filters: Filters = Field(default_factory=Filters)
    # True: the rows tell who moved since the record, not what the config asks for.
    refresh_only: bool = False
    # The run, or the id of the plan, that the rows undo.
    undoes: str | None = None
    # What whoever reviews must know of how the config was read.
    notes: tuple[str, ...] = ()
    # What `max_delete` allowed instead of what the config does.
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
        return doubted_by(self.whole.changes)

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
        rows = {name: getattr(own, name) for name in OF_ROWS}
        return self.summary.model_copy(update=rows)

    @property
    def unknown(self) -> int:
        """How many rows ask for what this version does not know."""
        return sum(not change.action.is_understood for change in self.changes)

    @classmethod
    def of(cls, header: Header, changes: Iterable[Change]) -> Plan:
        """Sort and seal."""
        ordered = tuple(sorted(changes, key=lambda change: str(change.address)))
        return cls(header=header, changes=ordered, sha256=sealed(body_of(header, ordered)))

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
        body = body_of(self.header, self.changes)
        return body + line_of({"sha256": self.sha256, "changes": len(self.changes)})

    def write(self, path: Path) -> str:
        """Write the file, private; return its own sha256 (what sha256sum says).

        A file is replaced whole; a device or a pipe is written into (`files.write_output`).
        """
        data = self.encode()
        write_output(path, data)
        return hashlib.sha256(data).hexdigest()


def doubted_by(changes: Iterable[Change]) -> frozenset[Repository]:
    """Repositories from which rows saw something gone that we had written."""
    return frozenset(change.address.repository for change in changes if change.tells_of_loss)
