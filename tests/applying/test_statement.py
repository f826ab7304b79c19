"""The report of an apply: each row with what became of it, each image with what is there."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.applying.statement import run_statement
from imgmigrate.cli.commands.apply import Receipts
from imgmigrate.errors import AccessDenied
from imgmigrate.plan import read_plan
from tests.fakes.memory import image
from tests.support.world import NEW, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Plan

API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def reported(world: World, plan: Plan) -> dict[str, Any]:
    """Apply a plan, and read its report."""
    receipts = Receipts()
    world.sink = receipts  # type: ignore[assignment]
    finished = await world.apply(plan)
    raw = run_statement(plan, finished, receipts.found, at="2027-01-01T00:00:00Z", version="1.2.3")
    document: dict[str, Any] = json.loads(raw)
    assert document["predicateType"] == "urn:imgmigrate:apply:1"
    assert document["predicate"]["run"] == finished.run
    return document


async def test_images_are_subjects_by_their_digest_at_the_destination(world: World) -> None:
    """Those that are there: what failed is told, and is none."""
    digest, other = world.seed("1"), world.seed("2")

    def refuse(repo: str, what: str) -> None:
        if what == "2":
            raise AccessDenied(f"{NEW}/{repo}", "denied (403)")

    world.new.hooks["put_manifest"] = refuse
    document = await reported(world, await world.plan())
    assert document["subject"] == [{"name": f"{API}:1", "digest": {"sha256": digest.hex}}]
    first, second = document["predicate"]["images"]
    assert (first["outcome"], first["digest"], first["before"]) == ("applied", digest, None)
    assert first["source"] == {"reference": "old.example/team/api:1", "digest": digest}
    assert (second["outcome"], second["digest"]) == ("failed", None)
    assert "denied (403)" in second["error"]
    assert second["source"]["digest"] == other
    assert document["predicate"]["counts"] == {"applied": 1, "failed": 1}


async def test_a_plan_is_named_by_what_sha256sum_prints(world: World, tmp_path: Path) -> None:
    """And what was done before is there as well: the same plan reports the same images."""
    world.seed("1")
    path = tmp_path / "plan.out"
    (await world.plan()).write(path)
    first = await reported(world, read_plan(path))
    again = await reported(world, read_plan(path))
    assert first["subject"] == again["subject"]
    assert again["predicate"]["images"][0]["outcome"] == "already"
    told = first["predicate"]["plan"]
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (told["config_sha256"], told["is_whole"]) == (world.config.sha256, True)


async def test_what_was_overridden_is_told(world: World) -> None:
    """With the reason that the plan has."""
    world.seed("1")
    world.new.seed("team/api", "1", *image(b"foreign"))
    document = await reported(world, await world.plan(allow_overwrite=("**",)))
    assert document["predicate"]["overrides"] == [
        {"address": f"{API}:1", "allowed": "overwrite_allowed"}
    ]


async def test_a_statement_has_a_subject_always(world: World) -> None:
    """Where no image is: the plan."""
    plan = await world.plan()
    raw = run_statement(plan, None, {}, at="2027-01-01T00:00:00Z", version="1")
    sha256 = hashlib.sha256(plan.encode()).hexdigest()
    assert json.loads(raw)["subject"] == [{"name": "plan", "digest": {"sha256": sha256}}]
