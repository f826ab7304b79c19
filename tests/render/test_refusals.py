"""How a registry that refused our login is told: once, as text and as data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import AuthenticationError, ImgmigrateError
from imgmigrate.events import Outcome, Receipt, Refusal, RunFinished
from imgmigrate.render.changes.text import View, plan_text
from imgmigrate.render.json import JsonStream
from imgmigrate.render.style import Style
from imgmigrate.render.summary import result_text
from tests.render import samples

if TYPE_CHECKING:
    from imgmigrate.plan import Plan

HOST = "registry.cn-beijing.aliyuncs.com"
ERROR = AuthenticationError(
    HOST,
    "not authenticated (401): the credentials of the config were refused",
    hint=f'docker login {HOST}, or set registries."{HOST}" in the config',
    status=401,
)


def ended(rows: int) -> RunFinished:
    """A run in which so many rows needed the login, the first of which were begun."""
    receipts = []
    for number in range(rows):
        address = samples.change(f"{HOST}/team/app:v{number:03}", "copy", "new").address
        outcome = Outcome.FAILED if number < 3 else Outcome.CANCELLED
        receipts.append(Receipt(address, outcome, error=ERROR))
    refusal = Refusal(HOST, ERROR, tuple(each.address for each in receipts))
    counts = {Outcome.FAILED: 3, Outcome.CANCELLED: rows - 3}
    return RunFinished("run", "plan", counts, 0, 1.0, tuple(receipts), refusals=(refusal,))


@pytest.mark.parametrize("rows", [4, 40, 4000])
def test_a_refused_login_is_told_once(rows: int) -> None:
    """Cause and fix stand once, however many rows there are, within 80 columns."""
    text = result_text(samples.plan(), ended(rows), resume="imgmigrate apply", style=Style(80))
    assert f"! {HOST}: no access, {rows:,} rows not done".split() == text.split()[:8]
    assert text.count("401") == 1
    assert text.count("hint: docker login") == 1
    assert text.count(f"! {HOST}/team/app:") == min(rows, 10)
    assert (f"and {rows - 10:,} more" in text) == (rows > 10)
    assert max(len(line) for line in text.splitlines()) <= 80


DOWN = "a-registry-with-a-rather-long-name.eu-central-1.registry.example.com:5000"


def unplanned(rows: int) -> Plan:
    """A plan that found a registry down which so many rows need, and one more of another."""
    return samples.plan(
        *(
            samples.change(
                f"{HOST}/team/app:v{number:03}",
                "error",
                "unreadable",
                detail=f"source {DOWN}/app: out of reach for 5 min: connection reset; see there",
                out_of_reach=DOWN,
            )
            for number in range(rows)
        ),
        samples.change(f"{HOST}/b:1", "error", "unreadable", detail="no", out_of_reach="b.example"),
    )


@pytest.mark.parametrize("rows", [2, 40, 4000])
def test_a_registry_that_was_down_is_told_once_by_a_plan(rows: int) -> None:
    """Why stands once, with some of the addresses; a row that is alone says it itself."""
    text = plan_text(unplanned(rows), View(style=Style(80)))
    assert f"! {DOWN}: out of reach, {rows:,} rows" in " ".join(text.split())
    assert text.count("connection") == 1
    assert text.count(f"{HOST}/team/app:") == min(rows, 10)
    assert (f"and {rows - 10:,} more; --verbose lists all" in text) == (rows > 10)
    assert f"! {HOST}/b:1" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_plan_lists_all_that_a_registry_kept_from_being_planned() -> None:
    """--verbose names each row with its cause."""
    text = plan_text(unplanned(40), View(style=Style(80), verbose=True))
    assert text.count(f"! {HOST}/team/app:") == 40


def test_a_registry_that_was_down_is_told_once_by_an_apply() -> None:
    """The rows that the plan could not decide are not done, and complete nothing."""
    plan = unplanned(40)
    receipts = tuple(
        Receipt(change.address, Outcome.FAILED, error=ImgmigrateError(change.detail or ""))
        for change in plan.changes
    )
    result = RunFinished("run", "plan", {Outcome.FAILED: 41}, 0, 1.0, receipts)
    text = result_text(plan, result, style=Style(80))
    assert text.count("connection") == 1
    assert text.count(f"{HOST}/team/app:") == 10
    assert "Apply incomplete" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_refused_login_is_data() -> None:
    """The summary names each with cause, fix and how many rows it kept from being done."""
    lines: list[str] = []
    JsonStream(lines.append).emit(ended(5))
    summary = json.loads(lines[-1])
    (refusal,) = summary["refusals"]
    assert (refusal["name"], refusal["rows"]) == (HOST, 5)
    assert (refusal["code"], refusal["kind"]) == ("IM361", "AuthenticationError")
    assert "were refused" in refusal["error"]
    assert refusal["hint"].startswith("docker login")
