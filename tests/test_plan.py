"""The plan file: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import hashlib
import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.errors import PlanRefused
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import (
    Action,
    Change,
    Header,
    Plan,
    StateBinding,
    Summary,
    decode_plan,
    read_plan,
)
from imgmigrate.state.record import Filter, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

OLD, NEW = Digest.of(b"old"), Digest.of(b"new")


def change(address: str = "new.io/a/b:v1", action: Action = Action.COPY, **more: Any) -> Change:
    source = Source(reference=Reference.parse("old.io/a/b:v1"), digest=NEW)
    fields: dict[str, Any] = {"reason": "new", "source": source, "after": NEW} | more
    return Change(address=Reference.parse(address), action=action, **fields)


def plan(changes: Iterable[Change] | None = None, **more: Any) -> Plan:
    changes = (change("new.io/b:v1"), change("new.io/a:v1")) if changes is None else changes
    changes = tuple(changes)
    header = Header(
        tool_version="0.1.0",
        created_at="2026-01-01T00:00:00Z",
        summary=Summary.of(changes, unchanged=3),
        **more,
    )
    return Plan.of(header, changes)


def sealed(*lines: bytes) -> bytes:
    """Seal a body by hand, as a later version or a forger would."""
    body = b"".join(line + b"\n" for line in lines)
    digest = hashlib.sha256(body).hexdigest()
    closing = {"sha256": digest, "changes": len(lines) - 1}
    return body + json.dumps(closing).encode() + b"\n"


def lines_of(made: Plan) -> list[bytes]:
    return made.encode().splitlines()


def edited(line: bytes, **more: Any) -> bytes:
    return json.dumps(json.loads(line) | more).encode()


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The file is private, and its own sha256 is what sha256sum prints."""
    made = plan(state=StateBinding(lineage="l", sequence=7, head="h"), config_sha256="c")
    path = tmp_path / "plan.out"
    printed = made.write(path)
    assert printed == hashlib.sha256(path.read_bytes()).hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = read_plan(path, expect_sha256=printed.upper())
    assert found == made
    assert found.plan_id == found.sha256[:16]
    assert found.encode() == path.read_bytes()


def test_rows_are_sorted_by_address() -> None:
    """Two plans of one change set are the same bytes, so a pull request shows what differs."""
    rows = [change(f"new.io/{name}:v1") for name in ("b", "a-b", "a", "a/b")]
    addresses = [json.loads(line)["address"] for line in lines_of(plan(rows))[1:-1]]
    assert addresses == sorted(addresses)
    assert plan(rows) == plan(reversed(rows))


def test_a_row_shows_the_pinned_fields_and_only_what_is_known() -> None:
    """Unknown is absent, never guessed; what a reviewer compares is always there."""
    row = json.loads(lines_of(plan([change()]))[1])
    assert list(row) == [
        "address",
        "action",
        "reason",
        "source",
        "before",
        "after",
        "recorded",
        "media_type",
    ]
    assert row["before"] is None
    full = change(
        size=0,
        transfer_bytes=5,
        platforms=("linux/amd64",),
        blobs=2,
        inside=("x",),
        detail="d",
        filter=Filter(platforms=("linux/amd64",), version=1),
    )
    row = json.loads(lines_of(plan([full]))[1])
    assert (row["size"], row["transfer_bytes"], row["blobs"]) == (0, 5, 2)
    assert row["filter"] == {"platforms": ["linux/amd64"], "version": 1, "form": "trim"}


def test_the_header_carries_what_the_design_says() -> None:
    """Line 1 is the contract with other tools."""
    header = json.loads(lines_of(plan())[0])
    assert header["format_version"] == "1.1"
    assert header["kind"] == "imgmigrate.plan"
    nobody = {"name": None, "place": None}
    assert header["state"] == {"lineage": None, "sequence": 0, "head": "", **nobody}
    assert header["filters"] == {"target": [], "exclude": []}
    assert header["complete"] is True
    assert header["summary"]["copy"] == 2
    assert header["summary"]["unchanged"] == 3


def test_an_empty_plan_is_a_plan() -> None:
    """Nothing to do is worth writing down, too."""
    made = plan([])
    assert decode_plan(made.encode(), "plan.out") == made


def test_the_summary_counts_by_action_and_adds_known_sizes() -> None:
    """What would move is counted once, and what is not known is said so."""
    rows = [
        change("new.io/a:1", Action.COPY, transfer_bytes=5),
        change("new.io/a:2", Action.UPDATE, transfer_bytes=7),
        change("new.io/a:3", Action.COPY),
        change("new.io/a:4", Action.ADOPT, transfer_bytes=100),
        change("new.io/a:5", Action.CONFLICT),
        change("new.io/a:6", Action.ERROR),
        change("new.io/a:7", Action.DELETE),
        change("new.io/a:8", Action.BLOCKED),
        change("new.io/a:9", Action.MOVE, transfer_bytes=0),
        change("new.io/a:10", Action.REFER, transfer_bytes=1),
    ]
    found = Summary.of(rows, unchanged=4)
    counts = {action: found.count(action) for action in Action}
    assert counts == dict.fromkeys(Action, 1) | {
        Action.COPY: 2,
        Action.FORGET: 0,
        Action.KEEP: 0,
        Action.DRIFT: 0,
        Action.UNKNOWN: 0,
    }
    assert (found.writes, found.transfer_bytes, found.unknown_sizes) == (5, 13, 1)
    assert found.alters == 6
    assert found.unchanged == 4


@pytest.mark.parametrize(
    ("action", "reason", "expected"),
    [
        (Action.COPY, "new", False),
        (Action.COPY, "destination_lost", True),
        (Action.UPDATE, "incomplete", True),
        (Action.CONFLICT, "foreign", True),
        (Action.ERROR, "unreadable", True),
        (Action.DELETE, "rule_removed", True),
        (Action.BLOCKED, "protected", True),
        (Action.MOVE, "moved", False),
        (Action.KEEP, "source_gone", False),
    ],
)
def test_dangerous_rows_are_told_apart(action: Action, reason: str, expected: bool) -> None:
    """A reviewer sees them first."""
    assert change(action=action, reason=reason).is_dangerous is expected


def test_a_part_of_a_plan_knows_what_its_other_rows_tell() -> None:
    """Whoever applies some rows has to know what was seen gone from their repositories."""
    lost = change("new.io/a:1", reason="destination_lost")
    other = change("new.io/a:2")
    whole = Plan.of(plan().header, [lost, other])
    assert whole.doubted == {lost.address.repository}
    assert whole.only([other], target=(), exclude=()).doubted == {lost.address.repository}
    assert Plan.of(plan().header, [other]).doubted == frozenset()


def test_a_plan_cut_at_any_byte_is_refused() -> None:
    """No prefix of a plan is a plan."""
    data = plan().encode()
    for length in range(len(data)):
        with pytest.raises(PlanRefused):
            decode_plan(data[:length], "plan.out")


def test_a_plan_without_any_one_line_is_refused() -> None:
    """A row that is taken out does not go unnoticed."""
    lines = plan().encode().splitlines(keepends=True)
    for number in range(len(lines)):
        with pytest.raises(PlanRefused):
            decode_plan(b"".join(lines[:number] + lines[number + 1 :]), "plan.out")


def test_a_plan_with_any_one_byte_changed_is_refused_or_the_same() -> None:
    """The closing line covers every byte before it; in itself only its meaning counts."""
    made = plan([change()])
    data = made.encode()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x01
        try:
            found = decode_plan(bytes(changed), "plan.out")
        except PlanRefused:
            continue
        assert found == made


_DATA_EDITS: dict[str, Callable[[bytes], bytes]] = {
    "another address": lambda data: data.replace(b"new.io/a", b"new.io/c"),
    "other line ends": lambda data: data.replace(b"\n", b"\r\n"),
    "an empty line": lambda data: data + b"\n",
    "a byte more": lambda data: data + b"x",
    "an empty line first": lambda data: b"\n" + data,
    "twice": lambda data: data + data,
    "rows alone": lambda data: b"".join(data.splitlines(keepends=True)[1:-1]),
    "another count": lambda data: data.replace(b'"changes":2', b'"changes":3'),
    "zeros": lambda data: b"\x00" * len(data),
}


@pytest.mark.parametrize("name", sorted(_DATA_EDITS))
def test_an_edited_plan_is_refused(name: str) -> None:
    """What was reviewed is applied, or nothing."""
    with pytest.raises(PlanRefused, match=r"plan plan\.out: "):
        decode_plan(_DATA_EDITS[name](plan().encode()), "plan.out")


def test_an_unknown_major_is_refused_and_an_unknown_minor_accepted() -> None:
    """Majors break, minors only add."""
    header, row, _ = lines_of(plan([change()]))
    minor = decode_plan(sealed(edited(header, format_version="1.9"), row), "plan.out")
    assert minor.changes == (change(),)
    for version in ("2.0", "0.9", "11.0", None, 2):
        with pytest.raises(PlanRefused, match="its format is") as caught:
            decode_plan(sealed(edited(header, format_version=version), row), "plan.out")
        assert caught.value.exit_code == 4


def test_unknown_fields_are_accepted() -> None:
    """A plan of a later minor version can be applied."""
    header, row, _ = lines_of(plan([change()]))
    state = {"lineage": "x", "sequence": 1, "head": "h", "later": 1}
    data = sealed(edited(header, later={"a": 1}, state=state), edited(row, later=[1]))
    found = decode_plan(data, "plan.out")
    assert found.changes == (change(),)
    assert found.header.state.lineage == "x"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([b"[]", b"{}"], "line 1 is not a JSON object"),
        ([b"{"], "line 1 is not a JSON object"),
        ([b"\xff"], "line 1 is not a JSON object"),
        ([b"[" * 100_000], "line 1 is not a JSON object"),
        ([b"{}"], "it is not a plan"),
        ([b'{"kind": "imgmigrate.state"}'], "it is not a plan"),
        ([b'{"kind": "imgmigrate.plan", "format_version": "1.0"}'], "its header is not valid"),
    ],
)
def test_another_file_is_refused(lines: list[bytes], words: str) -> None:
    """A well sealed file that is no plan is no plan."""
    with pytest.raises(PlanRefused, match=words):
        decode_plan(sealed(*lines), "plan.out")


@pytest.mark.parametrize(
    "row",
    [
        b"{}",
        b"5",
        b"\xff",
        b"[" * 100_000,
        b'{"address": 5, "action": "copy", "reason": "new"}',
        b'{"address": "Quay/A", "action": "copy", "reason": "new"}',
        b'{"address": "quay.io/a:v1", "action": "", "reason": "new"}',
        b'{"address": "quay.io/a:v1", "action": 5, "reason": "new"}',
        b'{"address": "quay.io/a:v1", "action": "copy", "reason": "new", "size": -1}',
        b'{"address": "quay.io/a:v1", "action": "copy", "reason": "new", "size": 1e400}',
        b'{"address": "quay.io/a:v1", "action": "copy", "reason": "new", "after": "sha256:x"}',
    ],
)
def test_a_row_that_is_no_change_is_refused(row: bytes) -> None:
    """What names no address and no action, or no image's size, is no row of any version."""
    with pytest.raises(PlanRefused, match="a row is not valid"):
        decode_plan(sealed(lines_of(plan([]))[0], row), "plan.out")


def test_an_unexpected_sha256_is_refused(tmp_path: Path) -> None:
    """Against forgery the reviewer's own sum counts."""
    path = tmp_path / "plan.out"
    printed = plan().write(path)
    plan([change()]).write(path)
    with pytest.raises(PlanRefused, match="not the expected") as caught:
        read_plan(path, expect_sha256=printed)
    assert "not the plan that was reviewed" in str(caught.value)


def test_a_missing_plan_says_how_to_write_one(tmp_path: Path) -> None:
    """The fix is a command."""
    with pytest.raises(PlanRefused, match="cannot be read") as caught:
        read_plan(tmp_path / "plan.out")
    assert "imgmigrate plan `out`" in str(caught.value)
    with pytest.raises(PlanRefused, match="cannot be read"):
        read_plan(tmp_path)


_digests = st.binary(max_size=4).map(Digest.of)
_changes = st.builds(
    lambda name, action, before, after, size, detail: change(
        f"new.io/{name}", action, before=before, after=after, size=size, detail=detail
    ),
    st.from_regex(r"\A[a-z0-9]{1,6}(/[a-z0-9]{1,6})?:[A-Za-z0-9_]{1,5}\Z"),
    st.sampled_from(Action),
    st.none() | _digests,
    st.none() | _digests,
    st.none() | st.integers(0, 2**50),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@given(st.lists(_changes, max_size=6, unique_by=lambda each: str(each.address)))
def test_any_plan_survives_its_file(changes: list[Change]) -> None:
    """Every text, line breaks of all kinds included, stays one row of one file."""
    made = plan(changes)
    assert decode_plan(made.encode(), "plan.out") == made


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_a_plan_or_refused(data: bytes) -> None:
    """Garbage never fails otherwise."""
    with pytest.raises(PlanRefused):
        decode_plan(data, "plan.out")
    with pytest.raises(PlanRefused):
        decode_plan(data + plan().encode(), "plan.out")


def test_rows_out_of_order_or_repeated_are_refused() -> None:
    """A sealed file whose rows are not in order of their addresses is no plan of ours."""
    first, second = (
        row for row in lines_of(plan([change("new.io/a:1"), change("new.io/b:1")]))[1:3]
    )
    header = lines_of(plan([]))[0]
    for rows in ((second, first), (first, first)):
        with pytest.raises(PlanRefused, match="order"):
            decode_plan(sealed(header, *rows), "plan.out")
