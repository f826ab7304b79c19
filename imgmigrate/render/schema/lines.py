"""What the lines of the `--json` stream tell, as tables: type -> meaning, fields, further fields.

A line is laid out where it is written; whoever adds a type or a field adds it here, and writes
the schemas anew (`render/schema/describe.py`). Pure.
"""

from __future__ import annotations

from typing import Any

from imgmigrate.events import Outcome

__all__ = [
    "COUNT",
    "DIGEST",
    "FLAG",
    "LINES",
    "MEANING",
    "PLAN_ID",
    "SHA256",
    "TEXT",
    "TIME",
    "Schema",
    "a_list",
    "an_object",
    "maybe",
    "ref",
]

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "number", "minimum": 0}
TEXTS: Schema = {"type": "array", "items": TEXT}
COUNTS: Schema = {"type": "object", "additionalProperties": COUNT}
OBJECT: Schema = {"type": "object"}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
PLAN_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
# Another algorithm may come (OCI image-spec, "Descriptors": registered algorithms).
DIGEST: Schema = {"type": "string", "pattern": "^[a-z0-9]+:[0-9a-f]{32,}$"}
TIME: Schema = {"type": "string", "format": "date-time"}


def maybe(schema: Schema) -> Schema:
    """Allow null."""
    return {"anyOf": [schema, {"type": "null"}]}


def a_list(items: Schema) -> Schema:
    """Describe an array."""
    return {"type": "array", "items": items}


def an_object(required: Schema, optional: Schema | None = None) -> Schema:
    """Describe an object by its fields; it may always have further ones."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def ref(name: str) -> Schema:
    """Refer to a definition."""
    return {"$ref": f"#/$defs/{name}"}


_OUTCOME: Schema = {"enum": [each.value for each in Outcome]}
# What a row that is not done says about why, and which error it is, if there is one.
_FAILURE = {"error": maybe(TEXT), "hint": maybe(TEXT)}
# What the names of a plan's row mean: the reason's code, the heading, the reason in words.
MEANING: Schema = {"code": maybe(TEXT), "section": TEXT, "says": TEXT, "dangerous": FLAG}
_WHICH = {"code": TEXT, "kind": TEXT}
_RECEIPT = {
    "address": TEXT,
    "outcome": _OUTCOME,
    "digest": maybe(ref("digest")),
    "moved": COUNT,
}
_WAITING = {"subject": TEXT, "cause": TEXT, "delay": SECONDS}
_CHECK = an_object(
    {"name": TEXT, "verdict": TEXT, "needed": FLAG, "detail": TEXT, "fix": maybe(TEXT)}
)
_PINNED = maybe(an_object({"source": TEXT, "digest": ref("digest")}))

_HOLDER = an_object(
    {"pid": COUNT, "host": TEXT, "user": TEXT, "command": TEXT, "since": TIME, "job": maybe(TEXT)}
)
_CUT = an_object({"line": COUNT, "offset": COUNT, "lines": COUNT, "size": COUNT, "cause": TEXT})

# type -> what it tells, the fields that it always has, and those that it may have.
LINES: dict[str, tuple[str, Schema, Schema]] = {
    "version": (
        "The first line: who writes, and which version.",
        {"imgmigrate": TEXT, "ui": TEXT},
        {},
    ),
    "diagnostic": (
        "An error or a warning; `code` is stable, `kind` is the error's class.",
        {
            "severity": {"enum": ["error", "warning"]},
            "code": TEXT,
            "summary": TEXT,
            "detail": maybe(TEXT),
        },
        {"kind": TEXT},
    ),
    "listed": ("A repository's tags were listed.", {"repository": TEXT, "tags": COUNT}, {}),
    "plan_progress": ("How many images were looked at.", {"done": COUNT, "total": COUNT}, {}),
    "planned_change": ("One row of the plan.", {"change": ref("change"), **MEANING}, {}),
    "change_summary": (
        "The plan as a whole; `changes` counts its rows by their actions.",
        {
            "operation": {"enum": ["plan", "refresh", "rollback"]},
            "plan_id": PLAN_ID,
            "complete": FLAG,
            "changes": ref("summary"),
        },
        {"stateless": FLAG, "saved": maybe(TEXT), "file_sha256": maybe(SHA256)},
    ),
    "run_start": (
        "An apply began; `size` is at most so many bytes, null if unknown.",
        {"run": TEXT, "plan_id": PLAN_ID, "images": COUNT, "size": maybe(COUNT)},
        {},
    ),
    "apply_start": ("Work on one image began.", {"address": TEXT}, {}),
    "apply_progress": (
        "How far an apply is, at most once a second.",
        {
            "images": COUNT,
            "done": COUNT,
            "undone": COUNT,
            "moved": COUNT,
            "size": maybe(COUNT),
            "blobs_in_flight": COUNT,
        },
        {},
    ),
    "apply_complete": ("A row is done and recorded; `moved` is in bytes.", _RECEIPT, {}),
    "apply_errored": ("A row is not done.", {**_RECEIPT, **_FAILURE}, _WHICH),
    "retry": ("Something is tried again after `delay` seconds.", _WAITING, {}),
    "wait": ("Requests are held back for at most `delay` seconds.", _WAITING, {}),
    "rate_limit": (
        "A registry let `rate` requests a second through, of `kinds`, or of all; `advice` helps.",
        {
            "registry": TEXT,
            "kinds": maybe(TEXT),
            "rate": SECONDS,
            "refused": COUNT,
            "advice": TEXT,
        },
        {},
    ),
    "run_summary": (
        "An apply ended; `stopped` says why it ended before it had tried every row.",
        {
            "run": TEXT,
            "plan_id": PLAN_ID,
            "counts": COUNTS,
            "moved": COUNT,
            "seconds": SECONDS,
            "stopped": maybe(TEXT),
            "refusals": a_list(an_object({"name": TEXT, "rows": COUNT, **_FAILURE}, _WHICH)),
            "unfinished": a_list(
                an_object({"address": TEXT, "outcome": _OUTCOME, **_FAILURE}, _WHICH)
            ),
        },
        {},
    ),
    "record": ("A record of the state.", {"record": ref("image_record")}, {}),
    "run": (
        "An apply that the state remembers; `resume` goes on with it, `name` was bound by it.",
        {
            "run": TEXT,
            "plan_id": TEXT,
            "phase": {"enum": ["running", "interrupted", "finished"]},
            "command": maybe(TEXT),
            "pid": maybe(COUNT),
            "host": maybe(TEXT),
            "began_at": TIME,
            "ended_at": maybe(TIME),
            "last_at": maybe(TIME),
            "seconds": maybe(SECONDS),
            "rows": maybe(COUNT),
            "done": COUNT,
            "conflicts": COUNT,
            "failed": COUNT,
            "failures": a_list(an_object({"address": TEXT, "cause": TEXT})),
            "left": maybe(COUNT),
            "counts": COUNTS,
            "per_minute": maybe(SECONDS),
            "seconds_left": maybe(COUNT),
            "resume": maybe(TEXT),
            "name": maybe(TEXT),
        },
        {},
    ),
    "status": (
        "How things stand: who holds the lock, the run that goes on, the last that does not.",
        {
            "state": TEXT,
            "name": maybe(TEXT),
            "locked": FLAG,
            "holder": maybe(_HOLDER),
            "running": maybe(ref("run")),
            "last": maybe(ref("run")),
        },
        {},
    ),
    "lock": ("Who may write the state now.", {"locked": FLAG, "holder": maybe(_HOLDER)}, {}),
    "adoption": (
        "How many images are at their destinations already, and could be recorded.",
        {
            "same": COUNT,
            "differing": COUNT,
            "missing": COUNT,
            "errors": COUNT,
            "take_ownership": FLAG,
        },
        {},
    ),
    "state_move": ("A record that gets another address.", {"address": TEXT, "to": TEXT}, {}),
    "state_change": ("What a command did to records.", {"operation": TEXT, "changed": COUNT}, {}),
    "state_survey": (
        "What is damaged, and what mending it would cut and lose.",
        {
            "state": TEXT,
            "whole": FLAG,
            "snapshot": maybe(TEXT),
            "rebuilt_from": TEXTS,
            "cut": maybe(_CUT),
            "lost": a_list(ref("image_record")),
            "illegible": COUNT,
            "images": COUNT,
            "sequence": COUNT,
        },
        {},
    ),
    "state_repaired": ("A state was mended; what was damaged is kept.", {"kept": TEXTS}, {}),
    "valid": (
        "The config is valid.",
        {"config": TEXT, "rules": COUNT, "registries": TEXTS, "layouts": COUNT},
        # It is not known where the config is a stranger's.
        {"state": TEXT},
    ),
    "registry": (
        "What was found out about a registry.",
        {
            "host": TEXT,
            "about": maybe(TEXT),
            "roles": TEXTS,
            "works": FLAG,
            "checks": a_list(_CHECK),
        },
        {},
    ),
    "write_test": (
        "What a registry was found to do by writing to it.",
        {
            "repository": TEXT,
            "at": TIME,
            "version": TEXT,
            "facts": {"type": "object", "additionalProperties": TEXT},
            "unknown": {"type": "object", "additionalProperties": TEXT},
            "sibling": maybe(TEXT),
            "blobs": COUNT,
            "left": a_list(an_object({"repository": TEXT, "ref": TEXT, "cause": TEXT})),
            "kept_days": maybe(COUNT),
        },
        {},
    ),
    "validate_summary": ("Whether the registries do what the rules need.", {"works": FLAG}, {}),
    "pin": (
        "A pin that is new, moved or gone.",
        {"address": TEXT, "change": TEXT, "before": _PINNED, "after": _PINNED},
        {},
    ),
    "pin_error": (
        "A source that could not be read.",
        {"address": TEXT, "reason": TEXT, "detail": TEXT, "code": maybe(TEXT)},
        {},
    ),
    "pin_summary": (
        "How many pins had what happen.",
        {"counts": COUNTS, "saved": maybe(TEXT)},
        {},
    ),
    "acknowledged": (
        "A conflict that is known from now on; `wrote` tells whether it was noted, or only shown.",
        {
            "address": TEXT,
            "digest": ref("digest"),
            "until": {"type": "string", "format": "date"},
            "because": TEXT,
            "file": TEXT,
            "wrote": FLAG,
        },
        {},
    ),
    "verify_progress": (
        "How many images were looked at; `read` is in bytes, null unless all are read.",
        {"done": COUNT, "total": COUNT, "read": maybe(COUNT)},
        {},
    ),
    "verify_image": (
        "An image that is not whole, or could not be read; `digest` is what should be there.",
        {
            "address": TEXT,
            "digest": maybe(ref("digest")),
            "standing": {"enum": ["changed", "incomplete", "unread"]},
            "faults": a_list(
                an_object(
                    {
                        "kind": {"enum": ["absent", "changed", "missing", "size", "damaged"]},
                        "part": {"enum": ["index", "manifest", "blob"]},
                        "digest": maybe(ref("digest")),
                        "size": maybe(COUNT),
                        "found": maybe(TEXT),
                    }
                )
            ),
            "more_faults": COUNT,
            **_FAILURE,
        },
        _WHICH,
    ),
    "verify_summary": (
        "How many images are whole; `mend` is the command that writes the others again.",
        {
            "images": COUNT,
            "counts": COUNTS,
            "blobs": COUNT,
            "size": COUNT,
            "deep": FLAG,
            "mend": maybe(TEXT),
        },
        {},
    ),
    "selection": (
        "Which tags a rule selects, and why the others drop out.",
        {"rule": COUNT, "file": TEXT, "line": COUNT, "source": TEXT},
        {
            "address": TEXT,
            "fates": a_list(OBJECT),
            "listed": COUNT,
            "skipped": COUNT,
            "skipped_names": TEXTS,
            "filters": a_list(a_list(OBJECT)),
            "selected": TEXTS,
            "shortages": TEXTS,
            "dangling": TEXTS,
            "error": TEXT,
        },
    ),
}
