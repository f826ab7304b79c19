"""The lines of the `--json` stream by which single commands report.

Each type is a frozen model, named after it: whoever writes a line makes one, and its docstring and
fields are what the schemas say of the type (`describe.py`). A field with a default is left out of
a line unless it is given. Pure.
"""

from __future__ import annotations

from imgmigrate.render.schema.forms import (
    Count,
    Counts,
    Day,
    Digested,
    Failing,
    FaultKinds,
    FaultParts,
    Flag,
    Likenesses,
    Line,
    ObjectLists,
    Objects,
    Part,
    Phases,
    PlanId,
    Recorded,
    RecordList,
    Seconds,
    Sha256,
    Standings,
    Text,
    Texts,
    Time,
    Words,
)


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


class KeptPlan(Line):
    """A plan that is kept where the state is; `run` is the last that applied it."""

    sha256: Sha256
    plan_id: PlanId
    saved_at: Time
    config: Text | None
    run: Text | None
    applied_at: Time | None


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


class AlongWith(Part):
    """A signature, SBOM or the like; `tag` is cosign's."""

    kind: Text
    digest: Digested
    refers_to: Digested
    tag: Text | None


class Fault(Part):
    """What is wrong with a part of an image, or of the `referrer` that goes along with it."""

    kind: FaultKinds
    part: FaultParts
    digest: Digested | None
    size: Count | None
    found: Text | None
    referrer: AlongWith | None = None


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
    """How many images are whole; `mend` is the command that writes the others again.

    Of a sample `sample_of` is what it was chosen from. `referrers` are signatures and the like that
    were looked at, `requests` what it all took; of `pending` images they are not known.
    """

    images: Count
    counts: Counts
    blobs: Count
    size: Count
    deep: Flag
    mend: Text | None
    referrers: Count
    requests: Count
    sample_of: Count | None
    pending: Count


class CompareImage(Failing, Line):
    """How one name compares; `referrers_here` and `referrers_there` are what one side alone has.

    With `same_images` both are indexes of the same images, in other bytes.
    """

    here: Text
    there: Text
    likeness: Likenesses
    digest_here: Digested | None
    digest_there: Digested | None
    same_images: Flag
    referrers_here: tuple[AlongWith, ...]
    referrers_there: tuple[AlongWith, ...]


class CompareSummary(Line):
    """How many images compare how, and how many requests that took."""

    images: Count
    counts: Counts
    requests: Count


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
