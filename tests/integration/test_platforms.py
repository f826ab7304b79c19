"""Three platforms cut to one, between real registries, by separate processes of the command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import read_plan
from tests.support import images, registries
from tests.support.cli import write_config
from tests.support.docker_registry import put_on_disk
from tests.support.machine import clear_cache
from tests.support.moves import assert_says, run
from tests.support.tools import skopeo_copy

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Change
    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration

AMD64, ARM64, S390X = (
    images.image(name, platform=f"linux/{name}") for name in ("amd64", "arm64", "s390x")
)
PROVENANCE = [images.attestation_of(each) for each in (AMD64, ARM64, S390X)]


def configure(folder: Path, old: str, new: str) -> None:
    """Copy `app` for one platform."""
    rule = f"  - {{source: {old}/app, destination: {new}/app, platforms: linux/arm64}}"
    write_config(folder, rule, old, new)


def row(folder: Path, name: str) -> Change:
    """The one row of a saved plan."""
    (change,) = read_plan(folder / name).changes
    return change


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
async def test_three_platforms_cut_to_one_are_the_same_in_every_process(
    tmp_path: Path, docker_registry: StartRegistry, docker: bool
) -> None:
    """Two plans and the apply agree on the digest; skopeo takes it; the next plan costs a HEAD."""
    if docker:
        children = [
            images.image(f"d/{name}", platform=f"linux/{name}", docker=True)
            for name in ("amd64", "arm64", "s390x")
        ]
        three, kept = images.index(*children, docker=True), children[1:2]
    else:
        three = images.index(AMD64, ARM64, S390X, *PROVENANCE)
        kept = [ARM64, PROVENANCE[1]]
    put_on_disk(tmp_path / "old", "app", "1", three)
    old, new = docker_registry("old"), docker_registry("new")
    configure(tmp_path, old.host, new.host)
    ran = await run(tmp_path, "plan", "--out", "one.out")
    assert_says(ran.out, "linux/arm64", "signatures of the whole index no longer match")
    clear_cache()
    await run(tmp_path, "plan", "--out", "two.out")
    planned = row(tmp_path, "one.out").after
    assert planned == row(tmp_path, "two.out").after != three.top
    clear_cache()
    await run(tmp_path, "apply", "two.out", "--auto-approve")

    found = registries.pull(new.remote, "app", "1")
    assert found.top == planned
    assert found.media_type == three.media_type
    entries = {entry["digest"]: entry for entry in three.document["manifests"]}
    assert json.loads(found.raw) == three.document | {
        "manifests": [entries[each.top] for each in kept]
    }
    for each in kept:
        assert found.manifests[each.top] == each.manifests[each.top]
    repository = f"docker://{new.host}/app:1"
    skopeo_copy(repository, f"dir:{tmp_path / 'copied'}", "--all", "--preserve-digests")
    assert (tmp_path / "copied" / "manifest.json").read_bytes() == found.raw

    before = len(old.access_log())
    ran = await run(tmp_path, "plan", "--detailed-exitcode")
    assert_says(ran.out, "Nothing to do")
    asked = [line for line in old.access_log()[before:] if "/manifests/" in line.path]
    assert [line.method for line in asked] == ["HEAD"]
    assert not [line for line in old.access_log()[before:] if "/blobs/" in line.path]


async def test_a_platform_that_nobody_has_is_an_error_of_that_image_alone(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """The plan names what there is and ends with 3; the other images are planned."""
    put_on_disk(tmp_path / "old", "app", "1", images.index(AMD64, ARM64))
    put_on_disk(tmp_path / "old", "app", "2", images.index(AMD64, S390X))
    put_on_disk(tmp_path / "old", "app", "3", AMD64)
    old, new = docker_registry("old"), docker_registry("new")
    configure(tmp_path, old.host, new.host)
    ran = await run(tmp_path, "plan", "--out", "plan.out", code=3)
    assert_says(
        ran.out, "1 to copy, 2 errors", "it has linux/amd64, linux/s390x", "it has linux/amd64;"
    )
    changes = read_plan(tmp_path / "plan.out").changes
    assert [change.action for change in changes] == ["copy", "error", "error"]
