"""Say what an apply did, as one in-toto statement: its subjects are the images that are there now.

Pure. Whoever has it needs neither the plan nor the state to check what a destination shows.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imgmigrate.oci.reference import Digest
from imgmigrate.plan.sealing import body_of, sealed
from imgmigrate.signing.dsse import make_statement
from imgmigrate.vocabulary.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from imgmigrate.events import Receipt, RunFinished
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change, Plan

__all__ = ["PREDICATE", "run_statement"]

PREDICATE = "urn:imgmigrate:apply:1"
# Rows for which somebody set aside what would have kept the image from being written.
_OVERRIDES = (
    Reason.OVERWRITE_ALLOWED,
    Reason.OVERWRITE_ALWAYS,
    Reason.OVERWRITE_EQUIVALENT,
    Reason.REPLACE,
    Reason.TAKE_OWNERSHIP,
)


def run_statement(
    plan: Plan,
    finished: RunFinished | None,
    receipts: Mapping[Reference, Receipt],
    *,
    at: str,
    version: str,
    host: str = "",
) -> bytes:
    """Tell of a plan what became of each row; `finished` is None where nothing was to be done.

    `at` is when that was over (RFC 3339), `host` the machine that did it.
    """
    images = [(change, receipts.get(change.address)) for change in plan.changes]
    present = [
        (str(change.address), digest)
        for change, receipt in images
        if (digest := _shown(change, receipt)) is not None
    ]
    header, whole = plan.whole.header, plan.whole
    file_sha256 = _file_sha256(whole)
    predicate = {
        "tool": {"name": "imgmigrate", "version": version},
        "run": None if finished is None else finished.run,
        "ended_at": at,
        "host": host,
        "plan": {
            "id": plan.plan_id,
            "sha256": file_sha256,
            "created_at": header.created_at,
            "config_sha256": header.config_sha256,
            "lock_sha256": header.lock_sha256,
            "git_commit": header.git_commit,
            "undoes": header.undoes,
            "is_whole": plan.part_of is None,
        },
        "counts": {} if finished is None else {each.value: n for each, n in _sorted(finished)},
        "stopped": None if finished is None else finished.stopped,
        "images": [_told(change, receipt) for change, receipt in images],
        "overrides": list(_overrides(plan)),
    }
    if not present:  # a statement needs a subject
        present = [("plan", Digest.parse(f"sha256:{file_sha256 or whole.sha256}"))]
    return make_statement(present, PREDICATE, predicate)


def _file_sha256(plan: Plan) -> str | None:
    """What sha256sum prints for its file; None for one that a later version wrote."""
    is_known = sealed(body_of(plan.header, plan.changes)) == plan.sha256
    return hashlib.sha256(plan.encode()).hexdigest() if is_known else None


def _shown(change: Change, receipt: Receipt | None) -> Digest | None:
    """What the address of a row shows, as far as this run knows that it does."""
    if receipt is None or not receipt.outcome.is_done or change.after is None:
        return None
    return receipt.digest or change.after


def _told(change: Change, receipt: Receipt | None) -> dict[str, Any]:
    source = change.source
    told: dict[str, Any] = {
        "address": str(change.address),
        "action": change.action.value,
        "reason": change.reason.value,
        "outcome": None if receipt is None else receipt.outcome.value,
        "source": None
        if source is None
        else {"reference": str(source.reference), "digest": source.digest},
        "before": change.before,
        "digest": _shown(change, receipt),
    }
    if change.referrers:
        told["referrers"] = [asdict(each) for each in change.referrers]
    if change.filter is not None:
        told["filter"] = change.filter.model_dump(mode="json")
    if change.copies_foreign:
        told["copies_foreign"] = True
    error = receipt.error if receipt is not None else None
    if (text := str(error) if error is not None else change.detail) is not None:
        told["error"] = text
    return told


def _overrides(plan: Plan) -> Iterator[dict[str, Any]]:
    """What was allowed that is not done by itself, with the reasons that somebody gave."""
    if plan.whole.header.max_delete is not None:
        yield {"allowed": "max_delete", "value": plan.whole.header.max_delete}
    for change in plan.changes:
        if change.known is not None:
            until, because = change.known.until, change.known.because
            yield {"address": str(change.address), "known_until": until, "because": because}
        elif change.reason in _OVERRIDES:
            yield {"address": str(change.address), "allowed": change.reason.value}


def _sorted(finished: RunFinished) -> Collection[tuple[Any, int]]:
    return sorted(finished.counts.items())
