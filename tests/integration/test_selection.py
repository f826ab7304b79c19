"""Tags selected at a real registry: by version, by the dates in image configs, and explained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.planning.dated import dated
from tests.support import images, registries
from tests.support.cli import imgmigrate, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration

TAGS = {"v1.2": 9, "v1.10": 3, "v1.9": 5, "nightly": 8}


def test_the_newest_by_version_and_by_date_are_planned(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Two rules take two of four tags each; --explain says why another is not among them."""
    registry = docker_registry()
    for tag, day in TAGS.items():
        top, blobs = dated(f"2026-05-0{day}T00:00:00Z", tag.encode())
        for data in blobs.values():
            registries.put_blob(registry.remote, "old/api", data)
        registries.put_manifest(registry.remote, "old/api", tag, top.media_type, top.raw)
    source = f"source: {registry.host}/old/api"
    rules = (
        f"  - {{{source}, destination: {registry.host}/a, tags: {{newest: 2}}}}\n"
        f"  - {{{source}, destination: {registry.host}/b, tags: {{newest: 2, by: created}}}}"
    )
    write_config(tmp_path, rules, registry.host)

    imgmigrate(tmp_path, "plan", "--out", "plan.out")
    lines = [json.loads(line) for line in (tmp_path / "plan.out").read_text().splitlines()[1:-1]]
    assert [line["address"].partition("/")[2] for line in lines] == [
        "a:v1.10",
        "a:v1.9",
        "b:nightly",
        "b:v1.2",
    ]
    done = imgmigrate(tmp_path, "plan", "--explain", f"{registry.host}/b:v1.10")
    told = " ".join(done.out.split())
    assert "tag v1.10 drops out at newest: not among the newest 2 (2026-05-03)" in told


def test_too_few_tags_end_a_plan_and_a_pin_with_6(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Below `min` nothing is planned and no pin moves; at `min` both go on."""
    registry = docker_registry()
    for tag in ("v1", "v2", "main"):
        registries.push(registry.remote, "old/api", tag, images.image(tag))
    rule = "  - {{source: {0}/old/api, destination: {0}/a, tags: {{include: ['v*'], min: {1}}}}}"
    write_config(tmp_path, rule.format(registry.host, 3), registry.host)
    for command in (["plan", "--out", "plan.out"], ["pin"], ["apply", "--auto-approve"]):
        ran = imgmigrate(tmp_path, *command, code=6)
        assert "imgmigrate.yaml:5: " in ran.err
        assert "2 selected, and min is 3" in ran.err
    assert {path.name for path in tmp_path.glob("*.*")} == {"imgmigrate.yaml"}
    write_config(tmp_path, rule.format(registry.host, 2), registry.host)
    imgmigrate(tmp_path, "pin")
    imgmigrate(tmp_path, "plan", "--locked", "--detailed-exitcode", code=2)


def test_a_rule_that_selects_nothing_is_an_error_until_it_says_min_0(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Plan and pin exit 3 and name line, cause and fix; with `min: 0` there is nothing to do."""
    registry = docker_registry()
    registries.push(registry.remote, "old/api", "v1", images.image())
    rule = "  - {{source: {0}/old/api, destination: {0}/a, tags: {{include: ['x*']{1}}}}}"
    write_config(tmp_path, rule.format(registry.host, ""), registry.host)
    planned = imgmigrate(tmp_path, "plan", code=3)
    pinned = imgmigrate(tmp_path, "pin", code=3)
    for text in (planned.out, pinned.err):
        told = " ".join(text.split())
        assert f"source {registry.host}/old/api: no tag of 1 (v1) is selected by" in told
        assert "(imgmigrate.yaml:5)" in told
        assert "tags: {..., min: 0}" in told
    assert max(map(len, planned.out.splitlines())) <= 80
    write_config(tmp_path, rule.format(registry.host, ", min: 0"), registry.host)
    for command in (["plan"], ["pin"], ["plan", "--locked"]):
        ran = imgmigrate(tmp_path, *command)
        assert "Warning" not in ran.err
