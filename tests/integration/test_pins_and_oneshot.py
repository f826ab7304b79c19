"""Pins and plans without a config, between real registries, as users run them."""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import read_plan
from tests.support import images, registries
from tests.support.cli import imgmigrate, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration


def sources(plan: Path) -> dict[str, str]:
    """Read the rows of a plan file: address -> source digest."""
    rows = [json.loads(line) for line in plan.read_text().splitlines()[1:-1]]
    return {row["address"]: row["source"]["digest"] for row in rows}


def test_a_pull_request_moves_pins_and_the_plan_follows(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """A moved source shows in --check, leaves a locked plan alone, and is one line of diff."""
    old, new = docker_registry("old"), docker_registry("new")
    first = {tag: images.image(f"first {tag}") for tag in ("1.0", "1.1", "2.0")}
    for tag, image in first.items():
        registries.push(old.remote, "team/api", tag, image)
    rule = f"  - {{source: {old.host}/team/api, destination: {new.host}/api, tags: ['1.*', '2.0']}}"
    write_config(tmp_path, rule, old.host, new.host)
    lock = tmp_path / "imgmigrate.lock.yaml"
    imgmigrate(tmp_path, "pin")
    imgmigrate(tmp_path, "pin", "--check")
    before = lock.read_text()

    moved = {tag: images.image(f"second {tag}") for tag in ("1.0", "2.0")}
    for tag, image in moved.items():
        registries.push(old.remote, "team/api", tag, image)
    ran = imgmigrate(tmp_path, "pin", "--check", code=2)
    for tag, image in moved.items():
        told = f"{new.host}/api:{tag} {first[tag].top[7:19]} -> {image.top[7:19]}"
        assert told in " ".join(ran.out.split())
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert lock.read_text() == before

    seen = len(old.access_log())
    ran = imgmigrate(tmp_path, "plan", "--locked", "--out", "plan.out")
    sha256 = hashlib.sha256(lock.read_bytes()).hexdigest()
    assert f"from the pins {sha256[:12]}" in " ".join(ran.out.split())
    assert read_plan(tmp_path / "plan.out").header.lock_sha256 == sha256
    assert sources(tmp_path / "plan.out") == {
        f"{new.host}/api:{tag}": image.top for tag, image in first.items()
    }
    asked = [line.path for line in old.access_log()[seen:] if line.path != "/v2/"]
    assert asked
    # No tag is read. What refers to the images is asked by their digests, and told by one list.
    others = [path for path in asked if "/manifests/sha256:" not in path]
    assert sorted(path.split("/")[4] for path in others) == ["referrers", "tags"]
    imgmigrate(tmp_path, "apply", "plan.out")
    for tag, image in first.items():
        registries.assert_holds(new.remote, "api", tag, image)

    seen = len(old.access_log())
    imgmigrate(tmp_path, "pin", "--upgrade", f"{new.host}/api:1.*")
    heads = [line.path for line in old.access_log()[seen:] if "/manifests/" in line.path]
    assert sorted(heads) == ["/v2/team/api/manifests/1.0", "/v2/team/api/manifests/1.1"]
    diff = [
        line
        for line in difflib.ndiff(before.splitlines(), lock.read_text().splitlines())
        if line[0] in "+-"
    ]
    assert diff == [
        f'- {"":2}"{new.host}/api:1.0": "{old.host}/team/api:1.0@{first["1.0"].top}"',
        f'+ {"":2}"{new.host}/api:1.0": "{old.host}/team/api:1.0@{moved["1.0"].top}"',
    ]
    imgmigrate(tmp_path, "plan", "--locked", "--out", "plan.out", "--detailed-exitcode", code=2)
    assert sources(tmp_path / "plan.out") == {f"{new.host}/api:1.0": moved["1.0"].top}
    imgmigrate(tmp_path, "apply", "plan.out")
    imgmigrate(tmp_path, "plan", "--locked", "--detailed-exitcode", code=0)

    imgmigrate(tmp_path, "pin")
    imgmigrate(tmp_path, "apply", "--locked", "--auto-approve")
    registries.assert_holds(new.remote, "api", "2.0", moved["2.0"])
    # What is there as pinned needs no source any more.
    old.stop()
    imgmigrate(tmp_path, "plan", "--locked", "--detailed-exitcode", code=0)


def test_one_shot_needs_no_config_from_plan_to_state(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Planned and applied without a file; a second plan is empty, another one forgets nothing."""
    old, new = docker_registry("old"), docker_registry("new")
    for tag in ("1", "2", "other"):
        registries.push(old.remote, "app", tag, images.image(tag))
    plain = ("--plain-http", old.host, "--plain-http", new.host)
    ends = ("--from", f"{old.host}/app:1,2", "--to", f"{new.host}/moved/app")
    ran = imgmigrate(tmp_path, "plan", *ends, *plain, "--out", "plan.out")
    assert f"imgmigrate apply {' '.join(plain)} plan.out" in ran.out
    imgmigrate(tmp_path, "apply", "plan.out", *plain)
    assert sorted(registries.list_tags(new.remote, "moved/app")) == ["1", "2"]
    imgmigrate(tmp_path, "plan", *ends, *plain, "--detailed-exitcode", code=0)
    elsewhere = ("--from", f"{old.host}/app:other", "--to", f"{new.host}/elsewhere")
    imgmigrate(tmp_path, "plan", *elsewhere, *plain, "--out", "plan.out")
    assert list(sources(tmp_path / "plan.out")) == [f"{new.host}/elsewhere:other"]
    listed = imgmigrate(tmp_path, "state", "list", "--state", "state/oneshot").out
    assert f"{new.host}/moved/app:1" in listed
    assert not (tmp_path / "imgmigrate.yaml").exists()
