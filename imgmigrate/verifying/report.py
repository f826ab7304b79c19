"""What a verification proved, image by image, as plain data that a file or a signature can hold.

Pure: records or rows, what was found, and what is known of runs and plans come in; a `Report` goes
out. How it is written is `render`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field
from pydantic import BaseModel, ConfigDict

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Reference  # noqa: TC001
from imgmigrate.state.record import Carried, Filter  # noqa: TC001
from imgmigrate.verifying.verdict import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imgmigrate.config.known import KnownConflict
    from imgmigrate.plan import Change
    from imgmigrate.state.record import ImageRecord, Run
    from imgmigrate.verifying.evidence import Stated
    from imgmigrate.verifying.verdict import Fault, Verdict, Verified

__all__ = [
    "Image",
    "KnownPlan",
    "Method",
    "Origin",
    "Report",
    "Subject",
    "of_change",
    "of_record",
    "of_stated",
    "report_of",
]

FORMAT_VERSION = "1.0"
KIND: Literal["imgmigrate.verify_report"] = "imgmigrate.verify_report"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Override(_Frozen):
    """What was done although the destination showed something that was not ours, and why."""

    what: str
    because: str | None = None


class FaultFound(_Frozen):
    """What is wrong with a part of an image, or of what goes along with it."""

    kind: str
    part: str
    digest: Digest | None = None
    size: int | None = None
    found: str | None = None
    referrer: Digest | None = None


class Image(_Frozen):
    """One image: what should be there, who brought it, and what was found.

    `digest_before` is its digest at the source, `digest_after` that at the destination; they differ
    where a `filter` chose platforms. `referrers` is null where nobody has looked for them.
    `plan_id` begins the hash that closes the plan's file, `plan_sha256` is that of the whole file,
    where it is known. `applied_on` is the machine of the run that wrote it, `applied_by` its
    command; `approved_by` is null as long as no run records that.
    """

    address: Reference
    source: Reference | None
    digest_before: Digest | None
    digest_after: Digest | None
    filter: Filter | None
    copies_foreign: bool
    referrers: tuple[Carried, ...] | None
    plan_id: str | None
    plan_sha256: str | None
    config_commit: str | None
    run: str | None
    applied_at: str | None
    applied_on: str | None
    applied_by: str | None
    approved_by: str | None
    overrides: tuple[Override, ...]
    standing: str
    faults: tuple[FaultFound, ...]
    more_faults: int
    error: str | None


class Method(_Frozen):
    """How it was verified: against what, whether each byte was read, and which part of how many."""

    against: str
    deep: bool
    referrers: bool = True
    sample: str | None = None
    sample_of: int | None = None


class Report(_Frozen):
    """What a verification proved; `counts` are of images by how they stand."""

    format_version: str
    kind: Literal["imgmigrate.verify_report"]
    tool_version: str
    created_at: str
    config: str | None
    config_sha256: str | None
    state_lineage: str | None
    state_sequence: int | None
    method: Method
    whole: bool
    counts: dict[str, int]
    blobs: int
    size: int
    referrers: int
    requests: int
    images: tuple[Image, ...]


class KnownPlan(Struct, frozen=True):
    """What is known of a plan beside its id; `overrides` are by address."""

    sha256: str | None = None
    commit: str | None = None
    overrides: Mapping[Reference, str] = field(default_factory=dict)


class Subject(Struct, frozen=True):
    """One image to report on, of a record or of a plan's row."""

    address: Reference
    source: Reference | None
    digest_before: Digest | None
    digest_after: Digest | None
    filter: Filter | None
    copies_foreign: bool
    referrers: tuple[Carried, ...] | None
    plan_id: str | None = None
    run: str | None = None
    applied_at: str | None = None


class Origin(Struct, frozen=True):
    """Where the report comes from: which tool, config and state, and when."""

    tool_version: str
    created_at: str
    config: str | None = None
    config_sha256: str | None = None
    lineage: str | None = None
    sequence: int | None = None


def of_record(record: ImageRecord) -> Subject:
    """Say of a record what a report tells."""
    return Subject(
        address=record.address,
        source=record.source.reference,
        digest_before=record.source.digest,
        digest_after=record.digest,
        filter=record.filter,
        copies_foreign=bool(record.copies_foreign),
        referrers=record.referrers,
        plan_id=record.plan_id,
        run=record.run,
        applied_at=record.at,
    )


def of_change(change: Change, plan_id: str) -> Subject:
    """Say of a plan's row what a report tells; who applied it, only a state knows."""
    return Subject(
        address=change.address,
        source=change.source.reference if change.source else None,
        digest_before=change.source.digest if change.source else None,
        digest_after=change.after,
        filter=change.filter,
        copies_foreign=bool(change.copies_foreign),
        referrers=change.referrers,
        plan_id=plan_id,
    )


def of_stated(stated: Stated) -> Subject:
    """Say of an image of another report what a report tells."""
    return Subject(
        address=stated.address,
        source=None,
        digest_before=None,
        digest_after=stated.digest,
        filter=stated.filter,
        copies_foreign=stated.copies_foreign,
        referrers=stated.referrers,
    )


def report_of(
    subjects: Iterable[Subject],
    verified: Verified,
    method: Method,
    origin: Origin,
    *,
    runs: Iterable[Run] = (),
    plans: Mapping[str, KnownPlan] | None = None,
    known: Sequence[KnownConflict] = (),
) -> Report:
    """Put together what is known of each image with what was found; `plans` are by their ids."""
    verdicts = {verdict.address: verdict for verdict in verified.verdicts}
    by_name = {run.run: run for run in runs}
    images = tuple(
        _image(
            one,
            verdicts.get(one.address),
            by_name.get(one.run or ""),
            (plans or {}).get(one.plan_id or "", KnownPlan()),
            known,
        )
        for one in subjects
    )
    return Report(
        format_version=FORMAT_VERSION,
        kind=KIND,
        tool_version=origin.tool_version,
        created_at=origin.created_at,
        config=origin.config,
        config_sha256=origin.config_sha256,
        state_lineage=origin.lineage,
        state_sequence=origin.sequence,
        method=method,
        whole=not verified.verdicts,
        counts={standing.value: verified.count(standing) for standing in Standing},
        blobs=verified.blobs,
        size=verified.size,
        referrers=verified.referrers,
        requests=verified.requests,
        images=images,
    )


def _image(
    one: Subject,
    verdict: Verdict | None,
    run: Run | None,
    plan: KnownPlan,
    known: Sequence[KnownConflict],
) -> Image:
    overrides = [
        Override(what="known conflict", because=each.because)
        for each in known
        if each.concerns(one.address)
    ]
    if (reason := plan.overrides.get(one.address)) is not None:
        overrides.insert(0, Override(what=reason))
    return Image(
        address=one.address,
        source=one.source,
        digest_before=one.digest_before,
        digest_after=one.digest_after,
        filter=one.filter,
        copies_foreign=one.copies_foreign,
        referrers=one.referrers,
        plan_id=one.plan_id,
        plan_sha256=plan.sha256,
        config_commit=plan.commit,
        run=one.run,
        applied_at=one.applied_at,
        applied_on=run.host or None if run else None,
        applied_by=run.command or None if run else None,
        approved_by=None,
        overrides=tuple(overrides),
        standing=(verdict.standing if verdict else Standing.WHOLE).value,
        faults=tuple(map(_fault, verdict.faults)) if verdict else (),
        more_faults=verdict.more if verdict else 0,
        error=str(verdict.error) if verdict and verdict.error else None,
    )


def _fault(fault: Fault) -> FaultFound:
    return FaultFound(
        kind=fault.kind.value,
        part=fault.part,
        digest=fault.digest,
        size=fault.size,
        found=fault.found,
        referrer=fault.referrer.digest if fault.referrer else None,
    )
