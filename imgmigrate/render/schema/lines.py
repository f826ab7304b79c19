"""The lines of the `--json` stream: a frozen model for each type, named after it.

Whoever writes a line makes one; its docstring and fields are what the schemas say of the type
(`render/schema/describe.py`). Values are described here and not checked: mypy knows the fields,
tests hold what is written against the schemas, and no run may end because of what it tells. A
field with a default is left out of a line unless it is given. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, SkipValidation, WithJsonSchema

from imgmigrate.events import Outcome

Schema: TypeAlias = dict[str, Any]


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
PLAN_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}


# Of each destination registry its bytes, by what becomes of them.
TRAFFICS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "object", "additionalProperties": COUNT},
}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _one_of(*values: str) -> Schema:
    return {"enum": list(values)}


# A definition that several schemas share; `describe.py` puts a reference in its place.
SHARED = "shared"

Text = Annotated[str, SkipValidation, WithJsonSchema(TEXT)]
Flag = Annotated[bool, SkipValidation, WithJsonSchema({"type": "boolean"})]
Count = Annotated[int, SkipValidation, WithJsonSchema(COUNT)]
Seconds = Annotated[float, SkipValidation, WithJsonSchema({"type": "number", "minimum": 0})]
Time = Annotated[str, SkipValidation, WithJsonSchema(TIME)]
Day = Annotated[str, SkipValidation, WithJsonSchema({"type": "string", "format": "date"})]
Sha256 = Annotated[str, SkipValidation, WithJsonSchema(SHA256)]
PlanId = Annotated[str, SkipValidation, WithJsonSchema(PLAN_ID)]
Digested = Annotated[str, SkipValidation, WithJsonSchema({SHARED: "digest"})]

Texts = Annotated[Sequence[str], SkipValidation, WithJsonSchema(_array(TEXT))]
Counts = Annotated[
    Mapping[str, int],
    SkipValidation,
    WithJsonSchema({"type": "object", "additionalProperties": COUNT}),
]
Traffics = Annotated[
    Mapping[str, Mapping[str, int]],
    SkipValidation,
    WithJsonSchema(TRAFFICS),
]
Words = Annotated[
    Mapping[str, str],
    SkipValidation,
    WithJsonSchema({"type": "object", "additionalProperties": TEXT}),
]

Severity = Annotated[str, SkipValidation, WithJsonSchema(_one_of("error", "warning"))]
Operation = Annotated[str, SkipValidation, WithJsonSchema(_one_of("plan", "refresh", "rollback"))]
Outcomes = Annotated[
    str, SkipValidation, WithJsonSchema(_one_of(*(each.value for each in Outcome)))
]
Phases = Annotated[
    str, SkipValidation, WithJsonSchema(_one_of("running", "interrupted", "finished"))
]
Standings = Annotated[
    str, SkipValidation, WithJsonSchema(_one_of("changed", "incomplete", "unread"))
]
FaultKinds = Annotated[
    str,
    SkipValidation,
    WithJsonSchema(_one_of("absent", "changed", "missing", "size", "damaged")),
]
FaultParts = Annotated[str, SkipValidation, WithJsonSchema(_one_of("index", "manifest", "blob"))]

# What is laid out elsewhere: by the plan, the state, and the reports on a selection.
Document: TypeAlias = dict[str, Any]
Row = Annotated[Document, SkipValidation, WithJsonSchema({SHARED: "change"})]
Summed = Annotated[Document, SkipValidation, WithJsonSchema({SHARED: "summary"})]
Recorded = Annotated[Document, SkipValidation, WithJsonSchema({SHARED: "image_record"})]
RecordList = Annotated[
    Sequence[Document], SkipValidation, WithJsonSchema(_array({SHARED: "image_record"}))
]
Objects = Annotated[Sequence[Document], SkipValidation, WithJsonSchema(_array({"type": "object"}))]
ObjectLists = Annotated[
    Sequence[Sequence[Document]],
    SkipValidation,
    WithJsonSchema(_array(_array({"type": "object"}))),
]


class Part(BaseModel):
    """What lines are made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def document(self) -> dict[str, Any]:
        """Lay out what was given, in the order of the fields."""
        given, fields = self.model_fields_set, self.__dict__
        if len(given) == len(fields):
            return fields
        return {name: value for name, value in fields.items() if name in given}


class Line(Part):
    """One line of the stream."""

    type: ClassVar[str]

    def __init_subclass__(cls, **settings: Any) -> None:
        """Name the type as the class is."""
        super().__init_subclass__(**settings)
        cls.type = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


class Failing(Part):
    """Why something is not done, and which error it is, if there is one."""

    error: Text | None
    hint: Text | None
    code: Text = ""
    kind: Text = ""


class Version(Line):
    """The first line: who writes, and which version."""

    imgmigrate: Text
    ui: Text


class Diagnostic(Line):
    """An error or a warning; `code` is stable, `kind` is the error's class."""

    severity: Severity
    summary: Text
    detail: Text | None
    code: Text
    kind: Text = ""


class Listed(Line):
    """A repository's tags were listed."""

    repository: Text
    tags: Count


class PlanProgress(Line):
    """How many images were looked at."""

    done: Count
    total: Count


class PlannedChange(Line):
    """One row of the plan."""

    change: Row
    code: Text | None
    section: Text
    says: Text
    dangerous: Flag


class ChangeSummary(Line):
    """The plan as a whole; `changes` counts its rows by their actions.

    `registries` has the bytes for each destination: sent at most, unsure and spared ones.
    """

    operation: Operation
    plan_id: PlanId
    complete: Flag
    changes: Summed
    registries: Traffics
    stateless: Flag = False
    saved: Text | None = None
    file_sha256: Sha256 | None = None
    rows_left: Count = 0


class RunStart(Line):
    """An apply began; `size` is at most so many bytes, null if unknown."""

    run: Text
    plan_id: PlanId
    images: Count
    size: Count | None


class ApplyStart(Line):
    """Work on one image began."""

    address: Text


class ApplyProgress(Line):
    """How far an apply is, at most once a second.

    `left` bytes are to be sent yet, at most, at `rate` bytes a second, that of the last minute.
    """

    images: Count
    done: Count
    undone: Count
    moved: Count
    size: Count | None
    blobs_in_flight: Count
    left: Count | None
    rate: Count | None
    seconds_left: Count | None


class Undone(Part):
    """A row, and what became of it."""

    address: Text
    outcome: Outcomes


class Received(Undone):
    """What became of a row, and what it took."""

    digest: Digested | None
    moved: Count
    action: Text | None
    spared: Count


class ApplyComplete(Received, Line):
    """A row is done and recorded; `moved` bytes were sent, `spared` ones did not have to be."""


class ApplyErrored(Failing, Received, Line):
    """A row is not done."""


class Delay(Part):
    """What waits, why, and how long."""

    subject: Text
    cause: Text
    delay: Seconds


class Retry(Delay, Line):
    """Something is tried again after `delay` seconds."""


class Wait(Delay, Line):
    """Requests are held back for at most `delay` seconds."""


class RateLimit(Line):
    """A registry let `rate` requests a second through, of `kinds`, or of all; `advice` helps."""

    registry: Text
    kinds: Text | None
    rate: Seconds
    refused: Count
    advice: Text


class Login(Part):
    """A login, and how many rows need it."""

    name: Text
    rows: Count


class Refusal(Failing, Login):
    """A login that was refused."""


class Unfinished(Failing, Undone):
    """A row that is not done."""


class SharedCause(Part):
    """Why several rows are not done, and which; `text` and `hint` are of one of them."""

    kind: Text
    code: Text
    place: Text
    side: Text | None
    text: Text
    hint: Text | None
    addresses: tuple[Text, ...]


class RunSummary(Line):
    """An apply ended; `stopped` says why it ended before it had tried every row.

    `actions` counts what was done in this run, `causes` are those that several rows share.
    """

    run: Text
    plan_id: PlanId
    counts: Counts
    moved: Count
    actions: Counts
    spared: Count
    seconds: Seconds
    stopped: Text | None
    refusals: tuple[Refusal, ...]
    unfinished: tuple[Unfinished, ...]
    causes: tuple[SharedCause, ...]


class Record(Line):
    """A record of the state."""

    record: Recorded


class ImageFailure(Part):
    """An image that a run could not do."""

    address: Text
    cause: Text


class Run(Line):
    """An apply that the state remembers; `resume` goes on with it, `name` was bound by it.

    `plan_done` of `plan_rows` are done by all runs of its plan up to it. While it goes on, `moved`
    bytes are sent, and `bytes_left` are left at most.
    """

    run: Text
    plan_id: Text
    phase: Phases
    command: Text | None
    pid: Count | None
    host: Text | None
    began_at: Time
    ended_at: Time | None
    last_at: Time | None
    seconds: Seconds | None
    rows: Count | None
    done: Count
    conflicts: Count
    failed: Count
    failures: tuple[ImageFailure, ...]
    left: Count | None
    plan_rows: Count | None
    plan_done: Count
    moved: Count | None
    bytes_left: Count | None
    counts: Counts
    per_minute: Seconds | None
    seconds_left: Count | None
    resume: Text | None
    name: Text | None


class Holder(Part):
    """Who holds a lock."""

    pid: Count
    host: Text
    user: Text
    command: Text
    since: Time
    job: Text | None


class Status(Line):
    """How things stand: who holds the lock, the run that goes on, the last that does not."""

    state: Text
    name: Text | None
    locked: Flag
    holder: Holder | None
    running: Run | None
    last: Run | None


class Lock(Line):
    """Who may write the state now."""

    locked: Flag
    holder: Holder | None


class Adoption(Line):
    """How many images are at their destinations already, and could be recorded."""

    same: Count
    differing: Count
    missing: Count
    errors: Count
    take_ownership: Flag


class StateMove(Line):
    """A record that gets another address."""

    address: Text
    to: Text


class StateChange(Line):
    """What a command did to records."""

    operation: Text
    changed: Count


class Cut(Part):
    """What a repair cuts off a journal."""

    line: Count
    offset: Count
    lines: Count
    size: Count
    cause: Text


class StateSurvey(Line):
    """What is damaged, and what mending it would cut and lose."""

    state: Text
    whole: Flag
    snapshot: Text | None
    rebuilt_from: Texts
    cut: Cut | None
    lost: RecordList
    illegible: Count
    images: Count
    sequence: Count


class StateRepaired(Line):
    """A state was mended; what was damaged is kept."""

    kept: Texts


class Valid(Line):
    """The config is valid."""

    config: Text
    rules: Count
    registries: Texts
    layouts: Count
    # It is not known where the config is a stranger's.
    state: Text = ""


class Check(Part):
    """One thing that was tried of a registry."""

    name: Text
    verdict: Text
    needed: Flag
    detail: Text
    fix: Text | None


class Registry(Line):
    """What was found out about a registry."""

    host: Text
    about: Text | None
    roles: Texts
    works: Flag
    checks: tuple[Check, ...]


class LeftOver(Part):
    """What a test could not delete."""

    repository: Text
    ref: Text
    cause: Text


class WriteTest(Line):
    """What a registry was found to do by writing to it."""

    repository: Text
    at: Time
    version: Text
    facts: Words
    unknown: Words
    sibling: Text | None
    blobs: Count
    left: tuple[LeftOver, ...]
    kept_days: Count | None


class ValidateSummary(Line):
    """Whether the registries do what the rules need."""

    works: Flag


class Pinned(Part):
    """Which image an address gets."""

    source: Text
    digest: Digested


class Pin(Line):
    """A pin that is new, moved or gone."""

    address: Text
    change: Text
    before: Pinned | None
    after: Pinned | None


class PinError(Line):
    """A source that could not be read."""

    address: Text
    reason: Text
    code: Text | None
    detail: Text


class PinSummary(Line):
    """How many pins had what happen."""

    saved: Text | None
    counts: Counts


class Acknowledged(Line):
    """A conflict that is known from now on; `wrote` tells whether it was noted, or only shown."""

    address: Text
    digest: Digested
    until: Day
    because: Text
    file: Text
    wrote: Flag


class VerifyProgress(Line):
    """How many images were looked at; `read` is in bytes, null unless all are read."""

    done: Count
    total: Count
    read: Count | None


class Fault(Part):
    """What is wrong with a part of an image."""

    kind: FaultKinds
    part: FaultParts
    digest: Digested | None
    size: Count | None
    found: Text | None


class Judged(Part):
    """An image and its faults."""

    address: Text
    digest: Digested | None
    standing: Standings
    faults: tuple[Fault, ...]
    more_faults: Count


class VerifyImage(Failing, Judged, Line):
    """An image that is not whole, or could not be read; `digest` is what should be there."""


class VerifySummary(Line):
    """How many images are whole; `mend` is the command that writes the others again."""

    images: Count
    counts: Counts
    blobs: Count
    size: Count
    deep: Flag
    mend: Text | None


class Selection(Line):
    """Which tags a rule selects, and why the others drop out."""

    rule: Count
    file: Text
    line: Count
    source: Text
    address: Text = ""
    fates: Objects = ()
    listed: Count = 0
    skipped: Count = 0
    skipped_names: Texts = ()
    filters: ObjectLists = ()
    selected: Texts = ()
    shortages: Texts = ()
    dangling: Texts = ()
    error: Text = ""


def line_types() -> dict[str, type[Line]]:
    """Find every type of line by its name."""
    return {
        each.type: each
        for each in globals().values()
        if isinstance(each, type) and issubclass(each, Line) and each is not Line
    }
