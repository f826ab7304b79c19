"""Read a plan's file, and believe nothing in it that its closing line does not seal."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from imgmigrate.errors import PlanRefused
from imgmigrate.plan.model import FORMAT_VERSION, KIND, Change, Header, Plan
from imgmigrate.plan.sealing import sealed
from imgmigrate.remedies import remedy

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["decode_plan", "read_plan"]


def read_plan(path: Path, *, expect_sha256: str | None = None) -> Plan:
    """Read and verify a plan file; PlanRefused names what is wrong with it.

    `expect_sha256` is what `sha256sum` printed when the plan was reviewed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"plan {path}: cannot be read: {error.strerror}"
        raise PlanRefused(msg, hint=f"write one with: {remedy('plan', out='plan.out')}") from None
    return decode_plan(data, str(path), expect_sha256=expect_sha256)


def decode_plan(data: bytes, name: str, *, expect_sha256: str | None = None) -> Plan:
    """Verify and parse the bytes of a plan file; `name` is for messages."""
    if expect_sha256:
        whole = hashlib.sha256(data).hexdigest()
        if expect_sha256.lower() != whole:
            cause = f"its sha256 is {whole}, not the expected {expect_sha256}"
            raise _refused(name, cause, "this is not the plan that was reviewed")
    lines = data.split(b"\n")
    if lines.pop() != b"" or len(lines) < 2:
        raise _refused(name, "it is truncated: the last line is not complete")
    header = _header(lines[0], name)
    body = data[: len(data) - len(lines[-1]) - 1]
    trailer = _json(lines[-1], name, len(lines))
    if set(trailer) != {"sha256", "changes"}:
        raise _refused(name, "it is truncated: the last line is not the closing line")
    found = sealed(body)
    if trailer["sha256"] != found or trailer["changes"] != len(lines) - 2:
        raise _refused(name, "it was edited or damaged: its bytes do not match its closing line")
    try:
        changes = tuple(Change.model_validate_json(line) for line in lines[1:-1])
    except ValidationError as error:
        raise _refused(name, f"a row is not valid: {_first(error)}") from None
    addresses = [str(change.address) for change in changes]
    if any(one >= other for one, other in pairwise(addresses)):
        raise _refused(name, "its rows are not in the order of their addresses, or repeat one")
    return Plan(header=header, changes=changes, sha256=found)


def _header(line: bytes, name: str) -> Header:
    document = _json(line, name, 1)
    if document.get("kind") != KIND:
        raise _refused(name, "it is not a plan: its first line is not a plan's header")
    version = str(document.get("format_version"))
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise _refused(
            name,
            f"its format is {version}, this imgmigrate reads {FORMAT_VERSION}",
            "apply it with the imgmigrate that wrote it, or plan again",
        )
    try:
        return Header.model_validate(document)
    except ValidationError as error:
        raise _refused(name, f"its header is not valid: {_first(error)}") from None


def _json(line: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _refused(name, f"line {number} is not a JSON object")
    return document


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    return f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"


def _refused(name: str, cause: str, hint: str = "plan again") -> PlanRefused:
    return PlanRefused(f"plan {name}: {cause}", hint=hint)
