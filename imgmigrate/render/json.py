"""Say everything as data: a versioned stream of JSON Lines, and what is shown of plans and states.

Every line of the stream has `type`, `@level`, `@message` and `@timestamp`; a reader ignores
types it does not know. Each type is a model of `render/schema/lines.py` or `report_lines.py`. The
first line is `version`; its `ui` changes its major only when a field goes away. The shape follows
Terraform's machine-readable UI. What `show` writes is JSON Lines too, each with `type`; its first
line has `kind` and `format_version`. `imgmigrate.schemas` describes every line.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from imgmigrate import __version__
from imgmigrate.causes import cause_of, grouped
from imgmigrate.events import (
    Checked,
    ImageFinished,
    ImageStarted,
    Listed,
    NamesSkipped,
    Observed,
    RateLearnt,
    Retrying,
    RunFinished,
    RunStarted,
    Waiting,
    Warned,
)
from imgmigrate.plan.summary import traffic_of
from imgmigrate.redaction import printable
from imgmigrate.render.causes import hint_text, why_text
from imgmigrate.render.changes.tally import Tally
from imgmigrate.render.errors import causes, facts_of, failure_of, hint_of, message_of
from imgmigrate.render.facts import meaning_of
from imgmigrate.render.options import spoken
from imgmigrate.render.schema import lines, report_lines
from imgmigrate.render.schema.forms import Line, Part
from imgmigrate.render.units import count
from imgmigrate.render.words import headline_of, outcome_text, rate_text, reason
from imgmigrate.state.record import RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from imgmigrate.events import Event, Receipt
    from imgmigrate.plan import Change, Plan
    from imgmigrate.state.record import ImageRecord, State

__all__ = [
    "UI_VERSION",
    "JsonStream",
    "document_line",
    "plan_documents",
    "repositories_document",
    "state_document",
]

UI_VERSION = "1.0"
DOCUMENT_VERSION = "1.0"
# A byte counter moves thousands of times a second; nobody reads it so often.
PROGRESS_SECONDS = 1.0

Level = Literal["info", "warn", "error"]

# JSON lets them stand in a text as they are: controls beyond ASCII, and what reorders or hides
# text on a terminal.
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# One for all lines: making it takes as long as printing a short one.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=Part.document)


def _now() -> str:
    return _said(time.time_ns() // 1_000_000)


# Of a large plan dozens of lines are written within the same millisecond.
@lru_cache(maxsize=1)
def _said(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonStream:
    """A sink that writes one JSON object a line; `write` takes a line without its newline."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        now: Callable[[], str] = _now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._now, self._clock = write, now, clock
        self.tally = Tally(clock)
        self._spoke = clock()
        version = lines.Version(imgmigrate=__version__, ui=UI_VERSION)
        self.line(version, f"imgmigrate {__version__}")

    def line(self, line: Line, message: str, level: Level = "info") -> None:
        """Write one line."""
        document = {
            "type": line.type,
            "@level": level,
            "@message": printable(message),
            "@timestamp": self._now(),
            **line.document(),
        }
        self._write(document_line(document))

    def emit(self, event: Event) -> None:
        """Write what an event says; byte counts are gathered into one line a second."""
        event = event.warning if isinstance(event, NamesSkipped) else event
        self.tally.emit(event)
        match event:
            case Listed():
                name = str(event.repository)
                message = f"{name}: {count(event.tags, 'tag')}"
                self.line(lines.Listed(repository=name, tags=event.tags), message)
            case RunStarted():
                begun = lines.RunStart(
                    run=event.run, plan_id=event.plan_id, images=event.images, size=event.size
                )
                self.line(begun, f"run {event.run} of plan {event.plan_id} began")
            case ImageStarted():
                name = str(event.address)
                self.line(lines.ApplyStart(address=name), f"{name}: started")
            case ImageFinished():
                self._finished(event.receipt)
            case Retrying():
                retry = lines.Retry(**_waiting(event))
                self.line(retry, f"{event.subject}: {event.cause}", "warn")
            case Waiting():
                self.line(lines.Wait(**_waiting(event)), f"{event.subject}: {event.cause}")
            case Warned():
                self.warning(event.code, event.message)
            case RateLearnt():
                self._rate(event)
            case RunFinished():
                for rate in event.rates:
                    self._rate(rate)
                self._summary(event)
            case _:
                self._progress(event)

    def plan(self, plan: Plan, rows: Sequence[Change] | None = None, **fields: Any) -> None:
        """Write one line a change, then their summary, with further `fields` of it."""
        for change in plan.changes if rows is None else rows:
            message = f"{change.address}: {change.action.value} ({reason(change)})"
            level: Level = "warn" if change.is_dangerous else "info"
            row = lines.PlannedChange(change=change.line(), **meaning_of(change))
            self.line(row, message, level)
        summary = lines.ChangeSummary(
            operation=_operation(plan),
            plan_id=plan.plan_id,
            complete=plan.header.complete,
            changes=_summary(plan),
            registries=_registries(plan),
            stateless=plan.header.stateless,
            **fields,
        )
        self.line(summary, headline_of(plan))

    def error(self, error: BaseException) -> None:
        """Write a failure as diagnostics, one for each cause."""
        for cause in causes(error):
            message = message_of(cause)
            diagnostic = lines.Diagnostic(
                severity="error", summary=message, detail=hint_of(cause), **facts_of(cause)
            )
            self.line(diagnostic, f"Error: {message}", "error")

    def warning(self, code: str, message: str) -> None:
        """Write a warning as a diagnostic; `code` is stable."""
        message = spoken(message)
        diagnostic = lines.Diagnostic(
            severity="warning", summary=printable(message), detail=None, code=code
        )
        self.line(diagnostic, f"Warning: {message}", "warn")

    def records(self, records: Iterable[ImageRecord]) -> None:
        """Write one line a record of the state."""
        for record in records:
            document = RECORDS.dump_python(record, mode="json", exclude_none=True)
            message = f"{record.address}: {record.status.value}"
            self.line(report_lines.Record(record=document), message)

    def _finished(self, receipt: Receipt) -> None:
        name, outcome = str(receipt.address), receipt.outcome
        fields: dict[str, Any] = {
            "address": name,
            "outcome": outcome.value,
            "digest": receipt.digest,
            "moved": receipt.moved,
            "action": receipt.action and receipt.action.value,
            "spared": receipt.spared,
        }
        message = f"{name}: {outcome_text(receipt)}"
        if outcome.is_done:
            self.line(lines.ApplyComplete(**fields), message)
        else:
            failure = lines.ApplyErrored(**fields, **failure_of(receipt.error))
            self.line(failure, message, "error")

    def _progress(self, event: Event) -> None:
        now, tally = self._clock(), self.tally
        if now - self._spoke < PROGRESS_SECONDS:
            return
        self._spoke = now
        if isinstance(event, Checked):
            message = f"{event.done:,} of {count(event.total, 'image')} looked at"
            looked = report_lines.VerifyProgress(
                done=event.done, total=event.total, read=event.read
            )
            self.line(looked, message)
            return
        if isinstance(event, Observed):
            message = f"{event.done:,} of {count(event.total, 'image')} looked at"
            self.line(lines.PlanProgress(done=event.done, total=event.total), message)
            return
        left = tally.seconds_left
        progress = lines.ApplyProgress(
            images=tally.images,
            done=tally.done,
            undone=tally.undone,
            moved=tally.moved,
            size=tally.size,
            blobs_in_flight=len(tally.blobs),
            left=tally.left,
            rate=None if tally.rate is None else round(tally.rate),
            seconds_left=None if left is None else round(left),
        )
        self.line(progress, f"{tally.done:,} of {count(tally.images, 'image')} done")

    def _rate(self, event: RateLearnt) -> None:
        limit = lines.RateLimit(
            registry=printable(event.registry),
            kinds=printable(event.kinds) or None,
            rate=round(event.rate, 3),
            refused=event.refused,
            advice=event.advice,
        )
        self.line(limit, rate_text(event))

    def _summary(self, event: RunFinished) -> None:
        counts = {outcome.value: number for outcome, number in event.counts.items()}
        summary = lines.RunSummary(
            run=event.run,
            plan_id=event.plan_id,
            counts=counts,
            moved=event.moved,
            actions={action.value: number for action, number in event.actions.items()},
            spared=event.spared,
            seconds=round(event.seconds, 3),
            stopped=event.stopped and printable(spoken(event.stopped)),
            refusals=tuple(
                lines.Refusal(
                    name=printable(each.name), rows=len(each.rows), **failure_of(each.error)
                )
                for each in event.refusals
            ),
            unfinished=tuple(
                lines.Unfinished(
                    address=str(each.address),
                    outcome=each.outcome.value,
                    **failure_of(each.error),
                )
                for each in event.unfinished
            ),
            causes=tuple(
                lines.SharedCause(
                    kind=cause.kind,
                    code=cause.code,
                    place=printable(cause.place),
                    side=cause.side,
                    text=why_text(cause),
                    hint=hint_text(cause),
                    addresses=tuple(str(each.address) for each in rows),
                )
                for cause, rows in grouped(
                    event.unfinished, lambda receipt: cause_of(receipt.error)
                )[0]
            ),
        )
        words = [f"{number} {word}" for word, number in counts.items() if number]
        message = "; ".join(words) or "nothing to do"
        self.line(summary, message, "warn" if event.unfinished else "info")


def _waiting(event: Retrying | Waiting) -> dict[str, Any]:
    return {
        "subject": printable(event.subject),
        "cause": printable(event.cause),
        "delay": event.delay,
    }


def document_line(document: dict[str, Any]) -> str:
    """Print a document as one line, without its newline."""
    text = _ENCODER.encode(document)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plan_documents(plan: Plan, rows: Sequence[Change] | None = None) -> Iterator[dict[str, Any]]:
    """Lay out a plan as lines: its header and id, the rows that were asked for, their number.

    A reader that has not seen the `end` has not read all.
    """
    changes = plan.changes if rows is None else rows
    yield {
        "type": "plan",
        **plan.header.model_dump(mode="json", by_alias=True),
        "summary": _summary(plan),
        "plan_id": plan.plan_id,
        "sha256": plan.sha256,
        "registries": _registries(plan),
        "errored": plan.counted.error > 0,
    }
    for change in changes:
        yield {"type": "change", **change.line(), **meaning_of(change)}
    yield {"type": "end", "changes": len(changes), "of": len(plan.changes)}


def repositories_document(plan: Plan, rows: Sequence[Change] | None = None) -> dict[str, Any]:
    """Lay out in one document the destination repositories that rows need and that are not there.

    For whoever creates them; `namespace` is the first part of a path, which may be a project.
    """
    changes = plan.changes if rows is None else rows
    new = Counter(each.address.repository for each in changes if each.new_repository)
    return {
        "type": "repositories",
        "format_version": DOCUMENT_VERSION,
        "kind": "imgmigrate.repositories",
        "plan_id": plan.plan_id,
        "repositories": [
            {
                "registry": each.store,
                "repository": each.path,
                "namespace": each.path.partition("/")[0] if "/" in each.path else None,
                "images": images,
            }
            for each, images in sorted(new.items())
        ],
    }


def state_document(state: State) -> dict[str, Any]:
    """Lay out in one line what a state holds, without its records (`state list --json`)."""
    return {
        "type": "state",
        "format_version": DOCUMENT_VERSION,
        "kind": "imgmigrate.state_summary",
        "lineage": state.lineage,
        "name": state.name,
        "place": state.place,
        "sequence": state.sequence,
        "head": state.head,
        "images": state.live_count,
        "records": state.record_count,
        "claims": len(state.claims),
        "runs": [run.model_dump(mode="json") for run in state.runs],
    }


def _registries(plan: Plan) -> dict[str, dict[str, int]]:
    return {store: each.model_dump() for store, each in traffic_of(plan.changes).items()}


def _operation(plan: Plan) -> str:
    if plan.header.undoes:
        return "rollback"
    return "refresh" if plan.header.refresh_only else "plan"


def _summary(plan: Plan) -> dict[str, Any]:
    return plan.counted.model_dump(mode="json", by_alias=True)
