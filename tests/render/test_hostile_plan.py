"""A plan's file may be anybody's: no field of it reaches a terminal as a control."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest

from imgmigrate.plan import Plan, decode_plan
from imgmigrate.render.changes.hints import apply_hints, plan_hints
from imgmigrate.render.changes.markdown import plan_markdown
from imgmigrate.render.changes.text import View, plan_text
from imgmigrate.render.json import document_line, plan_documents
from imgmigrate.render.units import moment
from tests.render import samples

EVIL = "\x1b[31mPWN\x1b]0;t\x07\x9b2J\u202etxt\u2028\u200b ::error::x ##[error]x @team <img src=x>"
PATH = "a/\x1b[31mP\x9b2J\u202ex\u200b<img src=x>"
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]")
COMMAND = re.compile(r"(?m)^\s*::[a-z]|##\[")
HEADER: dict[str, Any] = {
    "tool_version": EVIL,
    "created_at": EVIL,
    "config": EVIL,
    "config_sha256": EVIL,
    "lock_sha256": EVIL,
    "git_commit": EVIL,
    "undoes": EVIL,
    "max_delete": EVIL,
    "notes": [EVIL],
    "filters": {"target": [EVIL], "exclude": [EVIL]},
    "state": {"lineage": None, "name": EVIL, "place": EVIL},
    "ends": {"source": EVIL, "destinations": [EVIL]},
}
ROW: dict[str, Any] = {
    "address": f"oci:{PATH}:1",
    "action": EVIL,
    "reason": EVIL,
    "source": {"reference": f"oci:{PATH}:1", "digest": samples.digest("x")},
    "media_type": EVIL,
    "platforms": [EVIL, "b"],
    "inside": [EVIL],
    "detail": EVIL,
    "out_of_reach": EVIL,
    "filter": {"platforms": [EVIL], "version": 1},
    "moved_to": f"oci:{PATH}:2",
    "kept_as": f"oci:{PATH}:3",
}
ACTIONS = ("copy", "update", "delete", "conflict", "keep", "attach")


def sealed(header: dict[str, Any], *rows: dict[str, Any]) -> Plan:
    """A plan as its file is read, with these fields in the header and these rows."""
    first = json.loads(samples.plan().encode().splitlines()[0]) | header
    lines = [first, *sorted(rows, key=lambda row: str(row["address"]))]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    closing = {"sha256": hashlib.sha256(body).hexdigest(), "changes": len(rows)}
    return decode_plan(body + json.dumps(closing).encode() + b"\n", "plan.out")


def shown(plan: Plan) -> dict[str, str]:
    """Every form that a plan is shown in, with the hints that belong to it."""

    def command(*arguments: str) -> str:
        return " ".join(("imgmigrate", *arguments))

    hints = plan_hints(plan, command) + apply_hints(plan, command, None)
    return {
        "text": plan_text(plan, View(hints=hints)),
        "verbose": plan_text(plan, View(verbose=True, hints=hints)),
        "markdown": plan_markdown(plan, hints=hints),
        "json": "\n".join(document_line(each) for each in plan_documents(plan)),
    }


def assert_harmless(plan: Plan) -> None:
    for form, text in shown(plan).items():
        assert not UNSEEN.findall(text), form
        assert form == "json" or not COMMAND.findall(text), form


@pytest.mark.parametrize("field", HEADER)
def test_no_field_of_the_header_is_more_than_text(field: str) -> None:
    """In text, in Markdown and in JSON, where it is still what it was."""
    plan = sealed({field: HEADER[field]}, row("copy"))
    assert_harmless(plan)
    header = json.loads(shown(plan)["json"].splitlines()[0])
    assert json.dumps(EVIL) in json.dumps(header[field])


def row(action: str, **fields: Any) -> dict[str, Any]:
    base = {
        "address": "new.io/a:1",
        "action": action,
        "reason": "new",
        "source": {"reference": "old.io/a:1", "digest": samples.digest("x")},
        "before": samples.digest("b"),
        "after": samples.digest("x"),
        "recorded": None,
        "media_type": None,
    }
    return base | fields


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("field", ROW)
def test_no_field_of_a_row_is_more_than_text(field: str, action: str) -> None:
    """Whatever the row is for, also one of a later version."""
    assert_harmless(sealed({}, row(action) | {field: ROW[field]}))


def test_mentions_stand_in_code() -> None:
    """A reason of a later version is anybody's text to Markdown, too."""
    page = shown(
        sealed({"created_at": "@team", "state": {"name": "@team"}}, row("copy", reason="@team"))
    )
    text = re.sub(r"`[^`]*`|<code>.*?</code>", "", page["markdown"])
    assert "@team" not in text


def test_the_headline_says_what_the_rows_are() -> None:
    """Not what the header claims of them."""
    lie = {"copy": 0, "unchanged": 7}
    plan = sealed({"summary": lie}, row("delete"), row("attach", address="new.io/a:2"))
    line = "Plan: 1 to delete, 1 unknown to this version, 7 unchanged. Nothing to transfer."
    assert shown(plan)["text"].splitlines()[0] == line
    assert f"### {line}" in shown(plan)["markdown"]
    header = json.loads(shown(plan)["json"].splitlines()[0])
    assert (header["summary"]["delete"], header["summary"]["unchanged"]) == (1, 7)


def test_rows_of_a_later_version_stand_first_and_are_listed() -> None:
    """Where a reviewer cannot miss that this version does not know all."""
    text = shown(
        sealed({}, row("attach", reason="referrers_moved"), row("copy", address="n.io/a:2"))
    )
    assert "? unknown (1): of a later version of imgmigrate" in text["text"]
    assert "? new.io/a:1  attach: referrers moved" in text["text"]
    assert text["text"].index("unknown (1)") < text["text"].index("copy (1)")
    assert "unknown (1)" in text["markdown"]


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_the_ends_of_time_are_shown_as_they_are(text: str) -> None:
    """A time that UTC has no place for is no traceback."""
    assert moment(text) == text
