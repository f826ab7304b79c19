"""The lines of the `--json` stream that tell of a plan and of a run.

Each type is a frozen model, named after it: whoever writes a line makes one, and its docstring and
fields are what the schemas say of the type (`describe.py`). A field with a default is left out of
a line unless it is given. Pure.
"""

from __future__ import annotations

from imgmigrate.render.schema.forms import (
    Count,
    Counts,
    Digested,
    Failing,
    Flag,
    Line,
    Operation,
    Outcomes,
    Part,
    PlanId,
    Row,
    Seconds,
    Severity,
    Sha256,
    Summed,
    Text,
    Traffics,
)


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
    It is `saved` in a file, `saved_in` the place of a state, or in both, with that sha256.
    """

    operation: Operation
    plan_id: PlanId
    complete: Flag
    changes: Summed
    registries: Traffics
    stateless: Flag = False
    saved: Text | None = None
    file_sha256: Sha256 | None = None
    saved_in: Text | None = None
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
